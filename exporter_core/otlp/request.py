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
class Level:
    """The frame of a resource or a scope, and how many there are of the level below: scopes, or metrics."""

    frame: Frame
    count: int = 0


@dataclass(slots=True)
class Request:
    """Encoded metrics, level by level. Runs are the successive points of one metric within its frame.

    Attributes:
        resources: the resources, with the number of their scopes.
        scopes: the scopes of all, with the number of their runs.
        frames: the metric's frame of each run.
        counts: the points of each run.
        sizes: the bytes of each run's points, but for numbers whose length no frame has to know.
        openings: the bytes before each run's points.
        groups: which group of numbers has the second pieces of each run; None if none has.
        firsts: where they begin in it.
        pieces: the first piece of each point of all runs.
    """

    resources: list[Level] = field(default_factory=list)
    scopes: list[Level] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    openings: list[bytes] = field(default_factory=list)
    groups: list[int | None] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)


class Layout:
    """The constant bytes of a request, each in its place between the numbers.

    Args:
        frame: the frame of the whole request.
        request: what stands in it.
        separator: stands between siblings.

    Attributes:
        points: the data points in it.
    """

    def __init__(self, frame: Frame, request: Request, separator: bytes) -> None:
        self.points = len(request.pieces)
        # One a point, with all that stands before it, and one with all that follows the last number.
        self._pieces = request.pieces.copy()
        spans = _spans(request)
        self._size, closing = self._lay(frame, request, separator)
        self._pieces.append(closing)
        self._stops = {group: stop for group, _, stop in spans}
        self._starts = {group: start for group, start, _ in reversed(spans)}
        # Where the numbers of a group are begun to be read, and how many are taken in turn from which of these places.
        self._begun: list[tuple[int | None, int]] = []
        self._turns: list[tuple[int, int]] = []
        places: dict[int | None, tuple[int, int]] = {}
        for group, start, stop in spans:
            place, at = places.get(group, (0, -1))
            if at != start:
                place = len(self._begun)
                self._begun.append((group, start))
            places[group] = place, stop
            self._turns.append((place, stop - start))

    def size(self, groups: Sequence[Numbers]) -> int:
        """The bytes of the request with these numbers."""
        return self._size + sum(
            groups[group].uncounted(start, self._stops[group])
            for group, start in self._starts.items()
            if group is not None
        )

    def write(self, groups: Sequence[Numbers]) -> bytes:
        """The request with these numbers. No second copy is made of a long one."""
        numbers = chain(self._numbers(groups), (b"",))
        if self.points < _BLOCK:
            return self._block(0, numbers)
        out = io.BytesIO()
        out.seek(self.size(groups) - 1)
        out.write(b"\0")  # all of its room at once
        out.seek(0)
        out.writelines(self._block(first, numbers) for first in range(0, len(self._pieces), _BLOCK))
        out.truncate()
        return out.getvalue()

    def _block(self, first: int, numbers: Iterator[bytes]) -> bytes:
        pieces = self._pieces[first : first + _BLOCK]
        parts = [b""] * (2 * len(pieces))
        parts[::2] = pieces
        parts[1::2] = islice(numbers, len(pieces))
        return b"".join(parts)

    def _numbers(self, groups: Sequence[Numbers]) -> Iterator[bytes]:
        """The second piece of each point."""
        left = [
            repeat(b"") if group is None else groups[group].pieces(start, self._stops[group])
            for group, start in self._begun
        ]
        return chain.from_iterable([islice(left[place], count) for place, count in self._turns])

    def _lay(self, frame: Frame, request: Request, separator: bytes) -> tuple[int, bytes]:
        """Put all frames before the points that follow them; the bytes in all, and those behind the last point."""
        gap, pieces = len(separator), self._pieces
        openings, counts = request.openings, request.counts
        closings = [each.closing for each in request.frames]
        lengths = map(add, map(add, map(len, openings), map(len, closings)), request.sizes)
        run_ends = list(accumulate([length + gap for length in lengths], initial=0))
        scope_openings, scope_ends = _enclosed(request.scopes, run_ends, gap)
        resource_openings, resource_ends = _enclosed(request.resources, scope_ends, gap)
        size = max(0, resource_ends[-1] - gap)
        ahead = opening = frame.opening(size)
        # What stands before the points of each run, from the points of the run before it on.
        within = [closing + separator + each for closing, each in zip(closings, openings[1:], strict=False)]
        befores = openings[:1] + within
        scopes = zip(request.scopes, scope_openings, strict=True)
        run = 0
        between = b""
        for resource, resource_opening in zip(request.resources, resource_openings, strict=True):
            ahead += between + resource_opening
            between = b""
            for scope, scope_opening in islice(scopes, resource.count):
                ahead += between + scope_opening
                between = separator
                if scope.count:
                    befores[run] = ahead + openings[run]
                    run += scope.count
                    ahead = closings[run - 1]
                ahead += scope.frame.closing
            ahead += resource.frame.closing
            between = separator
        if 0 in counts:
            befores.append(ahead)
            befores, ahead = _before_points(befores, counts)
        for at, before in zip(accumulate(filter(None, counts), initial=0), befores, strict=False):
            pieces[at] = before + pieces[at][gap:]
        return len(opening) + size + len(frame.closing), ahead + frame.closing


def _before_points(befores: list[bytes], counts: list[int]) -> tuple[list[bytes], bytes]:
    """The bytes before each run that has points, and those behind the last: the bytes before runs without move on.

    Args:
        befores: the bytes before each run, and those behind the last.
        counts: the points of each run.
    """
    out = []
    ahead = b""
    for before, count in zip(befores, counts, strict=False):
        ahead += before
        if count:
            out.append(ahead)
            ahead = b""
    return out, ahead + befores[-1]


def _spans(request: Request) -> list[tuple[int | None, int, int]]:
    """The numbers that follow the points: their group, and where they begin and end in it."""
    stops = list(map(add, request.firsts, request.counts))
    if stops and request.groups.count(request.groups[0]) == len(stops) and request.firsts[1:] == stops[:-1]:
        return [(request.groups[0], request.firsts[0], stops[-1])]
    spans: list[tuple[int | None, int, int]] = []
    last, first, stop = None, 0, 0
    for group, start, count in zip(request.groups, request.firsts, request.counts, strict=True):
        if count and (group != last or start != stop):
            spans.append((last, first, stop))
            last, first, stop = group, start, start
        stop += count
    return [*spans, (last, first, stop)]


def _enclosed(levels: list[Level], ends: list[int], gap: int) -> tuple[list[bytes], list[int]]:
    """The openings of levels, and the bytes up to the end of each with its separator.

    Args:
        levels: the levels, each around some of those below.
        ends: the bytes up to the end of each of those below, separators included, and 0.
        gap: the bytes of a separator.
    """
    openings = []
    out = [0]
    at = 0
    for level in levels:
        start, at = at, at + level.count
        size = max(0, ends[at] - ends[start] - gap)
        openings.append(level.frame.opening(size))
        out.append(out[-1] + len(openings[-1]) + size + len(level.frame.closing) + gap)
    return openings, out


class Cutter:
    """Cuts a request into requests within limits.

    Args:
        frame: the frame of every request.
        request: the whole.
        names: the metric of each run.
        separator: stands between siblings.
        groups: the numbers of the points.
        max_points: the most data points of one request; None for no limit.
        max_bytes: the most bytes of one request; None for no limit.

    Attributes:
        requests: the requests, each with at least one point.
        dropped: the metric's name and the size of every point that even alone makes a request too long.
    """

    def __init__(  # noqa: PLR0917 - made in one place
        self,
        frame: Frame,
        request: Request,
        names: Sequence[str],
        separator: bytes,
        groups: Sequence[Numbers],
        max_points: int | None,
        max_bytes: int | None,
    ) -> None:
        self._frame = frame
        self._whole = request
        self._separator = separator
        self._groups = groups
        self._max_points, self._max_bytes = max_points, max_bytes
        self.requests: list[Request] = []
        self.dropped: list[tuple[str, int]] = []
        self._begin()
        run = at = 0
        scopes = iter(request.scopes)
        for resource in request.resources:
            for scope in islice(scopes, resource.count):
                for _ in range(scope.count):
                    self._place((resource, scope), names[run], run, at)
                    at += request.counts[run]
                    run += 1
        self._finish()

    def _begin(self) -> None:
        self._request = Request()
        self._left = None if self._max_bytes is None else self._max_bytes - self._cost(self._frame)
        self._open: tuple[Level | None, Level | None] = None, None  # the levels of the whole that were begun last

    def _finish(self) -> None:
        if self._request.pieces:
            self.requests.append(self._request)
        self._begin()

    def _cost(self, frame: Frame) -> int:
        """The most bytes that a frame takes in a request within the limit."""
        return len(frame.opening(self._max_bytes or 0)) + len(frame.closing) + len(self._separator)

    def _place(self, path: tuple[Level, Level], name: str, run: int, at: int) -> None:
        """Put the points of a run into requests."""
        count = self._whole.counts[run]
        sizes: Iterable[int] = map(len, self._whole.pieces[at : at + count])
        group, first = self._whole.groups[run], self._whole.firsts[run]
        if group is not None:
            sizes = map(add, sizes, self._groups[group].sizes(first, first + count))
        ends = list(accumulate(sizes, initial=0))
        start = 0
        while start < count:
            stop = self._fitting(path, run, ends, start)
            if stop > start:
                self._add(path, run, at, ends, start, stop)
                start = stop
            elif self._request.pieces:
                self._finish()
            else:
                self.dropped.append((name, ends[start + 1] - ends[start]))
                start += 1

    def _fitting(self, path: tuple[Level, Level], run: int, ends: list[int], start: int) -> int:
        """Up to which point the run fits into this request."""
        stop = self._whole.counts[run]
        if self._max_points is not None:
            stop = min(stop, start + self._max_points - len(self._request.pieces))
        if self._left is None or stop <= start:
            return stop
        room = (
            self._left - self._cost(self._whole.frames[run]) - sum(self._cost(each.frame) for each in self._new(path))
        )
        return bisect_right(ends, room + ends[start], start + 1, stop + 1) - 1

    def _new(self, path: tuple[Level, Level]) -> tuple[Level, ...]:
        """The levels of the path that are not begun in this request."""
        resource, scope = self._open
        if path[0] is not resource:
            return path
        return () if path[1] is scope else path[1:]

    def _add(  # noqa: PLR0917 - made in one place
        self, path: tuple[Level, Level], run: int, at: int, ends: list[int], start: int, stop: int
    ) -> None:
        whole, request = self._whole, self._request
        frame = whole.frames[run]
        cost = self._cost(frame) + ends[stop] - ends[start]
        for level in self._new(path):
            if level is path[0]:
                request.resources.append(Level(level.frame))
            else:
                request.scopes.append(Level(level.frame))
                request.resources[-1].count += 1
            cost += self._cost(level.frame)
        self._open = path
        request.scopes[-1].count += 1
        count = whole.counts[run]
        pieces = whole.pieces[at + start : at + stop]
        # All points of a run have numbers of one length, as far as frames have to count them.
        counted = whole.sizes[run] - sum(map(len, whole.pieces[at : at + count]))
        request.frames.append(frame)
        request.counts.append(len(pieces))
        request.sizes.append(sum(map(len, pieces)) + counted // count * len(pieces))
        request.openings.append(frame.opening(request.sizes[-1]))
        request.groups.append(whole.groups[run])
        request.firsts.append(whole.firsts[run] + start)
        request.pieces += pieces
        if self._left is not None:
            self._left -= cost
