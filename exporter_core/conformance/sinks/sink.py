"""The sinks as a test sees them: start one in a ``with`` block, point an exporter at it, script it, read it back."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar, TypeVarTuple, cast

from exporter_core.conformance.sinks.errors import SinkError
from exporter_core.conformance.sinks.faults import parse_script
from exporter_core.conformance.sinks.process import SinkHost
from exporter_core.conformance.sinks.records import Connection, Line, Point, Request, Stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


AWAITED: Final = 30.0
"""Seconds until a wait for a sink gives up. It ends failing runs and decides nothing."""

Sinks = TypeVarTuple("Sinks")
_Answer = TypeVar("_Answer")

_UNSEEN: Final = frozenset({"ok", "hang", "refuse", "blackhole", "silence", "reset", "truncate", "garbage"})
_HTTP: Final = _UNSEEN | {"status", "retry-after", "retry-after-date", "drip", "stall", "redirect"}


class Sink:
    """The base of every sink. Enter it to start it, in a process of its own; leave it to end it.

    Everything here may be called from any thread. Raises :class:`SinkError` if the process was killed or is closed.

    Args:
        secrets: texts that no record may show, besides headers that are secret by name.
    """

    kind: ClassVar[str]

    def __init__(self, *, secrets: Iterable[str] = ()) -> None:
        self._options: dict[str, Any] = {"secrets": tuple(secrets)}
        self._host: SinkHost | None = None
        self._index = 0

    def __enter__(self) -> Self:
        _start_alone(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the sink's process, and with it every sink started beside it; a second call does nothing."""
        if self._host is not None:
            self._host.close()

    @property
    def pid(self) -> int:
        """The process that the sink runs in."""
        return self._started().pid

    def points(self) -> list[Point]:
        """The points that the backend has, in the order in which it got them.

        Of a request that the script had fail, nothing is stored; of a partial success, the first points.
        """
        return self._ask(list, "points")

    def identities(self, *names: str) -> list[str]:
        """Of each point that the backend has, the first of these attributes that it has, which is a text; else "".

        Takes far less time than :meth:`points`, in another order.
        """
        return self._ask(list, "identities", names)

    def clear(self) -> None:
        """Forget everything recorded so far; script, gate and open connections stay."""
        self._call("clear")

    def _open(self) -> tuple[int, ...]:
        """Open descriptors for the sink's process, which it closes here once the process has them."""
        return ()

    def _release(self) -> None:
        """Release what :meth:`_open` keeps for this process."""

    def _has_started(self, host: SinkHost, index: int, port: int) -> None:  # noqa: ARG002 - a network sink has one
        self._host, self._index = host, index

    def _started(self) -> SinkHost:
        if self._host is None:
            raise SinkError(f"sink {self.kind}: not started; use it in a with block")
        return self._host

    def _call(self, operation: str, *arguments: object, seconds: float = 0.0) -> Any:  # as the operation says
        return self._started().call(self._index, operation, *arguments, seconds=seconds)

    def _ask(self, kind: type[_Answer], operation: str, *arguments: object, seconds: float = 0.0) -> _Answer:
        """Call an operation whose result is of this kind."""
        found = self._call(operation, *arguments, seconds=seconds)
        assert isinstance(found, kind)  # noqa: S101 - the other end is the same program
        return found


class Gate:
    """A shut gate of a sink: requests enter and wait. Leaving its ``with`` block opens it.

    ``shut_at`` and, once it is open, ``opened_at`` are order stamps.
    """

    def __init__(self, sink: _Gated) -> None:
        self._sink = sink
        self.shut_at = sink._ask(Stamp, "shut")
        self.opened_at: Stamp | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()

    def await_entered(self, count: int = 1, *, timeout: float = AWAITED) -> Stamp:
        """Return when so many requests have entered since the gate was shut; SinkTimeoutError after ``timeout`` s."""
        return self._sink._ask(Stamp, "await_entered", count, timeout, seconds=timeout)

    def open(self) -> Stamp:
        """Let the requests go on; whatever they lead to has a later stamp than the one returned.

        A request whose sender has closed its connection meanwhile is dropped.
        """
        if self.opened_at is None:
            self.opened_at = self._sink._ask(Stamp, "open")
        return self.opened_at


class _Gated(Sink):
    """A sink with a gate."""

    def shut(self) -> Gate:
        """Shut the gate: requests that enter from here on wait until it is opened."""
        return Gate(self)


class _NetworkSink(_Gated):
    """A sink that listens on a port of 127.0.0.1.

    Args:
        port: the port; 0 for a free one.
        secrets: texts that no record may show, besides headers that are secret by name.
    """

    faults: ClassVar[frozenset[str]]
    """The kinds of fault that this sink knows."""
    _url: ClassVar[str] = "http://{address}"

    def __init__(self, *, port: int = 0, secrets: Iterable[str] = ()) -> None:
        super().__init__(secrets=secrets)
        self._options["port"] = port
        self.port: int = port

    @property
    def address(self) -> str:
        """``host:port``."""
        self._started()
        return f"127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        """The URL that an exporter sends to."""
        return self._url.format(address=self.address)

    def script(self, *faults: str, then: str = "ok") -> None:
        """Replace the script: the faults, one a request, and then ``then`` for every request that follows.

        ValueError for a fault that this sink does not know. ``"refuse"`` and ``"blackhole"`` can only be what follows,
        since a sink does not see the connections it never gets.
        """
        self._call("script", *parse_script(faults, then, self.faults, grpc=self.kind == "otlp_grpc"))

    def requests(self) -> list[Request]:
        """Every request, in the order of arrival, stored or not."""
        return self._ask(list, "requests")

    def outlines(self, most: int) -> list[tuple[Request, int]]:
        """The first requests, without their bodies and points, each with the number of its points."""
        return self._ask(list, "outlines", most)

    def connections(self) -> list[Connection]:
        """Every connection, in the order of arrival."""
        return self._ask(list, "connections")

    def count_requests(self) -> int:
        """The number of requests that have arrived."""
        return self._ask(int, "count_requests")

    def count_open(self) -> int:
        """The number of open connections."""
        return self._ask(int, "count_open")

    def await_requests(self, count: int = 1, *, timeout: float = AWAITED) -> None:
        """Return when so many requests have arrived; SinkTimeoutError after ``timeout`` seconds."""
        self._call("await_requests", count, timeout, seconds=timeout)

    def await_stored(self, count: int = 1, *, timeout: float = AWAITED) -> None:
        """Return when the data of so many requests is stored; SinkTimeoutError after ``timeout`` seconds."""
        self._call("await_stored", count, timeout, seconds=timeout)

    def await_closed(self, *, timeout: float = AWAITED) -> None:
        """Return when no connection is open; SinkTimeoutError after ``timeout`` seconds."""
        self._call("await_closed", timeout, seconds=timeout)

    def _has_started(self, host: SinkHost, index: int, port: int) -> None:
        super()._has_started(host, index, port)
        self.port = port


class _DrippingSink(_NetworkSink):
    """A sink that can answer a byte at a time."""

    def step(self, count: int = 1) -> None:
        """Let ``count`` more bytes of an answer that drips by steps (``drip:step``) go out."""
        self._call("step", count)

    def finish(self) -> None:
        """Let every answer that drips send the rest at once; the data is stored then. Without this it never ends."""
        self._call("finish")


class OtlpHttpSink(_DrippingSink):
    """An OTLP/HTTP backend: protobuf and JSON, gzip or not, at ``/v1/metrics``."""

    kind = "otlp_http"
    faults = _HTTP | {"partial"}
    _url = "http://{address}/v1/metrics"


class OtlpGrpcSink(_DrippingSink):
    """An OTLP/gRPC backend without TLS."""

    kind = "otlp_grpc"
    faults = _UNSEEN | {"status", "retry-after", "drip", "partial"}


class RemoteWriteSink(_DrippingSink):
    """A Prometheus remote write backend, 1.0 and 2.0, at ``/api/v1/write``; broken rules are answered 400."""

    kind = "remote_write"
    faults = _HTTP
    _url = "http://{address}/api/v1/write"


class HttpSink(_DrippingSink):
    """An HTTP server that answers any request with an empty 200 and keeps its body; it decodes no points.

    Args:
        success: another status to answer with.
        body: the body of that answer.
        port: the port; 0 for a free one.
        secrets: texts that no record may show, besides headers that are secret by name.
    """

    kind = "http"
    faults = _HTTP

    def __init__(self, *, success: int = 200, body: bytes = b"", port: int = 0, secrets: Iterable[str] = ()) -> None:
        super().__init__(port=port, secrets=secrets)
        self._options.update(success_status=success, success_body=body)


class TcpSink(_NetworkSink):
    """A TCP server that keeps the bytes it gets. A script has one fault a connection, due with its first bytes."""

    kind = "tcp"
    faults = _UNSEEN
    _url = "tcp://{address}"

    def content(self) -> bytes:
        """All bytes that came, over all connections, in their order."""
        return self._ask(bytes, "content")


class _StreamSink(Sink):
    """A sink that reads text."""

    def content(self) -> bytes:
        """All that was written up to this call."""
        return self._ask(bytes, "content")

    def lines(self) -> list[Line]:
        """The complete lines that were written up to this call."""
        return self._ask(list, "lines")


class FileSink(_StreamSink, _Gated):
    """A file that the subject writes; points are read from OTLP's JSON and from the SDK's own.

    While the gate is shut a full pipe has the file's name, so that whoever opens it by name blocks in a write. A
    descriptor that was opened before still writes to the file.

    Args:
        path: the file, which need not exist yet.
        secrets: unused, since a file's content is never masked.
        forgets: True to forget what was read before the file was removed or cut, unless another file beside it may have
            that, such as a compressed copy. A file that only has another name since keeps its content.
    """

    kind = "file"

    def __init__(self, path: str | os.PathLike[str], *, secrets: Iterable[str] = (), forgets: bool = False) -> None:
        super().__init__(secrets=secrets)
        self.path = Path(path).absolute()
        self._options |= {"path": str(self.path), "forgets": forgets}


class StdoutSink(_StreamSink, _Gated):
    """A pipe to be the standard output of the subject's process, of 4096 bytes; points as for :class:`FileSink`.

    Give ``writer`` to the process (``subprocess.Popen(..., stdout=sink.writer)``). While the gate is shut nothing is
    read, and a writer blocks once the pipe is full; *entered* means that the pipe has something in it.
    """

    kind = "stdout"

    def __init__(self, *, secrets: Iterable[str] = ()) -> None:
        super().__init__(secrets=secrets)
        self.writer: int = -1
        """The descriptor to write to; closed with the sink, or by :meth:`close_writer`."""

    def close_writer(self) -> None:
        """Close this process's end, for instance once the subject's process has it."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def await_text(self, text: str, *, timeout: float = AWAITED) -> None:
        """Return when this text has been written; SinkTimeoutError after ``timeout`` seconds."""
        self._call("await_text", text.encode(), timeout, seconds=timeout)

    def close(self) -> None:
        """End the sink's process and close the writer."""
        super().close()
        self._release()

    def _open(self) -> tuple[int, ...]:
        reader, self.writer = os.pipe()
        return (reader,)

    def _release(self) -> None:
        self.close_writer()


@contextmanager
def start_sinks(*sinks: *Sinks) -> Iterator[tuple[*Sinks]]:
    """Start several sinks in one process, which starts as fast as one does; they end together."""
    started = cast("tuple[Sink, ...]", sinks)  # no bound of a TypeVarTuple can say so
    with ExitStack() as stack:
        _start_alone(*started)
        for sink in started:
            stack.callback(sink.close)
        yield sinks


def _start_alone(*sinks: Sink) -> None:
    """Start sinks in a process of their own, which ends if one of them does not start."""
    host = SinkHost()
    try:
        host.start(*sinks)
    except BaseException:
        host.close()
        raise
