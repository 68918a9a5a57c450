"""Harnesses over the kit's own sinks: what the harness of a network exporter is made of, and of one that writes.

The sinks run outside the process of the exporter. Their process is started once for all runs of clauses in it; each
run gets a sink of its own, with an address of its own, so that nothing that an earlier run left behind reaches it.
"""

from __future__ import annotations

import atexit
import os
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from exporter_core.conformance import sinks
from exporter_core.conformance.observe.harness import FAULTS, Harness
from exporter_core.conformance.observe.journal import Exchange
from exporter_core.conformance.observe.sink_points import as_points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from exporter_core.conformance.observe.tokens import Point

SinkKind = Literal["otlp_http", "otlp_grpc", "remote_write", "http", "tcp"]

_NetworkSink = sinks.OtlpHttpSink | sinks.OtlpGrpcSink | sinks.RemoteWriteSink | sinks.HttpSink | sinks.TcpSink

_NETWORK: Final[dict[str, type[_NetworkSink]]] = {
    one.kind: one
    for one in (sinks.OtlpHttpSink, sinks.OtlpGrpcSink, sinks.RemoteWriteSink, sinks.HttpSink, sinks.TcpSink)
}
_GRPC_CODES: Final = {
    "400": "INVALID_ARGUMENT",
    "401": "UNAUTHENTICATED",
    "403": "PERMISSION_DENIED",
    "404": "UNIMPLEMENTED",
    "429": "UNAVAILABLE",
    "500": "INTERNAL",
    "502": "UNAVAILABLE",
    "503": "UNAVAILABLE",
    "504": "UNAVAILABLE",
}
"""What the gRPC sink answers where a clause asks for an HTTP status."""
_LOGGED: Final = 100  # requests and connections of a run that its timeline shows


class _Host:
    """The sinks' process of this process."""

    running: ClassVar[sinks.SinkHost | None] = None

    @classmethod
    def get(cls) -> sinks.SinkHost:
        if cls.running is not None and not cls.running.alive:
            cls.running.close()
            cls.running = None
        if cls.running is None:
            cls.running = sinks.SinkHost()
            atexit.register(cls.running.close)
        return cls.running


class _OnSink(Harness):
    """A harness whose backend is a sink of the kit's."""

    tier = "wire"

    @abstractmethod
    def _make(self, directory: Path) -> sinks.Sink:
        """The run's sink, not started."""

    @abstractmethod
    def _arrived(self) -> Iterable[Point]:
        """What the sink has, where :meth:`decode` is not defined."""

    @abstractmethod
    def _contents(self) -> Iterable[bytes]:
        """What :meth:`decode` is to read."""

    def decode(self, content: bytes) -> Iterable[Point]:
        """The points in what the sink got, where the sink itself cannot read it; see ``tokens.flatten``.

        Args:
            content: the body of a request that was stored, decompressed; or all that was written.
        """
        raise NotImplementedError(f"{type(self).__qualname__} has to define decode: its sink gets bytes")

    def setup(self, directory: Path, stamp: Callable[..., object]) -> None:
        """Start the run's sink."""
        self._stamp = stamp
        self._host = _Host.get()
        self._gate: sinks.Gate | None = None
        self._started = self._make(directory)
        self._host.start(self._started)

    def read_back(self) -> Iterable[Point]:
        """What the sink has."""
        if type(self).decode is _OnSink.decode:
            return self._arrived()
        return [point for content in self._contents() for point in self.decode(content)]

    def open(self) -> None:
        """Open the gate."""
        if self._gate is not None:
            self._gate.open()

    def after_fork(self) -> None:
        """Open the gate, which is the parent's as well: the sink is in neither process."""
        self.open()

    def teardown(self) -> None:
        """End the run's sink: whoever still sends to it is refused."""
        self._host.stop(self._started)


class SinkHarness(_OnSink):
    """Points an exporter at a network sink, which does every fault of its protocol and can be shut.

    A subclass names the kind of sink and says how the exporter is pointed at it; nothing else is needed::

        class MineHarness(SinkHarness):
            kind = "otlp_http"

            def config(self):
                return {"endpoint": self.endpoint}

    Kinds: otlp_http, otlp_grpc, remote_write; and http and tcp, which get bytes that :meth:`decode` reads.
    """

    kind: ClassVar[SinkKind]
    """The kind of sink."""
    port: ClassVar[int] = 0
    """The sink's port; 0 for another free one in each run."""
    gated = True
    sockets = True

    def __init_subclass__(cls, **named: Any) -> None:  # Any: whatever a further base takes
        super().__init_subclass__(**named)
        kind = getattr(cls, "kind", None)
        if kind not in _NETWORK:
            raise TypeError(f"{cls.__qualname__}.kind is {kind!r}; expected one of {', '.join(_NETWORK)}")
        if "faults" not in vars(cls):
            cls.faults = _NETWORK[kind].faults.intersection(FAULTS)

    @property
    def sink(self) -> _NetworkSink:
        """The sink of this run."""
        found = self._started
        assert isinstance(found, _NetworkSink)  # noqa: S101 - _make made it
        return found

    @property
    def endpoint(self) -> str:
        """The URL that the exporter sends to."""
        return self.sink.endpoint

    @property
    def address(self) -> str:
        """``host:port``."""
        return self.sink.address

    def fault(self, *steps: str) -> None:
        """Script the sink; for gRPC, with the status code in the place of an HTTP status."""
        script = [_for_grpc(step) for step in steps] if self.kind == "otlp_grpc" else list(steps)
        self.sink.script(*script[:-1], then=script[-1])

    def requests(self) -> int:
        """How many requests have arrived."""
        return self.sink.count_requests()

    def shut(self) -> None:
        """Shut the gate."""
        self._gate = self.sink.shut()

    def entered(self) -> bool | None:
        """Whether a request stands before the gate."""
        if self._gate is None:
            return False
        try:
            self._gate.await_entered(timeout=0)
        except sinks.SinkTimeoutError:
            return False
        return True

    def connections(self) -> int | None:
        """How many connections are open."""
        return self.sink.count_open()

    def teardown(self) -> None:
        """Add what the sink saw to the timeline, and end the run's sink."""
        try:
            self._log()
        finally:
            super().teardown()

    def wire_log(self) -> Iterable[Exchange]:
        """The requests that the sink got."""
        for one in self.sink.requests()[:_LOGGED]:
            yield Exchange(
                seconds=one.received.ns / 1e9,
                request=f"{one.method} {one.path}".strip(),
                headers=one.headers,
                size=one.body_size,
                points=len(one.points),
                connection=one.connection,
                fault=one.fault,
                stored=None if one.stored is None else one.stored.ns / 1e9,
                answered=None if one.answered is None else one.answered.ns / 1e9,
                answer=None if one.status is None else str(one.status),
                problems=one.problems,
            )

    def _make(self, directory: Path) -> sinks.Sink:  # noqa: ARG002 - a file sink needs it
        return _NETWORK[self.kind](port=self.port, secrets=[self.secret] if self.secret else [])

    def _arrived(self) -> Iterable[Point]:
        if self.kind in ("http", "tcp"):
            return self.decode(b"")  # which says that it has to be defined
        return as_points(self.sink.points())

    def _contents(self) -> Iterable[bytes]:
        if isinstance(self.sink, sinks.TcpSink):
            return [self.sink.content()]
        return [request.body for request in self.sink.requests() if request.stored is not None]

    def _log(self) -> None:
        for connection in self.sink.connections()[:_LOGGED]:
            about = f"connection {connection.number}"
            self._told(connection.opened, f"{about} opened")
            self._told(
                connection.closed,
                f"{about} closed by {'this end' if connection.closed_by == 'sink' else 'the exporter'}",
            )
        for request in self.sink.requests()[:_LOGGED]:
            about = f"request {request.number}"
            points = f", {len(request.points)} points" if request.points else ""
            self._told(
                request.received,
                f"{about}: {request.method} {request.path}, {request.body_size} bytes{points}, {request.fault}",
            )
            self._told(request.stored, f"{about}: stored")
            self._told(request.answered, f"{about}: answered {request.status}")

    def _told(self, at: sinks.Stamp | None, text: str) -> None:
        if at is not None:
            self._stamp("wire", text, at.ns / 1e9)


def _for_grpc(step: str) -> str:
    name, _, status = step.partition(":")
    return f"{name}:{_GRPC_CODES.get(status, status)}" if name == "status" else step


class _Written(_OnSink):
    """A harness over a sink that reads what is written."""

    def _contents(self) -> Iterable[bytes]:
        return [self._stream().content()]

    def _arrived(self) -> Iterable[Point]:
        return as_points(self._stream().points())

    def _stream(self) -> sinks.FileSink | sinks.StdoutSink:
        found = self._started
        assert isinstance(found, sinks.FileSink | sinks.StdoutSink)  # noqa: S101 - _make made it
        return found


class FileSinkHarness(_Written):
    """Reads the file that an exporter writes: OTLP's JSON or the SDK's own, or what :meth:`decode` reads.

    A file does no fault and has no gate.
    """

    @property
    def path(self) -> Path:
        """The file, which does not exist yet."""
        found = self._started
        assert isinstance(found, sinks.FileSink)  # noqa: S101 - _make made it
        return found.path

    def _make(self, directory: Path) -> sinks.Sink:
        return sinks.FileSink(directory / "sink")


class StdoutSinkHarness(_Written):
    """Takes the place of the process's standard output (descriptor 1), and reads it as :class:`FileSinkHarness` does.

    While its gate is shut the pipe is full and nobody reads. Its one fault, ``refuse``, is a pipe without a reader.
    """

    faults = frozenset({"ok", "refuse"})
    gated = True

    def setup(self, directory: Path, stamp: Callable[..., object]) -> None:
        """Start the run's sink, and put it in the place of standard output."""
        super().setup(directory, stamp)
        self._before = os.dup(1)
        os.dup2(self._writer, 1)

    def config(self) -> dict[str, Any]:
        """No options."""
        return {}

    def fault(self, *steps: str) -> None:
        """Put a pipe without a reader in the place of standard output, or the sink back."""
        if steps[0] != "refuse":
            os.dup2(self._writer, 1)
            return
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 1)
        os.close(writing)

    def shut(self) -> None:
        """Shut the gate, with the pipe full."""
        found = self._started
        assert isinstance(found, sinks.StdoutSink)  # noqa: S101 - _make made it
        self._gate = found.shut()
        os.set_blocking(self._writer, False)
        try:
            while True:
                os.write(self._writer, b"\n")
        except BlockingIOError:
            pass  # it is full
        finally:
            os.set_blocking(self._writer, True)

    def teardown(self) -> None:
        """Put standard output back, and end the run's sink."""
        os.dup2(self._before, 1)
        os.close(self._before)
        super().teardown()

    @property
    def _writer(self) -> int:
        found = self._started
        assert isinstance(found, sinks.StdoutSink)  # noqa: S101 - _make made it
        return found.writer

    def _make(self, directory: Path) -> sinks.Sink:  # noqa: ARG002 - a file sink needs it
        return sinks.StdoutSink()
