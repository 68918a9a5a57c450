"""Harnesses over the kit's own sinks: bases of the harness of a network exporter, and of one that writes.

The sinks run outside the process of the exporter. Their process is started once for all runs of clauses in it; each
run gets a sink of its own, with an address of its own, so that nothing that an earlier run left behind reaches it.
"""

from __future__ import annotations

import atexit
import os
import resource
import sys
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal, TypeVar

from exporter_core.conformance import sinks
from exporter_core.conformance.observe.descriptors import FileIdentity, is_blocked_writing, lead_to, writing_to
from exporter_core.conformance.observe.harness import FAULTS, FILE_FAULTS, Harness, UnreadableError
from exporter_core.conformance.observe.journal import LOGGED, Exchange, words_of
from exporter_core.conformance.observe.sink_points import IDENTITIES, as_points
from exporter_core.conformance.sinks.records import kept_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from exporter_core.conformance.observe.tokens import Point

SinkKind = Literal["otlp_http", "otlp_grpc", "remote_write", "http", "tcp"]

_NetworkSink = sinks.OtlpHttpSink | sinks.OtlpGrpcSink | sinks.RemoteWriteSink | sinks.HttpSink | sinks.TcpSink
_Sink = TypeVar("_Sink", bound=sinks.Sink)

_NETWORK: Final[dict[str, type[_NetworkSink]]] = {
    one.kind: one
    for one in (sinks.OtlpHttpSink, sinks.OtlpGrpcSink, sinks.RemoteWriteSink, sinks.HttpSink, sinks.TcpSink)
}
_GRPC_CODES: Final = {
    "400": "INVALID_ARGUMENT",
    "401": "UNAUTHENTICATED",
    "403": "PERMISSION_DENIED",
    "404": "UNIMPLEMENTED",
    "408": "ABORTED",
    "413": "RESOURCE_EXHAUSTED",
    "429": "UNAVAILABLE",
    "500": "INTERNAL",
    "501": "UNIMPLEMENTED",
    "502": "UNAVAILABLE",
    "503": "UNAVAILABLE",
    "504": "UNAVAILABLE",
    "505": "FAILED_PRECONDITION",
}
"""The gRPC status codes in the place of the HTTP statuses that a clause asks for."""
_OK: Final = 200
_FULL: Final = "/dev/full"
_QUOTA: Final = 16  # bytes beyond its present size that a file may grow to: a line begins, and does not end
SINK_PORTS: Final[set[int]] = set()
"""The ports of the sinks that this process has started."""
_MOST: Final = 10_000  # requests of a run that a clause looks at


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


class _OnSink(Harness, Generic[_Sink]):
    """A harness whose backend is a sink of the kit's."""

    tier = "wire"
    sink: _Sink
    """The sink of this run."""

    @abstractmethod
    def _make(self, directory: Path) -> _Sink:
        """The run's sink, not started."""

    @abstractmethod
    def _contents(self) -> Iterable[bytes]:
        """The contents for :meth:`decode` to read."""

    def decode(self, content: bytes) -> Iterable[Point]:
        """Read points where the sink itself cannot; see ``tokens.flatten``.

        Args:
            content: the body of a request that was stored, decompressed; or all that was written.
        """
        raise NotImplementedError(f"{type(self).__qualname__} has to define decode: its sink gets bytes")

    def setup(self, directory: Path, stamp: Callable[..., object]) -> None:
        """Start the run's sink."""
        self._stamp = stamp
        self._host = _Host.get()
        self._gate: sinks.Gate | None = None
        self.sink = self._make(directory)
        self._host.start(self.sink)
        if (port := getattr(self.sink, "port", None)) is not None:
            SINK_PORTS.add(port)

    def read_back(self) -> Iterable[Point]:
        """The points that the sink has."""
        if type(self).decode is not _OnSink.decode:
            return [point for content in self._contents() for point in self._decoded(content)]
        if isinstance(self.sink, sinks.HttpSink | sinks.TcpSink):
            return self.decode(b"")  # which says that it has to be defined
        return as_points(self.sink.points())

    def _decoded(self, content: bytes) -> list[Point]:
        try:
            return list(self.decode(content))
        except Exception as error:
            raise UnreadableError(words_of(error)) from error

    def read_identities(self) -> Iterable[str]:
        """The identities of the points that the sink has."""
        if type(self).read_back is not _OnSink.read_back or type(self).decode is not _OnSink.decode:
            return super().read_identities()
        return self.sink.identities(*IDENTITIES)

    def forget_arrivals(self) -> None:
        """Let the sink forget what it has."""
        self.sink.clear()

    def open(self) -> None:
        """Open the gate."""
        if self._gate is not None:
            self._gate.open()

    def after_fork(self) -> None:
        """Open the gate, which is the parent's as well: the sink is in neither process."""
        self.open()

    def teardown(self) -> None:
        """End the run's sink, which then refuses connections."""
        self._host.stop(self.sink)


class SinkHarness(_OnSink[_NetworkSink]):
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
    answers: ClassVar[Mapping[str, Any]] = {}  # Any: as the sink's constructor has it
    """Of an ``http`` sink, its answer to what it stores: ``{"success": 204, "body": b"..."}``."""
    gated = True
    sockets = True

    def __init_subclass__(cls, **named: Any) -> None:  # Any: whatever a further base takes
        super().__init_subclass__(**named)
        kind = getattr(cls, "kind", None)
        if kind not in _NETWORK:
            raise TypeError(f"{cls.__qualname__}.kind is {kind!r}; expected one of {', '.join(_NETWORK)}")
        if "success" not in vars(cls):
            cls.success = _OK if kind == "otlp_http" else None  # by its specification; others take every 2xx
        if "faults" not in vars(cls):
            # That a connection without answers is closed after the data is no half answer.
            cls.faults = _NETWORK[kind].faults.intersection(FAULTS) - ({"truncate"} if kind == "tcp" else set())

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
        """The number of requests that have arrived."""
        return self.sink.count_requests()

    def shut(self) -> None:
        """Shut the gate."""
        self._gate = self.sink.shut()

    def entered(self) -> bool | None:
        """True if a request stands before the gate."""
        try:
            return self._gate is not None and self._gate.await_entered(timeout=0) is not None
        except sinks.SinkTimeoutError:
            return False

    def connections(self) -> int | None:
        """The number of open connections."""
        return self.sink.count_open()

    def teardown(self) -> None:
        """Add what the sink saw to the timeline, and end the run's sink."""
        try:
            self._log()
        finally:
            super().teardown()

    def wire_log(self) -> Iterable[Exchange]:
        """The requests that the sink got."""
        for one, points in self.sink.outlines(_MOST):
            yield Exchange(
                seconds=one.received.ns / 1e9,
                request=f"{one.method} {one.path}".strip(),
                headers=one.headers,
                size=one.body_size,
                points=points,
                connection=one.connection,
                fault=one.fault,
                stored=None if one.stored is None else one.stored.ns / 1e9,
                answered=None if one.answered is None else one.answered.ns / 1e9,
                answer=None if one.status is None else str(one.status),
                problems=one.problems,
                digests=one.digests,
            )

    def _make(self, directory: Path) -> _NetworkSink:  # noqa: ARG002 - a file sink needs it
        return _NETWORK[self.kind](port=self.port, secrets=[self.secret] if self.secret else [], **self.answers)

    def _contents(self) -> Iterable[bytes]:
        if isinstance(self.sink, sinks.TcpSink):
            return [self.sink.content()]
        return [request.body for request in self.sink.requests() if request.stored is not None]

    def _log(self) -> None:
        told: list[tuple[sinks.Stamp | None, str]] = []
        for connection in self.sink.connections()[:LOGGED]:
            about = f"connection {connection.number}"
            closed_by = "this end" if connection.closed_by == "sink" else "the exporter"
            told += [(connection.opened, f"{about} opened"), (connection.closed, f"{about} closed by {closed_by}")]
        for one, points in self.sink.outlines(LOGGED):
            about = f"request {one.number}"
            of_points = f", {points} points" if points else ""
            arrived = f"{about}: {one.method} {one.path}, {one.body_size} bytes{of_points}, {one.fault}"
            told += [(one.received, arrived), (one.stored, f"{about}: stored")]
            told.append((one.answered, f"{about}: answered {one.status}"))
        for at, text in told:
            if at is not None:
                self._stamp("wire", text, at.ns / 1e9)


def _for_grpc(step: str) -> str:
    before, _, status = step.rpartition(":")
    if before == "status":
        return f"{before}:{_GRPC_CODES.get(status, status)}"
    # Whoever has too many requests says so with the time to wait, or else it is not tried again.
    return f"{before}:RESOURCE_EXHAUSTED" if before.startswith("retry-after:") and status == "429" else step


class FileSinkHarness(_OnSink[sinks.FileSink]):
    """Reads the file that an exporter writes: OTLP's JSON or the SDK's own, or what :meth:`decode` reads.

    Its faults are ``refuse`` (the file cannot be opened, and what is open takes no writes), ``full`` (the disk is full)
    and ``quota`` (a write is cut short, the next one fails). A subclass that sets ``gated = True`` has a gate as well:
    while that is shut, the file is a full pipe that nobody reads, so that a write to it hangs as on a dead disk.
    """

    faults = frozenset({"ok", *FILE_FAULTS})

    def setup(self, directory: Path, stamp: Callable[..., object]) -> None:
        """Choose the file, and start the run's sink."""
        super().setup(directory, stamp)
        self._aside = self.path.with_name("aside")
        self._fault = "ok"
        self._led_away: dict[int, int] = {}  # a copy of each descriptor that leads elsewhere, by its number
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._pipe: FileIdentity | None = None

    @property
    def path(self) -> Path:
        """The file, which does not exist yet."""
        return self.sink.path

    def fault(self, *steps: str) -> None:
        """Let every write fail in this way, or succeed again (``ok``)."""
        if steps[0] not in type(self).faults:
            raise ValueError(f"fault {steps[0]!r}: this harness knows {', '.join(sorted(type(self).faults))}")
        if self._fault != "ok":
            self._mend()
        self._fault = steps[0]
        if self._fault == "quota":
            size = self.path.stat().st_size if self.path.exists() else 0
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + _QUOTA, self._limits[1]))
        elif self._fault != "ok":
            self._break(self._fault)

    def _break(self, fault: str) -> None:
        self.path.touch()
        written = FileIdentity.of(self.path)
        self.path.rename(self._aside)
        if fault == "full":
            self.path.symlink_to(_FULL)
            self._lead_away(written, _FULL, os.O_WRONLY)
        else:
            self.path.mkdir()  # which nobody can open for writing, not even a privileged user
            self._lead_away(written, os.devnull, os.O_RDONLY)

    def _mend(self) -> None:
        if self._fault == "quota":
            resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
            return
        if self.path.is_symlink():
            self.path.unlink()
        elif self.path.is_dir():
            self.path.rmdir()
        if not self.path.exists():  # else the exporter has put a file of its own there
            self._aside.rename(self.path)
        self._lead_back()

    def _lead_away(self, written: FileIdentity, to: Path | str, flags: int) -> None:
        for number in writing_to(written):
            self._led_away[number] = os.dup(number)
            lead_to(to, flags, number)

    def _lead_back(self) -> None:
        for number, before in self._led_away.items():
            os.dup2(before, number, inheritable=False)
            os.close(before)
        self._led_away.clear()

    def shut(self) -> None:
        """Shut the gate: whoever writes to the file blocks, by its name and through what is open."""
        self.path.touch()
        written = FileIdentity.of(self.path)
        self._gate = self.sink.shut()
        self._pipe = FileIdentity.of(self.path)
        self._lead_away(written, self.path, os.O_WRONLY)

    def open(self) -> None:
        """Open the gate: the file has its name again, and whoever waits in a write is done."""
        if self._pipe is not None:
            self.after_fork()  # before the pipe is read: what follows the write that waits goes to the file
            super().open()

    def after_fork(self) -> None:
        """Let this process write to the file; what another one has begun to write waits on."""
        kept = kept_beside(self.path)
        if kept.exists():
            kept.replace(self.path)
        pipe, self._pipe = self._pipe, None
        self._lead_back()
        if pipe is not None:
            lead_to(self.path, os.O_WRONLY | os.O_APPEND, *writing_to(pipe))

    def entered(self) -> bool | None:
        """True if a thread waits in a write to the file."""
        return None if self._pipe is None else is_blocked_writing(self._pipe) or None

    def teardown(self) -> None:
        """Put everything back, and end the run's sink."""
        self.open()
        self.fault("ok")
        super().teardown()

    def _make(self, directory: Path) -> sinks.FileSink:
        return sinks.FileSink(directory / "sink", forgets=True)

    def _contents(self) -> Iterable[bytes]:
        return [self.sink.content()]


class StdoutSinkHarness(_OnSink[sinks.StdoutSink]):
    """Takes the place of the process's standard output, and reads it as :class:`FileSinkHarness` does.

    Both descriptor 1 and ``sys.stdout`` are the sink's: a test's capture may have put another file in place of one.

    While its gate is shut the pipe is full and nobody reads. Its faults are ``refuse``, a pipe without a reader, and
    ``full``, a disk that is full.
    """

    faults = frozenset({"ok", "refuse", "full"})
    gated = True

    def setup(self, directory: Path, stamp: Callable[..., object]) -> None:
        """Start the run's sink, and put it in the place of standard output."""
        super().setup(directory, stamp)
        self._before = os.dup(1), sys.stdout
        os.dup2(self.sink.writer, 1)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the teardown

    def config(self) -> dict[str, Any]:
        """No options."""
        return {}

    def fault(self, *steps: str) -> None:
        """Put a pipe without a reader or a full disk in the place of standard output, or the sink back."""
        if steps[0] == "refuse":
            reading, writing = os.pipe()
            os.close(reading)
            os.dup2(writing, 1)
            os.close(writing)
        elif steps[0] == "full":
            lead_to(_FULL, os.O_WRONLY, 1)
        else:
            os.dup2(self.sink.writer, 1)

    def shut(self) -> None:
        """Shut the gate, with the pipe full."""
        self._gate = self.sink.shut()
        os.set_blocking(self.sink.writer, False)
        try:
            while True:
                os.write(self.sink.writer, b"\n")
        except BlockingIOError:
            pass  # it is full
        finally:
            os.set_blocking(self.sink.writer, True)

    def entered(self) -> bool | None:
        """True if a thread waits in a write to standard output."""
        return is_blocked_writing(FileIdentity.of(self.sink.writer)) or None

    def teardown(self) -> None:
        """Put standard output back, and end the run's sink."""
        descriptor, sys.stdout = self._before
        os.dup2(descriptor, 1)
        os.close(descriptor)
        super().teardown()

    def _make(self, directory: Path) -> sinks.StdoutSink:  # noqa: ARG002 - a file sink needs it
        return sinks.StdoutSink()

    def _contents(self) -> Iterable[bytes]:
        return [self.sink.content()]
