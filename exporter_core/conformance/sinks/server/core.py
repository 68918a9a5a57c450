"""What the sinks of every protocol have in common inside their process: stamps, script, gate, records, waiting."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from exporter_core.conformance.sinks.faults import UNSEEN, Fault
from exporter_core.conformance.sinks.records import Point, Request, Stamp, digest
from exporter_core.masking import MASK, Masker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

GARBAGE = b"\x00\xff\x16\x03 this is no answer in any protocol \x80\x81\r\n"
"""What a sink answers that answers in no protocol."""

_SECRET_HEADERS = ("authorization", "cookie", "token", "key", "secret", "password", "auth", "credential", "signature")


class Entry:
    """One request while it is being served; :class:`Request` describes the attributes."""

    def __init__(
        self, core: Core, connection: int, method: str, path: str, *, headers: list[tuple[str, str]], body_size: int
    ) -> None:
        self.received = core.stamp()
        self.number = next(core.numbers)
        self.connection, self.method, self.path, self.headers = connection, method, path, headers
        self.body_size = body_size
        self.body = b""
        self.fault: Fault | None = None
        self.note = ""
        self.entered: Stamp | None = None
        self.stored: Stamp | None = None
        self.answered: Stamp | None = None
        self.status: int | str | None = None
        self.problems: list[str] = []
        self.decode: Callable[[], list[Point]] = list
        self._points: list[Point] | None = None
        self.rejected = 0

    def header(self, name: str) -> str:
        """The first header of this name (lower case), or the empty text."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def points(self) -> list[Point]:
        """The points of the request, decoded once."""
        if self._points is None:
            self._points = self.decode()
        return self._points

    def stamped_points(self) -> list[Point]:
        """The points with the request's number and, where they were stored, when."""
        kept = len(self.points()) - self.rejected
        values = ((point, self.stored if index < kept else None) for index, point in enumerate(self.points()))
        return [replace(point, request=self.number, stored=stored) for point, stored in values]

    def record(self, masker: Masker) -> Request:
        """The entry as it is handed out."""
        return Request(
            number=self.number,
            connection=self.connection,
            method=self.method,
            path=masker(self.path),
            headers=tuple((name, _masked(name, value, masker)) for name, value in self.headers),
            body_size=self.body_size,
            fault=self.fault.text if self.fault else self.note,
            received=self.received,
            entered=self.entered,
            stored=self.stored,
            answered=self.answered,
            status=self.status,
            problems=tuple(self.problems),
            body=bytes(self.body),
            points=tuple(self.stamped_points()),
            digests=tuple((name.lower(), digest(value)) for name, value in self.headers),
        )


def _masked(name: str, value: str, masker: Masker) -> str:
    return MASK if any(part in name.lower() for part in _SECRET_HEADERS) else masker(value)


class Core:
    """The script, the gate and the records of one sink; everything runs on the process's one event loop."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.masker = Masker(secrets)
        self.numbers = itertools.count(1)
        self.entries: list[Entry] = []
        self.shut = False
        self.entered = 0
        self.scripts = 0
        self.failures: list[str] = []
        self.credit = 0
        self.drips_finished = 0
        self.on_unseen: Callable[[str], None] = lambda _kind: None
        self._sequence = itertools.count(1)
        self._script: deque[Fault] = deque()
        self._then = Fault("ok", "ok")
        self._waiting: set[asyncio.Future[None]] = set()

    def stamp(self) -> Stamp:
        """The next event of this sink."""
        return Stamp(time.monotonic_ns(), next(self._sequence))

    def changed(self) -> None:
        """Have everyone who waits look again."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def until(self, predicate: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until the predicate holds, at most for ``seconds``; whether it does."""
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        while not predicate():
            remaining = None if end is None else end - loop.time()
            if remaining is not None and remaining <= 0:
                return False
            future: asyncio.Future[None] = loop.create_future()
            self._waiting.add(future)
            try:
                await asyncio.wait([future], timeout=remaining)
            finally:
                self._waiting.discard(future)
        return True

    def set_script(self, faults: list[Fault], then: Fault) -> None:
        """Replace the script: ``faults`` one a request, ``then`` for all that follow."""
        self.scripts += 1
        self._script = deque(faults)
        self._then = then
        self._apply_unseen()
        self.changed()

    def take_fault(self) -> Fault:
        """What the script says about the next request."""
        fault = self._script.popleft() if self._script else self._then
        self._apply_unseen()
        return fault

    def _apply_unseen(self) -> None:
        self.on_unseen(self._then.kind if not self._script and self._then.kind in UNSEEN else "")

    def shut_gate(self) -> Stamp:
        """Hold every request that enters from here on."""
        self.shut = True
        self.entered = 0
        return self.stamp()

    def open_gate(self) -> Stamp:
        """Let those go on that the gate holds; they come after the stamp."""
        opened = self.stamp()
        self.shut = False
        self.changed()
        return opened

    def enter(self, entry: Entry) -> None:
        """Record that the request was taken up."""
        entry.entered = self.stamp()
        self.entered += 1
        self.changed()

    async def pass_gate(self, gone: Callable[[], bool]) -> bool:
        """Wait while the gate is shut; whether the peer is still there."""
        await self.until(lambda: not self.shut or gone())
        return not gone()

    async def drip(self, fault: Fault, begun: int, gone: Callable[[], bool]) -> bool:
        """Wait before the next byte of a drip; whether there is to be one (else it is finished, or the peer gone)."""

        def over() -> bool:
            return self.drips_finished != begun or gone()

        if fault.seconds == float("inf"):
            await self.until(lambda: self.credit > 0 or over())
            self.credit = max(0, self.credit - 1)
        else:
            await self.until(over, fault.seconds)
        return not over()

    def clear(self) -> None:
        """Forget what was recorded."""
        self.entries.clear()
