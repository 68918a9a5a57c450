"""The OTLP/gRPC sink: the official service on grpcio, behind a TCP front of ours.

The front sees connections open and close and can do to their bytes what a gRPC server cannot: reset, drip, cut, spoil.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from exporter_core.conformance.sinks.server import decode_otlp
from exporter_core.conformance.sinks.server.core import GARBAGE, SIGN_IN, Entry, NetworkServer
from exporter_core.conformance.sinks.server.listener import HOST, Wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter_core.conformance.sinks.faults import Fault

_SERVICE = "opentelemetry.proto.collector.metrics.v1.MetricsService"
_PATH = f"/{_SERVICE}/Export"
_DRIPPED = 4000  # bytes of padding that a drip has to go through; gRPC allows 8192 of metadata
_OPTIONS = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1))


class OtlpGrpcServer(NetworkServer):
    """A sink for OTLP/gRPC metrics."""

    def __init__(self, secrets: Iterable[str] = (), port: int = 0) -> None:
        super().__init__(secrets, port)
        self._server: Any = grpc.aio.server(options=_OPTIONS)  # Any: the stubs of grpc.aio are not complete
        self._server_port = self._server.add_insecure_port(f"{HOST}:0")
        self._faults: dict[Wire, tuple[Fault, int]] = {}
        self._wires: dict[int, Wire] = {}

    async def start(self) -> None:
        """Start the gRPC server behind the front."""
        export = grpc.unary_unary_rpc_method_handler(
            self.export,
            request_deserializer=ExportMetricsServiceRequest.FromString,
            response_serializer=lambda answer: answer,  # bytes, which need not be a message
        )
        service = grpc.method_handlers_generic_handler(_SERVICE, {"Export": export})
        self._server.add_generic_rpc_handlers((service,))
        await self._server.start()

    async def stop(self) -> None:
        """Stop the front and the gRPC server at once."""
        await super().stop()
        await self._server.stop(None)

    async def serve(self, wire: Wire) -> None:
        """Carry bytes between a connection and the gRPC server."""
        reader, writer = await asyncio.open_connection(HOST, self._server_port)
        local: int = writer.get_extra_info("sockname")[1]
        self._wires[local] = wire
        answers = asyncio.get_running_loop().create_task(self._answers(wire, reader))
        try:
            while data := await wire.reader.read(65536):
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
        try:
            while data := await reader.read(65536):
                fault, begun = self._faults.get(wire, (None, 0))
                if fault is None:
                    wire.write(data)
                elif fault.kind == "truncate":
                    wire.write(data[: len(data) // 2])
                    return
                else:  # drip
                    for index in range(len(data)):
                        if not await self.drip(fault, begun, wire):
                            wire.write(data[index:])
                            break
                        wire.write(data[index : index + 1])
        except ConnectionError:
            pass  # this end was closed
        finally:
            wire.close()

    async def export(self, request: Any, context: Any) -> bytes:  # Any: grpc's own
        """Serve one request as the script says."""
        wire = self._wires[int(context.peer().rpartition(":")[2])]
        metadata = [
            (key, value if isinstance(value, str) else value.hex()) for key, value in context.invocation_metadata()
        ]
        body = request.SerializeToString()
        entry = self.add(wire, "POST", _PATH, metadata, body=body, body_size=request.ByteSize())
        entry.decode = lambda: decode_otlp.points(request)
        fault = self.take_fault()
        entry.update(fault=fault.text)
        self.enter(entry)
        if not await self.pass_gate(wire):
            raise asyncio.CancelledError
        match fault.kind:
            case "status" | "retry-after":
                await self._abort(entry, fault, context)
            case "truncate":
                self._faults[wire] = (fault, 0)
                return decode_otlp.response(None).SerializeToString()
            case "garbage" if fault.html:
                entry.update(answered=self.stamp(), status="OK")
                return SIGN_IN
            case "drip":
                begun = self.drips_finished
                self._faults[wire] = (fault, begun)
                await context.send_initial_metadata((("x-drip", "x" * _DRIPPED),))
                await self.until(lambda: self.drips_finished != begun or wire.gone())
                self._faults.pop(wire, None)
            case "ok" | "partial":
                pass
            case _:  # reset, garbage, hang; and refuse, blackhole or silence on a connection that exists
                self._break(wire, entry, fault)
                await self.until(lambda: False)
        if wire.gone():
            raise asyncio.CancelledError
        rejected = fault.points if fault.kind == "partial" else None
        entry.rejected = min(rejected or 0, len(entry.points))
        entry.update(stored=self.stamp(), status="OK")
        entry.update(answered=self.stamp())
        self.changed()
        return decode_otlp.response(rejected, "" if fault.silent else "scripted").SerializeToString()

    def _break(self, wire: Wire, entry: Entry, fault: Fault) -> None:
        if fault.kind == "reset":
            if fault.stored:
                entry.update(stored=self.stamp())
            wire.reset()
            self.changed()
        elif fault.kind == "garbage":
            wire.write(GARBAGE)
            wire.close()

    async def _abort(self, entry: Entry, fault: Fault, context: Any) -> None:
        code = grpc.StatusCode[str(fault.status) or "UNAVAILABLE"]
        trailing: tuple[tuple[str, bytes], ...] = ()
        if fault.kind == "retry-after":
            delay = RetryInfo()
            delay.retry_delay.FromNanoseconds(round(fault.seconds * 1e9))
            status = Status(code=code.value[0], message="scripted")
            status.details.add().Pack(delay)
            trailing = (("grpc-status-details-bin", status.SerializeToString()),)
        entry.update(status=code.name, answered=self.stamp())
        self.changed()
        await context.abort(code, "scripted", trailing)
