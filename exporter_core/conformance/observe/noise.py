"""The noise of a machine: how much later than asked for it wakes a thread, or lets it run, while a call runs."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_STEP: Final = 0.02  # seconds between two looks at the clock
_NANOSECONDS: Final = 1_000_000_000


class NoiseMeter:
    """Measures, on a thread of its own, by how much short sleeps are overslept, and how long threads wait to run.

    Args:
        over: ends the measurement once it is true.
    """

    def __init__(self, over: Callable[[], bool]) -> None:
        self._over = over
        self._most = 0.0
        self._waits = _waits_to_run()
        self.waited = 0.0
        """The most seconds for which a thread of the process could have run and did not, where Linux tells."""
        self._asleep_since = monotonic()
        threading.Thread(target=self._run, name="conformance-noise", daemon=True).start()

    @property
    def seconds(self) -> float:
        """The longest lateness so far, that of a sleep that goes on included."""
        return max(self._most, monotonic() - self._asleep_since - _STEP)

    def _run(self) -> None:
        while not self._over():
            self._asleep_since = monotonic()
            sleep(_STEP)
            self._most = max(self._most, monotonic() - self._asleep_since - _STEP)
            waited = (now - self._waits.get(number, 0.0) for number, now in _waits_to_run().items())
            self.waited = max(self.waited, *waited, 0.0)
        self._asleep_since = float("inf")


def _waits_to_run() -> dict[str, float]:
    """The seconds for which each thread of the process could have run and did not, by its number; none but on Linux."""
    found = {}
    for task in Path("/proc/self/task").glob("*"):
        with suppress(OSError, ValueError, IndexError):  # it has ended, or the kernel does not count
            found[task.name] = int((task / "schedstat").read_text().split()[1]) / _NANOSECONDS
    return found
