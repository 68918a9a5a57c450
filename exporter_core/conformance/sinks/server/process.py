"""The program of a sinks' process: it starts sinks and serves the parent's calls, until the parent is gone."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import socket
import sys
from importlib import import_module
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final

from exporter_core.conformance.sinks.errors import SinkError, SinkPortTakenError, SinkStartError
from exporter_core.conformance.sinks.messages import SinkAnswer, SinkCall

if TYPE_CHECKING:
    from exporter_core.conformance.sinks.server.core import SinkServer

_ALLOCATIONS: Final = 50_000  # between two looks for garbage, of which records that are kept are none
_LOOK_FOR_PARENT: Final = 1.0  # seconds: only where a forked copy of the parent keeps the channel open

_SERVERS: Final = {
    "file": ("streams", "FileServer"),
    "stdout": ("streams", "PipeServer"),
    "tcp": ("tcp", "TcpServer"),
    "http": ("http", "HttpServer"),
    "otlp_http": ("otlp_http", "OtlpHttpServer"),
    "otlp_grpc": ("otlp_grpc", "OtlpGrpcServer"),
    "remote_write": ("remote_write", "RemoteWriteServer"),
}
"""Module and class by the kind of sink: each is imported when it is wanted, for some are heavy."""


class Process:
    """Serves the channel to the parent: each byte on it brings a socket that carries one call."""

    def __init__(self, channel: socket.socket, parent: int) -> None:
        self._channel = channel
        self._parent = parent
        self._sinks: dict[int, SinkServer] = {}
        self._indexes = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = asyncio.Event()

    async def run(self) -> None:
        """Serve until the parent is gone."""
        self._channel.setblocking(False)
        asyncio.get_running_loop().add_reader(self._channel, self._incoming)
        while os.getppid() == self._parent:
            try:
                await asyncio.wait_for(self._gone.wait(), _LOOK_FOR_PARENT)
                return
            except TimeoutError:
                continue

    def _incoming(self) -> None:
        try:
            _, descriptors, _, _ = socket.recv_fds(self._channel, 1, 8)
        except BlockingIOError:
            return
        except OSError:
            descriptors = []
        if not descriptors:
            self._gone.set()
            return
        call = Connection(descriptors.pop(0))
        task = asyncio.get_running_loop().create_task(self._serve(call, descriptors))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: Connection, descriptors: list[int]) -> None:
        """Receive one call and send its answer. Both block for a moment only: the parent waits at the other end."""
        with connection:
            try:
                connection.send(await self._answer(connection.recv(), descriptors))
            except (OSError, EOFError):
                pass  # the caller has given up

    async def _answer(self, call: SinkCall, descriptors: list[int]) -> SinkAnswer:
        try:
            if call.operation == "start":
                return SinkAnswer([await self._start(kind, options, descriptors) for kind, options in call.arguments])
            if call.sink not in self._sinks:
                return SinkAnswer(error=SinkError("the sink is closed: read what it recorded before that"))
            done = getattr(self._sinks[call.sink], call.operation)(*call.arguments)
            value = await done if asyncio.iscoroutine(done) else done
            if call.operation == "stop":
                del self._sinks[call.sink]
            return SinkAnswer(value)
        except SinkError as error:
            return SinkAnswer(error=error)
        except Exception as error:  # noqa: BLE001 - it is the parent's to raise
            return SinkAnswer(error=SinkError(f"{type(error).__name__}: {error}"))

    async def _start(self, kind: str, options: dict[str, Any], descriptors: list[int]) -> tuple[int, int]:
        """Start a sink; its index and its port."""
        module, name = _SERVERS[kind]
        if kind == "stdout":
            options = {**options, "descriptor": descriptors.pop(0)}
        try:
            server: SinkServer = getattr(import_module(f"{__package__}.{module}"), name)(**options)
        except SinkPortTakenError as error:
            raise SinkPortTakenError(f"sink {kind}: {error}; choose another port, or none for a free one") from None
        except ModuleNotFoundError as error:
            way_out = "install it with: pip install 'exporter-core[conformance]'"
            raise SinkStartError(f"sink {kind}: the module {error.name} is missing; {way_out}") from None
        await server.start()
        index = next(self._indexes)
        self._sinks[index] = server
        return index, server.port


def main(descriptor: int, parent: int) -> None:
    """Run; does not return."""
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS)
    with socket.socket(fileno=descriptor) as channel:
        try:
            asyncio.run(Process(channel, parent).run())
        finally:
            sys.stderr.flush()
            os._exit(0)  # gRPC's threads and hung requests are nobody's any more
