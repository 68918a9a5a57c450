"""A backend in memory that understands fault scripts: what the reference exporters deliver to.

Waiting for it is cooperative: a request is a generator of :class:`Wait`, which the client waits for in its own way.
It has no thread and no lock, so that neither a leak count nor a fork sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.observe.harness import FAULTS, Harness

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from pathlib import Path

    from exporter_core.conformance.observe.tokens import Point
    from exporter_core.context import Context

SECRET = "s3cr3t-0f-the-harness"  # noqa: S105 - a canary, looked for in error texts

_LONG = 86_400.0
_PIECE = 0.005
_sinks: dict[str, MemorySink] = {}
_numbers = count(1)


@dataclass(frozen=True)
class Response:
    """An answer of the backend."""

    status: int
    body: str = ""
    retry_after: float | None = None
    rejected: int = 0
    complete: bool = True


class Wait:
    """Something that a client has to wait for."""

    def __init__(self, sink: MemorySink, kind: str, ready: Callable[[], bool], seconds: float = _LONG) -> None:
        self.kind = kind
        """``"connect"``, ``"response"`` or ``"piece"``."""
        self._sink = sink
        self._ready = ready
        self._seconds = seconds

    def block(self, context: Context) -> None:
        """Wait for it; raises the context's error when that is done first."""
        waiter = self._sink.waiter(context)
        try:
            if not self._ready():
                waiter.wait(self._seconds)
        finally:
            self._sink.leave(waiter)
        if not self._ready():
            context.raise_if_done()

    async def sleep(self, context: Context) -> None:
        """:meth:`block` for coroutines."""
        waiter = self._sink.waiter(context)
        try:
            if not self._ready():
                await waiter.sleep(self._seconds)
        finally:
            self._sink.leave(waiter)
        if not self._ready():
            context.raise_if_done()


class MemorySink:
    """The backend.

    Args:
        stamp: told of what happens.
    """

    def __init__(self, stamp: Callable[[str, str], object] = lambda _kind, _text: None) -> None:
        self.name = f"memory-{next(_numbers)}"
        self.stamp = stamp
        self.arrived: list[Point] = []
        self.requests = 0
        self.open_connections = 0
        self.script: list[str] = ["ok"]
        self.is_shut = False
        self.is_closed = False
        self.waiting = 0
        self._waiters: list[Context] = []
        _sinks[self.name] = self

    def connect(self) -> Generator[Wait, None, None]:
        """Open a connection. Raises ConnectionRefusedError."""
        step = self.script[0]
        if step == "refuse":
            self._next_step()
            raise ConnectionRefusedError("connection refused")
        if step == "blackhole":
            yield from self._hold("connect", lambda: self.is_closed)
            raise ConnectionRefusedError("the backend is gone")
        self.open_connections += 1

    def disconnect(self) -> None:
        """Close a connection."""
        self.open_connections -= 1

    def request(self, points: Sequence[Point]) -> Generator[Wait, None, Response]:
        """Send the points and get the answer. Raises ConnectionResetError."""
        self.requests += 1
        step, _, number = self._next_step().partition(":")
        self.stamp("wire", f"request {self.requests}: {step}{number and ':'}{number}")
        if self.is_shut:
            yield from self._hold("response", lambda: not self.is_shut or self.is_closed)
        if step == "hang":
            yield from self._hold("response", lambda: self.is_closed)
        while step == "drip" and not self.is_closed:
            yield Wait(self, "piece", lambda: self.is_closed, _PIECE)
        if step in ("reset", "hang", "drip"):
            raise ConnectionResetError("connection reset by the backend")
        if step == "status":
            return Response(int(number), f"rejected: token {SECRET}")
        if step == "retry-after":
            return Response(503, "busy", retry_after=float(number))
        if step == "redirect":
            return Response(302, "elsewhere")
        if step == "garbage":
            return Response(200, "<html>It works!</html>")
        if step == "truncate":
            return Response(200, "accep", complete=False)
        rejected = int(number) if step == "partial" else 0
        self.arrived += points[: len(points) - rejected]
        self.stamp("wire", f"stored {len(points) - rejected} points")
        return Response(200, "accepted", rejected=rejected)

    def waiter(self, context: Context) -> Context:
        """A child of the context that ends when the gate opens."""
        waiter = context.child()
        self._waiters.append(waiter)
        return waiter

    def leave(self, waiter: Context) -> None:
        """Forget a waiter."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def wake(self) -> None:
        """Let everybody who waits look again."""
        for waiter in list(self._waiters):
            waiter.cancel("the gate was opened")

    def renew(self) -> None:
        """Start anew in a forked child, open."""
        self._waiters = []
        self.is_shut = False
        self.waiting = 0

    def _hold(self, kind: str, ready: Callable[[], bool]) -> Generator[Wait, None, None]:
        self.waiting += 1
        try:
            while not ready():
                yield Wait(self, kind, ready)
        finally:
            self.waiting -= 1

    def _next_step(self) -> str:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


def sink_of(name: str) -> MemorySink:
    """The sink of this name; raises KeyError."""
    return _sinks[name]


class MemoryHarness(Harness):
    """The harness of the reference exporters: a sink in memory that can do every fault."""

    faults = frozenset(FAULTS)
    gated = True
    secret = SECRET

    def setup(self, directory: Path, stamp: Callable[[str, str], object]) -> None:
        """Make the sink."""
        self.sink = MemorySink(stamp)

    def config(self) -> Mapping[str, Any]:
        """The sink's name and a secret."""
        return {"sink": self.sink.name, "token": SECRET}

    def read_back(self) -> Iterable[Point]:
        """What has been stored."""
        return list(self.sink.arrived)

    def fault(self, *steps: str) -> None:
        """Set the script."""
        self.sink.script = list(steps)

    def requests(self) -> int:
        """How many requests have arrived."""
        return self.sink.requests

    def shut(self) -> None:
        """Shut the gate."""
        self.sink.is_shut = True

    def open(self) -> None:
        """Open the gate."""
        self.sink.is_shut = False
        self.sink.wake()

    def entered(self) -> bool | None:
        """Whether a request is held."""
        return self.sink.waiting > 0

    def connections(self) -> int | None:
        """How many connections are open."""
        return self.sink.open_connections

    def after_fork(self) -> None:
        """Open the gate of the child's copy."""
        self.sink.renew()

    def teardown(self) -> None:
        """End whatever is still held."""
        self.sink.is_closed = True
        self.sink.is_shut = False
        self.sink.wake()
        _sinks.pop(self.sink.name, None)
