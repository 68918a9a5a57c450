"""Shared by the sinks of every protocol inside their process: stamps, gate, script, records and waiting.

A sink's parent calls public methods of these classes by name: those of the sinks in ``sink.py``, which document them.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.sinks.errors import SinkTimeoutError
from exporter_core.conformance.sinks.faults import UNSEEN, Fault
from exporter_core.conformance.sinks.records import Connection, Point, Request, Stamp, digest
from exporter_core.conformance.sinks.server.listener import Listener, Wire
from exporter_core.masking import MASK, Masker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


GARBAGE = b"\x00\xff\x16\x03 this is no answer in any protocol \x80\x81\r\n"
"""An answer that no protocol allows."""
SIGN_IN = b"<!doctype html><title>Sign in</title><p>Sign in to go on."
"""The page of a portal, which answers any request as if it had succeeded."""

_SECRET_HEADERS = ("authorization", "cookie", "token", "key", "secret", "password", "auth", "credential", "signature")


class SinkServer:
    """One sink inside its process.

    Args:
        secrets: texts that no record may show.
    """

    port = 0

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.masker = Masker(secrets)
        self.is_shut = False
        self.entered = 0
        self._sequence = itertools.count(1)
        self._change = asyncio.Event()

    async def start(self) -> None:
        """Start what the constructor cannot."""

    async def stop(self) -> None:
        """End for good."""
        self.open()

    def stamp(self) -> Stamp:
        """The next event of this sink."""
        return Stamp(time.monotonic_ns(), next(self._sequence))

    def changed(self) -> None:
        """Wake every waiter to look again."""
        change, self._change = self._change, asyncio.Event()
        change.set()

    async def until(self, predicate: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until the predicate holds, at most for ``seconds``; True if it holds."""
        try:
            async with asyncio.timeout(seconds):
                while not predicate():
                    await self._change.wait()
        except TimeoutError:
            return predicate()
        return True

    async def in_time(self, predicate: Callable[[], bool], seconds: float, state: Callable[[], str]) -> None:
        """Wait until the predicate holds; SinkTimeoutError with the state after ``seconds``."""
        if not await self.until(predicate, seconds):
            raise SinkTimeoutError(f"after {seconds:g} s {state()}")

    def shut(self) -> Stamp:
        self.is_shut = True
        self.entered = 0
        return self.stamp()

    def open(self) -> Stamp:
        opened = self.stamp()
        self.is_shut = False
        self.changed()
        return opened

    async def await_entered(self, count: int, timeout: float) -> Stamp:  # noqa: ASYNC109 - the parent's bound
        await self.in_time(lambda: self.entered >= count, timeout, lambda: f"{self.entered} of {count} entered")
        return self.stamp()


class Entry:
    """One request while it is served: its record so far, and a function that reads its points."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.decode: Callable[[], list[Point]] = list
        self.rejected = 0

    def update(self, **values: Any) -> None:  # Any: the fields of a Request
        """Change fields of the record."""
        self.request = replace(self.request, **values)

    def problem(self, *texts: str) -> None:
        """Note violations of the protocol."""
        self.update(problems=(*self.request.problems, *texts))

    def header(self, name: str) -> str:
        """The first header of this name, or the empty text."""
        return self.request.header(name) or ""

    @cached_property
    def points(self) -> list[Point]:
        return self.decode()

    def stamped_points(self) -> list[Point]:
        """The points with the request's number and, where they were stored, the time."""
        kept, request = len(self.points) - self.rejected, self.request
        values = ((point, request.stored if index < kept else None) for index, point in enumerate(self.points))
        return [replace(point, request=request.number, stored=stored) for point, stored in values]

    def stored_points(self) -> list[Point]:
        """The points that the backend has, as they were decoded."""
        return self.points[: len(self.points) - self.rejected] if self.request.stored else []

    def record(self, masker: Masker) -> Request:
        """The record for the parent, secrets masked."""
        return replace(self.outline(masker), body=self.request.body, points=tuple(self.stamped_points()))

    def outline(self, masker: Masker) -> Request:
        """The record without body and points."""
        headers = self.request.headers
        return replace(
            self.request,
            path=masker(self.request.path),
            headers=tuple((name, _masked(name, value, masker)) for name, value in headers),
            digests=tuple((name.lower(), digest(value)) for name, value in headers),
            body=b"",
        )


def identity_in(attributes: Mapping[str, object], names: Sequence[str]) -> str:
    """The first of the attributes with these names that is there, as text; empty if there is none."""
    return str(next((attributes[name] for name in names if name in attributes), ""))


def _masked(name: str, value: str, masker: Masker) -> str:
    return MASK if any(part in name.lower() for part in _SECRET_HEADERS) else masker(value)


class NetworkServer(SinkServer):
    """A sink that listens on a port: its script, its requests and its connections.

    Args:
        secrets: texts that no record may show.
        port: the port; 0 for a free one.
    """

    def __init__(self, secrets: Iterable[str] = (), port: int = 0) -> None:
        super().__init__(secrets)
        self.entries: list[Entry] = []
        self.failures: list[str] = []
        """Faults of the sink itself, which the parent is told when it asks for records."""
        self.scripts = self.drips_finished = self._credit = 0
        self._numbers = itertools.count(1)
        self._script: deque[Fault] = deque()
        self._then = Fault("ok", "ok")
        self._port_is_chosen = bool(port)
        self.listener = Listener(self, port)
        self.port = self.listener.port

    async def serve(self, wire: Wire) -> None:
        """Serve one connection to its end."""
        raise NotImplementedError

    async def stop(self) -> None:
        """End for good: existing connections are reset, new ones refused."""
        await super().stop()
        self.listener.stop(keep_port=not self._port_is_chosen)

    # --- the script ----------------------------------------------------------------------------------------------

    def script(self, faults: list[Fault], then: Fault) -> None:
        self.scripts += 1
        self._script, self._then = deque(faults), then
        self._apply_unseen()
        self.changed()

    def take_fault(self) -> Fault:
        """The script's fault for the next request."""
        fault = self._script.popleft() if self._script else self._then
        self._apply_unseen()
        return fault

    def _apply_unseen(self) -> None:
        self.listener.set_mode(self._then.kind if not self._script and self._then.kind in UNSEEN else "")

    def step(self, count: int) -> None:
        self._credit += count
        self.changed()

    def finish(self) -> None:
        self.drips_finished += 1
        self._credit = 0
        self.changed()

    async def drip(self, fault: Fault, begun: int, wire: Wire) -> bool:
        """Wait before the next byte of a drip; False when the drip is finished or the peer has gone.

        Args:
            fault: the fault, with the seconds between two bytes.
            begun: ``drips_finished`` when the drip began.
            wire: the connection.
        """

        def over() -> bool:
            return self.drips_finished != begun or wire.gone()

        if fault.seconds == float("inf"):
            await self.until(lambda: self._credit > 0 or over())
            self._credit = max(0, self._credit - 1)
        else:
            await self.until(over, fault.seconds)
        return not over()

    # --- requests and connections ------------------------------------------------------------------------------------

    def add(self, wire: Wire, method: str, path: str, headers: Iterable[tuple[str, str]], **values: Any) -> Entry:
        """Record a request that has arrived; ``values`` are further fields of the record."""
        entry = Entry(
            Request(
                number=next(self._numbers),
                connection=wire.connection.number,
                method=method,
                path=path,
                headers=tuple(headers),
                received=self.stamp(),
                fault="",
                **values,
            )
        )
        self.entries.append(entry)
        return entry

    def enter(self, entry: Entry) -> None:
        """Record that the request was taken up."""
        entry.update(entered=self.stamp())
        self.entered += 1
        self.changed()

    async def pass_gate(self, wire: Wire) -> bool:
        """Wait while the gate is shut; False if the peer has gone."""
        await self.until(lambda: not self.is_shut or wire.gone())
        return not wire.gone()

    def requests(self) -> list[Request]:
        self._check()
        return [entry.record(self.masker) for entry in self.entries]

    def outlines(self, most: int) -> list[tuple[Request, int]]:
        self._check()
        return [(entry.outline(self.masker), len(entry.points)) for entry in self.entries[:most]]

    def identities(self, names: Sequence[str]) -> list[str]:
        self._check()
        return [identity_in(point.attributes, names) for entry in self.entries for point in entry.stored_points()]

    def points(self) -> list[Point]:
        self._check()
        stored = [point for entry in self.entries for point in entry.stamped_points() if point.stored]
        return sorted(stored, key=lambda point: point.stored or ())

    def content(self) -> bytes:
        return b"".join(entry.request.body for entry in self.entries if entry.request.stored)

    def connections(self) -> list[Connection]:
        return [wire.connection for wire in self.listener.wires]

    def count_requests(self) -> int:
        return len(self.entries)

    def count_open(self) -> int:
        return sum(wire.connection.closed is None for wire in self.listener.wires)

    def clear(self) -> None:
        self.entries.clear()
        self.listener.wires = [wire for wire in self.listener.wires if wire.connection.closed is None]

    def _check(self) -> None:
        if self.failures:
            raise RuntimeError(f"the sink itself has failed: {self.failures[0]}")

    async def await_requests(self, count: int, timeout: float) -> None:  # noqa: ASYNC109 - the parent's bound
        await self.in_time(
            lambda: len(self.entries) >= count, timeout, lambda: f"{len(self.entries)} of {count} requests arrived"
        )

    async def await_stored(self, count: int, timeout: float) -> None:  # noqa: ASYNC109 - as above

        def stored() -> int:
            return sum(entry.request.stored is not None for entry in self.entries)

        await self.in_time(lambda: stored() >= count, timeout, lambda: f"{stored()} of {count} requests were stored")

    async def await_closed(self, timeout: float) -> None:  # noqa: ASYNC109 - as above
        await self.in_time(lambda: not self.count_open(), timeout, lambda: f"{self.count_open()} connections are open")
