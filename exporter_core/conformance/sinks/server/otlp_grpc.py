"""The OTLP/gRPC sink: the official service on grpcio, behind a TCP front of ours.

The front sees connections open and close and can do to their bytes what a gRPC server cannot: reset, drip, cut, spoil.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.sinks.server import decode_otlp
from exporter_core.conformance.sinks.server.core import GARBAGE, Entry
from exporter_core.conformance.sinks.server.extras import extra
from exporter_core.conformance.sinks.server.listener import HOST

if TYPE_CHECKING:
    from exporter_core.conformance.sinks.faults import Fault
    from exporter_core.conformance.sinks.server.core import Core
    from exporter_core.conformance.sinks.server.listener import Wire

# What comes out of imports that may fail is Any.
_grpc: Any = extra("grpc")
_services: Any = extra("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc")
_error_details: Any = extra("google.rpc.error_details_pb2")
_status_proto: Any = extra("google.rpc.status_pb2")

_PATH = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
_DRIPPED = 4000  # bytes of padding that a drip has to go through; gRPC allows 8192 of metadata
_OPTIONS = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1))


class GrpcServer:
    """Serves the connections of one OTLP/gRPC sink."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._server: Any = None
        self._port = 0
        self._faults: dict[Wire, tuple[Fault, int]] = {}
        self._wires: dict[int, Wire] = {}

    async def start(self) -> None:
        """Start the gRPC server behind the front."""
        self._server = _grpc.aio.server(options=_OPTIONS)
        _services.add_MetricsServiceServicer_to_server(self, self._server)
        self._port = self._server.add_insecure_port(f"{HOST}:0")
        await self._server.start()

    async def stop(self) -> None:
        """Stop the gRPC server at once."""
        await self._server.stop(None)

    async def serve(self, wire: Wire) -> None:
        """Carry bytes between a connection and the gRPC server."""
        reader, writer = await asyncio.open_connection(HOST, self._port)
        local: int = writer.get_extra_info("sockname")[1]
        self._wires[local] = wire
        answers = asyncio.get_running_loop().create_task(self._answers(wire, reader))
        try:
            while data := await wire.read_some():
                writer.write(data)
                await writer.drain()
            answers.cancel()
        except ConnectionError:
            pass  # the gRPC server has closed the connection; what it sent still goes out
        finally:
            await asyncio.wait([answers])
            writer.close()
            del self._wires[local]
            self._faults.pop(wire, None)

    async def _answers(self, wire: Wire, reader: asyncio.StreamReader) -> None:
        core = self._core
        try:
            while data := await reader.read(65536):
                fault, begun = self._faults.get(wire, (None, 0))
                if fault is None:
                    wire.write(data)
                elif fault.kind == "drip":
                    for index in range(len(data)):
                        if not await core.drip(fault, begun, wire.gone):
                            wire.write(data[index:])
                            break
                        wire.write(data[index : index + 1])
                else:  # truncate
                    wire.write(data[: len(data) // 2])
                    return
        except ConnectionError:
            pass  # this end was closed
        finally:
            wire.close()

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's method
        """Do with one request what the script says."""
        core = self._core
        wire = self._wires[int(context.peer().rpartition(":")[2])]
        metadata = [
            (key, value if isinstance(value, str) else value.hex()) for key, value in context.invocation_metadata()
        ]
        entry = Entry(core, wire.number, "POST", _PATH, headers=metadata, body_size=request.ByteSize())
        entry.body = request.SerializeToString()
        entry.decode = lambda: decode_otlp.points(request)
        entry.fault = fault = core.take_fault()
        core.entries.append(entry)
        core.enter(entry)
        if not await core.pass_gate(wire.gone):
            raise asyncio.CancelledError
        if fault.kind in {"status", "retry-after"}:
            await self._abort(entry, fault, context)
        elif fault.kind == "reset":
            wire.reset()
            await core.until(lambda: False)
        elif fault.kind == "garbage":
            wire.write(GARBAGE)
            wire.close()
            await core.until(lambda: False)
        elif fault.kind == "truncate":
            self._faults[wire] = (fault, 0)
        elif fault.kind == "drip":
            begun = core.drips_finished
            self._faults[wire] = (fault, begun)
            await context.send_initial_metadata((("x-drip", "x" * _DRIPPED),))
            await core.until(lambda: core.drips_finished != begun or wire.gone())
            self._faults.pop(wire, None)
        elif fault.kind not in {"ok", "partial"}:  # hang; and refuse or blackhole on a connection that exists
            await core.until(lambda: False)
        if wire.gone():
            raise asyncio.CancelledError
        return self._success(entry, fault)

    def _success(self, entry: Entry, fault: Fault) -> Any:
        if fault.kind == "truncate":
            return decode_otlp.response(None)
        rejected = fault.points if fault.kind == "partial" else None
        if rejected:
            entry.rejected = min(rejected, len(entry.points()))
        entry.stored = self._core.stamp()
        entry.status = "OK"
        entry.answered = self._core.stamp()
        self._core.changed()
        return decode_otlp.response(rejected)

    async def _abort(self, entry: Entry, fault: Fault, context: Any) -> None:
        code = _grpc.StatusCode[str(fault.status) or "UNAVAILABLE"]
        trailing: tuple[tuple[str, bytes], ...] = ()
        if fault.kind == "retry-after":
            delay = _error_details.RetryInfo()
            delay.retry_delay.FromNanoseconds(round(fault.seconds * 1e9))
            status = _status_proto.Status(code=code.value[0], message="scripted")
            status.details.add().Pack(delay)
            trailing = (("grpc-status-details-bin", status.SerializeToString()),)
        entry.status = code.name
        entry.answered = self._core.stamp()
        self._core.changed()
        await context.abort(code, "scripted", trailing)
