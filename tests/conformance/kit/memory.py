"""A backend in memory that understands fault scripts, and is the harness of the reference exporters too.

Waiting for it is cooperative: a request is a generator of :class:`Wait`, which the client waits for in its own way.
It has no thread and no lock, so that neither a leak count nor a fork sees it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.observe.harness import FAULTS, Capabilities, Harness
from exporter_core.conformance.observe.journal import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from exporter_core.conformance.observe.tokens import Point
    from exporter_core.context import Context

SECRET = "s3cr3t-0f-the-harness"  # noqa: S105 - a canary, looked for in error texts

_LONG = 86_400.0
_PIECE = 0.005
_numbers = count(1)

backends: dict[str, MemoryHarness] = {}
"""By the name that an exporter's options have."""


@dataclass(frozen=True)
class Response:
    """An answer of the backend."""

    status: int
    body: str = ""
    retry_after: float | None = None
    rejected: int = 0
    warned: bool = False
    """True for a partial success, also one of all points."""
    complete: bool = True


@dataclass(frozen=True)
class Wait:
    """Something that a client has to wait for."""

    kind: str
    """``"connect"``, ``"response"``, ``"piece"``, ``"body"`` or ``"pause"``, the client's own before it tries again."""
    waiters: list[Context]
    """The backend's, which it ends when the gate opens, or for a pause at the end."""
    ready: Callable[[], bool]
    seconds: float = _LONG

    def block(self, context: Context) -> None:
        """Wait for it; raises the context's error when that is done first."""
        with self._waiter(context) as waiter:
            if not self.ready():
                waiter.wait(self.seconds)

    async def sleep(self, context: Context) -> None:
        """:meth:`block` for coroutines."""
        with self._waiter(context) as waiter:
            if not self.ready():
                await waiter.sleep(self.seconds)

    @contextmanager
    def _waiter(self, context: Context) -> Iterator[Context]:
        waiter = context.child()
        self.waiters.append(waiter)
        try:
            yield waiter
        finally:
            self.waiters.remove(waiter)
        if not self.ready():
            context.raise_if_done()


class MemoryHarness(Harness):
    """A backend in memory that can do every fault."""

    faults = frozenset(FAULTS)
    success = 200
    gated = True
    secret = SECRET

    # --- what an exporter calls --------------------------------------------------------------------------------------

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
        self.received += 1
        step, _, number = self._next_step().partition(":")
        self._exchanges.append(Exchange(self._now(), "request", points=len(points), fault=step))
        place = len(self._exchanges) - 1
        self.stamp("wire", f"request {self.received}: {step}{number and ':'}{number}")
        if self.is_shut:
            yield from self._hold("response", lambda: not self.is_shut or self.is_closed)
        if step in ("hang", "silence"):
            yield from self._hold("response", lambda: self.is_closed)
        while step == "drip" and not self.is_closed:
            yield Wait("piece", self._waiters, lambda: self.is_closed, _PIECE)
        if step == "stall":
            yield from self._hold("body", lambda: self.is_closed)
        if step in ("reset", "hang", "silence", "drip", "stall"):
            raise ConnectionResetError("connection reset by the backend")
        answers = {
            "status": lambda: Response(int(number), f"rejected: token {SECRET}"),
            "retry-after": lambda: Response(503, "busy", retry_after=float(number)),
            "retry-after-date": lambda: Response(503, "busy", retry_after=float(number)),
            "redirect": lambda: Response(302, "elsewhere"),
            "garbage": lambda: Response(200, "<html>It works!</html>"),
            "truncate": lambda: Response(200, "accep", complete=False),
        }
        if step in answers:
            return answers[step]()
        rejected = int(number) if step == "partial" else 0
        self.arrived += points[: len(points) - rejected]
        self.stamp("wire", f"stored {len(points) - rejected} points")
        self._exchanges[place] = self._exchanges[place]._replace(stored=self._now())
        return Response(200, "accepted", rejected=rejected, warned=step == "partial")

    def _now(self) -> float:
        return monotonic() + self.ahead

    def pause(self, seconds: float) -> Wait:
        """The time before another attempt."""
        return Wait("pause", self._pauses, lambda: self.is_closed, seconds)

    def _hold(self, kind: str, ready: Callable[[], bool]) -> Generator[Wait, None, None]:
        self.waiting += 1
        try:
            while not ready():
                yield Wait(kind, self._waiters, ready)
        finally:
            self.waiting -= 1

    def _next_step(self) -> str:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    # --- what the checker calls --------------------------------------------------------------------------------------

    def setup(self, directory: Path, stamp: Callable[[str, str], object]) -> None:
        self.name = f"memory-{next(_numbers)}"
        self.stamp = stamp
        self.arrived: list[Point] = []
        self._exchanges: list[Exchange] = []
        self.received = self.waiting = self.open_connections = 0
        self.script = ["ok"]
        self.ahead = 0.0  # seconds, moved on by a client that only pretends to wait
        self.is_shut = self.is_closed = False
        self._waiters: list[Context] = []
        self._pauses: list[Context] = []
        backends[self.name] = self

    def config(self) -> Mapping[str, Any]:
        return {"sink": self.name, "token": SECRET}

    def read_back(self) -> Iterable[Point]:
        return list(self.arrived)

    def forget_arrivals(self) -> None:
        self.arrived.clear()

    def fault(self, *steps: str) -> None:
        self.script = list(steps)

    def requests(self) -> int:
        return self.received

    def shut(self) -> None:
        self.is_shut = True

    def open(self) -> None:
        self.is_shut = False
        self._wake(self._waiters)

    def entered(self) -> bool | None:
        return self.waiting > 0

    def connections(self) -> int | None:
        return self.open_connections

    def wire_log(self) -> Iterable[Exchange]:
        return list(self._exchanges)

    def after_fork(self) -> None:
        self._waiters = []
        self.is_shut, self.waiting = False, 0

    def teardown(self) -> None:
        self.is_closed = True
        self.open()
        self._wake(self._pauses)
        backends.pop(self.name, None)

    def _wake(self, waiters: Sequence[Context]) -> None:
        for waiter in list(waiters):
            waiter.cancel("the gate was opened")


class BufferingHarness(MemoryHarness):
    """The same for an exporter that holds data."""

    capabilities = Capabilities(holds=True)
