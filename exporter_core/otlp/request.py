"""Encoded metrics laid out as requests: nested frames around runs of points, cut where a limit asks for it.

Knows neither encoding. Points are encoded once; the same encoded points fill one request or many, and the frames of
resource, scope and metric are repeated around each run.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Frame(Protocol):
    """What stands around the content of one level: request, resource, scope or metric."""

    @property
    def closing(self) -> bytes:
        """What follows the content."""

    def opening(self, size: int) -> bytes:
        """What precedes a content of that many bytes. The longer the content, the longer this may be."""


class Points(Protocol):
    """The encoded points of one metric."""

    def __len__(self) -> int:
        """How many."""

    def sizes(self) -> Sequence[int]:
        """The bytes of each, a separator included."""

    def size(self, start: int, stop: int) -> int:
        """The bytes of a run of them."""

    def write(self, start: int, stop: int) -> Iterator[bytes]:
        """A run of them, in pieces."""


class ListedPoints:
    """Points that are encoded one by one."""

    def __init__(self, points: list[bytes], separator: bytes) -> None:
        self._points, self._separator = points, separator

    def __len__(self) -> int:
        return len(self._points)

    def sizes(self) -> Sequence[int]:
        """The bytes of each, a separator included."""
        return [len(point) + len(self._separator) for point in self._points]

    def size(self, start: int, stop: int) -> int:
        """The bytes of a run of them."""
        return sum(map(len, self._points[start:stop])) + len(self._separator) * max(0, stop - start - 1)

    def write(self, start: int, stop: int) -> Iterator[bytes]:
        """A run of them, in pieces."""
        yield self._separator.join(self._points[start:stop])


@dataclass(frozen=True, slots=True)
class Run:
    """Successive points of one metric within its frame."""

    name: str
    frame: Frame
    points: Points
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Level:
    """A frame around others."""

    frame: Frame
    parts: list[Level | Run] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, self.parts))


_Path = tuple[Level, ...]


class Layout:
    """A request whose every byte has its place.

    Args:
        request: the outermost level.
        separator: stands between siblings.

    Attributes:
        size: its bytes.
        points: the data points in it.
    """

    def __init__(self, request: Level, separator: bytes) -> None:
        self._pieces: list[bytes | Run] = []
        self.size = _lay(request, separator, self._pieces)
        self.points = len(request)

    def serialize(self) -> bytes:
        """The bytes, of which no second copy is made."""
        if not self.size:
            return b""
        out = io.BytesIO()
        out.seek(self.size - 1)
        out.write(b"\0")  # all of its room at once
        out.seek(0)
        for piece in self._pieces:
            if isinstance(piece, Run):
                for part in piece.points.write(piece.start, piece.stop):
                    out.write(part)
            else:
                out.write(piece)
        return out.getvalue()


def _lay(level: Level, separator: bytes, pieces: list[bytes | Run]) -> int:
    """Append what a level is made of, and tell its size. Openings depend on the size of what follows."""
    place = len(pieces)
    pieces.append(b"")
    size = 0
    for number, part in enumerate(level.parts):
        if number and separator:
            pieces.append(separator)
            size += len(separator)
        if isinstance(part, Level):
            size += _lay(part, separator, pieces)
            continue
        run = part.points.size(part.start, part.stop)
        opening = part.frame.opening(run)
        pieces += opening, part, part.frame.closing
        size += len(opening) + run + len(part.frame.closing)
    opening = pieces[place] = level.frame.opening(size)
    pieces.append(level.frame.closing)
    return len(opening) + size + len(level.frame.closing)


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
        max_points: the most data points of one request; None for no limit.
        max_bytes: the most bytes of one request; None for no limit.

    Attributes:
        requests: the requests, each with at least one point.
        dropped: the metric's name and the size of every point that even alone makes a request too long.
    """

    def __init__(self, request: Level, separator: bytes, max_points: int | None, max_bytes: int | None) -> None:
        self._frame = request.frame
        self._separator = separator
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
        self._ends: list[int] = []
        at = run.start
        while at < run.stop:
            stop = self._fitting(path, run, at)
            if stop > at:
                self._add(path, run, at, stop)
                at = stop
            elif self._count:
                self._finish()
            else:
                self.dropped.append((run.name, run.points.size(at, at + 1)))
                at += 1

    def _fitting(self, path: _Path, run: Run, at: int) -> int:
        """Up to which point the run fits into this request."""
        stop = run.stop
        if self._max_points is not None:
            stop = min(stop, at + self._max_points - self._count)
        if self._left is None or stop <= at:
            return stop
        missing = path[self._shared(path) :]
        room = self._left - self._cost(run.frame) - sum(self._cost(level.frame) for level in missing)
        if at == run.start and self._length(run, at, stop) <= room:
            return stop
        # Only where not all fit is it worth to know where each of them ends.
        self._ends = self._ends or list(accumulate(run.points.sizes()))
        return bisect_right(self._ends, room + (self._ends[at - 1] if at else 0), at, stop)

    def _length(self, run: Run, at: int, stop: int) -> int:
        return run.points.size(at, stop) + len(self._separator)

    def _shared(self, path: _Path) -> int:
        """How many levels of the path are open in this request."""
        shared = 0
        for level, (opened, _) in zip(path, self._open, strict=False):
            if level is not opened:
                break
            shared += 1
        return shared

    def _add(self, path: _Path, run: Run, at: int, stop: int) -> None:
        shared = self._shared(path)
        del self._open[shared:]
        cost = self._cost(run.frame) + self._length(run, at, stop)
        for level in path[shared:]:
            copy = Level(level.frame)
            (self._open[-1][1] if self._open else self._request).parts.append(copy)
            self._open.append((level, copy))
            cost += self._cost(level.frame)
        self._open[-1][1].parts.append(Run(run.name, run.frame, run.points, at, stop))
        self._count += stop - at
        if self._left is not None:
            self._left -= cost
