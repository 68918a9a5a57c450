"""The noise of a machine: how much later than asked for it wakes a thread, measured while a call runs."""

from __future__ import annotations

import threading
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_STEP: Final = 0.02  # seconds between two looks at the clock


class NoiseMeter:
    """Measures, on a thread of its own, by how much short sleeps are overslept.

    Args:
        over: ends the measurement once it is true.
    """

    def __init__(self, over: Callable[[], bool]) -> None:
        self._over = over
        self._most = 0.0
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
        self._asleep_since = float("inf")
