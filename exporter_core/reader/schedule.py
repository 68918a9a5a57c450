"""The times of a reader's ticks: start + n * interval, however long the ticks take."""

from __future__ import annotations

import math


class Schedule:
    """Ticks without drift; those that pass during another one are missed, not made up for.

    Args:
        start: its beginning, in seconds on the reader's clock; the first tick is one interval later.
        interval: seconds between two ticks; infinite for none.
    """

    def __init__(self, start: float, interval: float) -> None:
        self._start = start
        self._interval = interval
        self._count = 1
        self.missed = 0
        """Ticks that passed during an earlier one."""

    @property
    def due(self) -> float:
        """The time of the next tick."""
        return self._start + self._count * self._interval

    def advance(self, now: float) -> None:
        """Go on from a tick to the first one after ``now``."""
        self._count += 1
        if self.due > now or math.isinf(self._interval):
            return
        before = self._count
        self._count = max(self._count, math.floor((now - self._start) / self._interval))
        while self.due <= now:  # once or twice: the division rounds
            self._count += 1
        self.missed += self._count - before
