"""The program of a sinks' process: starts the sinks and does what the parent asks, until the parent is gone."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from exporter_core.conformance.sinks.messages import LENGTH, decode, encode
from exporter_core.conformance.sinks.server.core import Core
from exporter_core.conformance.sinks.server.extras import MissingExtraError
from exporter_core.conformance.sinks.server.listener import Listener, PortTakenError
from exporter_core.conformance.sinks.server.streams import FileStream, PipeStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.conformance.sinks.faults import Fault
    from exporter_core.conformance.sinks.records import Connection, Line, Point, Request, Stamp

_LOOK_FOR_PARENT: Final = 1.0  # seconds: only where a forked copy of the parent keeps the channel open


class LateError(Exception):
    """What was awaited did not happen in time."""


class Sink:
    """One sink, and what its parent can ask of it: every public method."""

    def __init__(self, kind: str, options: dict[str, Any], descriptors: list[int]) -> None:
        self._core = Core(options.get("secrets", ()))
        self._listener: Listener | None = None
        self._stream: FileStream | PipeStream | None = None
        self._grpc: Any = None  # a server whose module is heavy
        self._kind = kind
        self._options = options
        self._descriptors = descriptors

    async def start(self) -> int:
        """Start; the port, or 0."""
        core = self._core
        if self._kind == "file":
            self._stream = FileStream(core, self._options["path"])
            return 0
        if self._kind == "stdout":
            self._stream = PipeStream(core, self._descriptors.pop(0))
            return 0
        serve: Any  # each server's coroutine function
        http = None
        if self._kind == "tcp":
            from exporter_core.conformance.sinks.server.tcp import TcpServer  # noqa: PLC0415 - one kind is wanted

            serve = TcpServer(core).serve
        elif self._kind == "otlp_grpc":
            from exporter_core.conformance.sinks.server.otlp_grpc import GrpcServer  # noqa: PLC0415 - grpc is heavy

            self._grpc = GrpcServer(core)
            await self._grpc.start()
            serve = self._grpc.serve
        else:
            from exporter_core.conformance.sinks.server import backends  # noqa: PLC0415 - as above
            from exporter_core.conformance.sinks.server.http import HttpServer  # noqa: PLC0415 - as above

            kinds: dict[str, Callable[[], Any]] = {
                "otlp_http": backends.OtlpBackend,
                "remote_write": backends.RemoteWriteBackend,
                "http": backends.PlainBackend,
            }
            http = HttpServer(core, kinds[self._kind]())
            serve = http.serve
        self._listener = Listener(core, self._options.get("port", 0), serve)
        if http is not None:
            http.listener = self._listener
        return self._listener.port

    async def stop(self) -> None:
        """End for good: whoever is connected is reset, and whoever connects is refused."""
        self._core.open_gate()
        if self._listener is not None:
            self._listener.stop(keep_port=not self._options.get("port", 0))
        if isinstance(self._stream, PipeStream):
            self._stream.close()
        if self._grpc is not None:
            await self._grpc.stop()

    def script(self, faults: list[Fault], then: Fault) -> None:
        """Replace the script."""
        self._core.set_script(faults, then)

    def shut(self) -> Stamp:
        """Shut the gate."""
        if isinstance(self._stream, PipeStream):
            self._stream.sync()
        return self._core.shut_gate()

    def open(self) -> Stamp:
        """Open the gate."""
        was_shut = self._core.shut
        opened = self._core.open_gate()
        if was_shut and isinstance(self._stream, PipeStream):
            self._stream.reopened()
        return opened

    async def await_entered(self, count: int, timeout: float) -> Stamp:  # noqa: ASYNC109 - what the parent gave
        """Wait for so many to stand at the gate."""
        core = self._core
        await self._await(lambda: core.entered >= count, timeout, lambda: f"{core.entered} of {count} entered")
        return core.stamp()

    async def await_requests(self, count: int, timeout: float) -> None:  # noqa: ASYNC109 - as above
        """Wait for so many requests to have arrived."""
        core = self._core
        await self._await(
            lambda: len(core.entries) >= count, timeout, lambda: f"{len(core.entries)} of {count} requests arrived"
        )

    async def await_stored(self, count: int, timeout: float) -> None:  # noqa: ASYNC109 - as above
        """Wait for so many requests to have been stored."""

        def stored() -> int:
            return sum(entry.stored is not None for entry in self._core.entries)

        await self._await(lambda: stored() >= count, timeout, lambda: f"{stored()} of {count} requests were stored")

    async def await_closed(self, timeout: float) -> None:  # noqa: ASYNC109 - as above
        """Wait until no connection is open."""
        await self._await(lambda: not self.count_open(), timeout, lambda: f"{self.count_open()} connections are open")

    async def await_text(self, text: bytes, timeout: float) -> None:  # noqa: ASYNC109 - as above
        """Wait until the pipe has brought this text."""
        stream = self._stream
        assert isinstance(stream, PipeStream)  # noqa: S101 - the parent asks a stdout sink only
        await self._await(lambda: text in stream.content, timeout, lambda: f"{text!r} was not written")

    async def _await(self, predicate: Callable[[], bool], seconds: float, state: Callable[[], str]) -> None:
        if not await self._core.until(predicate, seconds):
            raise LateError(f"after {seconds:g} s {state()}")

    def step(self, count: int) -> None:
        """Let a stepped drip go on."""
        self._core.credit += count
        self._core.changed()

    def finish(self) -> None:
        """Let every drip send the rest at once."""
        self._core.drips_finished += 1
        self._core.credit = 0
        self._core.changed()

    def requests(self) -> list[Request]:
        """Every request."""
        self._check()
        return [entry.record(self._core.masker) for entry in self._core.entries]

    def count_requests(self) -> int:
        """How many requests there are."""
        return len(self._core.entries)

    def count_open(self) -> int:
        """How many connections are open."""
        return sum(wire.closed is None for wire in self._listener.wires) if self._listener else 0

    def points(self) -> list[Point]:
        """The points that were stored, in the order of storing."""
        self._check()
        if self._stream is not None:
            self._stream.sync()
            return self._stream.points()
        stored = [point for entry in self._core.entries for point in entry.stamped_points() if point.stored]
        return sorted(stored, key=lambda point: point.stored or ())

    def _check(self) -> None:
        if self._core.failures:
            raise RuntimeError(f"the sink itself has failed: {self._core.failures[0]}")

    def connections(self) -> list[Connection]:
        """Every connection."""
        return [wire.record() for wire in self._listener.wires] if self._listener else []

    def content(self) -> bytes:
        """All that was written."""
        if self._stream is None:
            return b"".join(entry.body for entry in self._core.entries if entry.stored)
        self._stream.sync()
        return bytes(self._stream.content)

    def lines(self) -> list[Line]:
        """The complete lines that were written."""
        assert self._stream is not None  # noqa: S101 - the parent asks a file or stdout sink only
        self._stream.sync()
        return self._stream.lines()

    def clear(self) -> None:
        """Forget what was recorded."""
        self._core.clear()
        if self._listener is not None:
            self._listener.forget_closed()
        if self._stream is not None:
            self._stream.sync()
            self._stream.clear()


class Process:
    """Serves the channel to the parent: each byte on it brings a socket that carries one call."""

    def __init__(self, channel: socket.socket, parent: int) -> None:
        self._channel = channel
        self._parent = parent
        self._sinks: dict[int, Sink] = {}
        self._indexes = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = asyncio.Event()

    async def run(self) -> None:
        """Serve until the parent is gone."""
        loop = asyncio.get_running_loop()
        self._channel.setblocking(False)
        loop.add_reader(self._channel, self._incoming)
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
        task = asyncio.get_running_loop().create_task(
            self._serve(socket.socket(fileno=descriptors[0]), descriptors[1:])
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, call: socket.socket, descriptors: list[int]) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=call)
        try:
            (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            index, operation, arguments = decode(await reader.readexactly(length))
            writer.write(encode(await self._answer(index, operation, arguments, descriptors)))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the caller has given up
        finally:
            writer.close()

    async def _answer(  # noqa: PLR0911 - one answer a kind of failure
        self, index: int, operation: str, arguments: tuple[Any, ...], descriptors: list[int]
    ) -> object:
        try:
            if operation == "start":
                return "ok", [await self._start(kind, options, descriptors) for kind, options in arguments]
            sink = self._sinks.pop(index, None) if operation == "stop" else self._sinks.get(index)
            if sink is None:
                return "error", "the sink is closed: read what it recorded before that"
            done = getattr(sink, operation)(*arguments)
            return "ok", await done if asyncio.iscoroutine(done) else done
        except LateError as error:
            return "late", str(error)
        except PortTakenError as error:
            return "taken", str(error)
        except MissingExtraError as error:
            return "start", str(error)
        except Exception as error:  # noqa: BLE001 - it is the parent's to raise
            return "error", f"{type(error).__name__}: {error}"

    async def _start(self, kind: str, options: dict[str, Any], descriptors: list[int]) -> tuple[int, int]:
        """Start a sink; its index and its port."""
        sink = Sink(kind, options, descriptors)
        index = next(self._indexes)
        try:
            port = await sink.start()
            self._sinks[index] = sink
            return index, port
        except PortTakenError as error:
            raise PortTakenError(f"sink {kind}: {error}; choose another port, or none for a free one") from None
        except MissingExtraError as error:
            raise MissingExtraError(f"sink {kind}: {error}") from None


def main(descriptor: int, parent: int) -> None:
    """Run; does not return."""
    with socket.socket(fileno=descriptor) as channel:
        process = Process(channel, parent)
        try:
            asyncio.run(process.run())
        finally:
            sys.stderr.flush()
            os._exit(0)  # gRPC's threads and hung requests are nobody's any more
