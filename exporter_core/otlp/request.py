"""Encoded metrics laid out as requests: nested frames around the points, cut where a limit asks for it.

Knows neither encoding. Points are encoded once; the same encoded points fill one request or many, and the frames of
resource, scope and metric are repeated around them.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate, chain, islice, repeat
from operator import add
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_BLOCK = 1024  # points that are joined at once: their pieces stay in the processor's cache


class Frame(Protocol):
    """The bytes around the content of one level: request, resource, scope or metric."""

    @property
    def closing(self) -> bytes:
        """The bytes after the content."""

    def opening(self, size: int) -> bytes:
        """The bytes before a content of that many bytes. The longer the content, the longer this may be."""


class Numbers(Protocol):
    """The encoded numbers of many points: the second piece of each."""

    def sizes(self, start: int, stop: int) -> Iterable[int]:
        """The bytes of each in a range."""

    def uncounted(self, start: int, stop: int) -> int:
        """The bytes in a range that no frame has to count."""

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Those in a range."""


@dataclass(slots=True)
class Run:
    """Successive points of one metric within its frame.

    Attributes:
        name: of the metric.
        frame: of the metric.
        pieces: the first piece of each point.
        size: the bytes of the points, but for numbers whose length no frame has to know.
        group: which numbers are the second pieces; None if there are none.
        at: where in these they begin.
        opening: what stands before the points, once they are measured.
    """

    name: str
    frame: Frame
    pieces: list[bytes]
    size: int
    group: int | None
    at: int
    opening: bytes = b""

    def part(self, start: int, stop: int, length: int) -> Run:
        """A part of the points, whose numbers have the given length."""
        pieces = self.pieces[start:stop]
        size = sum(map(len, pieces)) + length * len(pieces)
        return Run(self.name, self.frame, pieces, size, self.group, self.at + start)


@dataclass(slots=True)
class Level:
    """A frame around others."""

    frame: Frame
    parts: list[Level | Run] = field(default_factory=list)
    size: int = 0
    """The bytes of the content, once it is measured."""


_Path = tuple[Level, ...]


class Layout:
    """The constant bytes of a request, each in its place between the numbers.

    Args:
        request: the outermost level.
        separator: stands between siblings.

    Attributes:
        points: the data points in it.
    """

    def __init__(self, request: Level, separator: bytes) -> None:
        self._separator = separator
        self._pieces: list[bytes] = []  # one a point, with all that stands before it
        self._spans: list[tuple[int | None, int, int]] = []  # the numbers that follow: group, start and stop
        self._pending: list[bytes] = []
        self._size = _measure(request, len(separator))
        self._lay(request)
        self._closing = b"".join(self._pending)
        self.points = len(self._pieces)
        self._stops = {group: stop for group, _, stop in self._spans}
        self._starts = {group: start for group, start, _ in reversed(self._spans)}

    def size(self, groups: Sequence[Numbers]) -> int:
        """The bytes of the request with these numbers."""
        return self._size + sum(
            groups[group].uncounted(start, self._stops[group])
            for group, start in self._starts.items()
            if group is not None
        )

    def write(self, groups: Sequence[Numbers]) -> bytes:
        """The request with these numbers. No second copy is made of a long one."""
        numbers = chain.from_iterable(self._numbers(groups))
        blocks = (self._block(first, numbers) for first in range(0, self.points, _BLOCK))
        if self.points <= _BLOCK:
            return b"".join((*blocks, self._closing))
        out = io.BytesIO()
        out.seek(self.size(groups) - 1)
        out.write(b"\0")  # all of its room at once
        out.seek(0)
        out.writelines(blocks)
        out.write(self._closing)
        out.truncate()
        return out.getvalue()

    def _block(self, first: int, numbers: Iterator[bytes]) -> bytes:
        pieces = self._pieces[first : first + _BLOCK]
        parts = [b""] * (2 * len(pieces))
        parts[::2] = pieces
        parts[1::2] = islice(numbers, len(pieces))
        return b"".join(parts)

    def _numbers(self, groups: Sequence[Numbers]) -> Iterator[Iterable[bytes]]:
        """The second piece of each point, span by span."""
        at: dict[int, int] = {}
        left: dict[int, Iterator[bytes]] = {}
        for group, start, stop in self._spans:
            if group is None:
                yield repeat(b"", stop - start)
                continue
            if at.get(group) != start:
                left[group] = groups[group].pieces(start, self._stops[group])
            at[group] = stop
            yield islice(left[group], stop - start)

    def _lay(self, level: Level) -> None:
        self._pending.append(level.frame.opening(level.size))
        separator = b""
        for part in level.parts:
            if separator:
                self._pending.append(separator)
            separator = self._separator
            if isinstance(part, Level):
                self._lay(part)
            else:
                self._lay_run(part)
        self._pending.append(level.frame.closing)

    def _lay_run(self, run: Run) -> None:
        pending, pieces = self._pending, run.pieces
        pending.append(run.opening)
        if pieces:
            pending.append(pieces[0][len(self._separator) :])
            self._pieces.append(b"".join(pending))
            pending.clear()
            self._pieces += pieces[1:]
            stop = run.at + len(pieces)
            last = self._spans[-1] if self._spans else (None, -1, -1)
            if last[0] == run.group and last[2] == run.at:
                self._spans[-1] = run.group, last[1], stop
            else:
                self._spans.append((run.group, run.at, stop))
        pending.append(run.frame.closing)


def _measure(level: Level, separator: int) -> int:
    """Measure the content of a level and of all within; the bytes with its frame."""
    size = separator * max(0, len(level.parts) - 1)
    for part in level.parts:
        if isinstance(part, Level):
            size += _measure(part, separator)
        else:
            part.opening = part.frame.opening(part.size)
            size += len(part.opening) + part.size + len(part.frame.closing)
    level.size = size
    return len(level.frame.opening(size)) + size + len(level.frame.closing)


def _runs(level: Level, path: _Path) -> Iterator[tuple[_Path, Run]]:
    """The runs of points, each with the levels around it below the outermost."""
    for part in level.parts:
        if isinstance(part, Run):
            yield path, part
        else:
            yield from _runs(part, (*path, part))


class Cutter:
    """Cuts a request into requests within limits.

    Args:
        request: the outermost level of the whole.
        separator: stands between siblings.
        groups: the numbers of the points.
        max_points: the most data points of one request; None for no limit.
        max_bytes: the most bytes of one request; None for no limit.

    Attributes:
        requests: the requests, each with at least one point.
        dropped: the metric's name and the size of every point that even alone makes a request too long.
    """

    def __init__(
        self,
        request: Level,
        separator: bytes,
        groups: Sequence[Numbers],
        max_points: int | None,
        max_bytes: int | None,
    ) -> None:
        self._frame = request.frame
        self._separator = separator
        self._groups = groups
        self._max_points, self._max_bytes = max_points, max_bytes
        self.requests: list[Level] = []
        self.dropped: list[tuple[str, int]] = []
        self._begin()
        for path, run in _runs(request, ()):
            self._place(path, run)
        self._finish()

    def _begin(self) -> None:
        self._request = Level(self._frame)
        self._count = 0
        self._left = None if self._max_bytes is None else self._max_bytes - self._cost(self._frame)
        self._open: list[tuple[Level, Level]] = []  # levels of the whole, and what stands for them in this request

    def _finish(self) -> None:
        if self._count:
            self.requests.append(self._request)
        self._begin()

    def _cost(self, frame: Frame) -> int:
        """The most bytes that a frame takes in a request within the limit."""
        return len(frame.opening(self._max_bytes or 0)) + len(frame.closing) + len(self._separator)

    def _place(self, path: _Path, run: Run) -> None:
        sizes: Iterable[int] = map(len, run.pieces)
        stop = len(run.pieces)
        if run.group is not None:
            sizes = map(add, sizes, self._groups[run.group].sizes(run.at, run.at + stop))
        ends = list(accumulate(sizes, initial=0))
        at = 0
        while at < stop:
            fitting = self._fitting(path, run, ends, at)
            if fitting > at:
                self._add(path, run, ends, at, fitting)
                at = fitting
            elif self._count:
                self._finish()
            else:
                self.dropped.append((run.name, ends[at + 1] - ends[at]))
                at += 1

    def _fitting(self, path: _Path, run: Run, ends: list[int], at: int) -> int:
        """Up to which point the run fits into this request."""
        stop = len(run.pieces)
        if self._max_points is not None:
            stop = min(stop, at + self._max_points - self._count)
        if self._left is None or stop <= at:
            return stop
        missing = path[self._shared(path) :]
        room = self._left - self._cost(run.frame) - sum(self._cost(level.frame) for level in missing)
        return bisect_right(ends, room + ends[at], at + 1, stop + 1) - 1

    def _shared(self, path: _Path) -> int:
        """Count the levels of the path that are open in this request."""
        shared = 0
        for level, (opened, _) in zip(path, self._open, strict=False):
            if level is not opened:
                break
            shared += 1
        return shared

    def _add(self, path: _Path, run: Run, ends: list[int], at: int, stop: int) -> None:
        shared = self._shared(path)
        del self._open[shared:]
        cost = self._cost(run.frame) + ends[stop] - ends[at]
        for level in path[shared:]:
            copy = Level(level.frame)
            (self._open[-1][1] if self._open else self._request).parts.append(copy)
            self._open.append((level, copy))
            cost += self._cost(level.frame)
        length = (run.size - sum(map(len, run.pieces))) // len(run.pieces)
        self._open[-1][1].parts.append(run.part(at, stop, length))
        self._count += stop - at
        if self._left is not None:
            self._left -= cost
