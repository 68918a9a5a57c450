"""Clocks that a clause can step, for the exporter and for what it is built on."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from exporter_core.clock import MONOTONIC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter_core.clock import TimerHandle
    from exporter_core.sync import Signal

WALL = ("time", "time_ns")
EVERY = (*WALL, "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
"""The functions of the module ``time`` that read a clock."""
_IN_C = frozenset({"grpc"})
"""Packages that hand a clock's time to code in C, which reads the system's own clock, that nobody has stepped."""
_NANOSECONDS = 1_000_000_000


class HurriedClock:
    """A monotonic clock that runs many times faster, for whoever waits with a context on it."""

    speed: Final = 20

    def __init__(self) -> None:
        self._began = MONOTONIC.monotonic()

    def monotonic(self) -> float:
        """The seconds since it was made."""
        return (MONOTONIC.monotonic() - self._began) * self.speed

    def wait(self, signal: Signal, timeout: float | None) -> None:
        """Wait for the signal, or until so many seconds have passed here."""
        MONOTONIC.wait(signal, None if timeout is None else timeout / self.speed)

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        """Call when so many seconds have passed here."""
        return MONOTONIC.call_at(self._began + when / self.speed, callback)


@contextmanager
def local_time(zone: str) -> Iterator[None]:
    """Let local time be that of a zone, as POSIX writes it, so that no database is needed."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = zone
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


@contextmanager
def stepped_clock(names: tuple[str, ...] = WALL) -> Iterator[Callable[[float], None]]:
    """Let clocks be stepped, also where a module has imported them by name; the kit's own stay as they are.

    Monotonic clocks may only be stepped forward, while no call is under way: that is how a time without any looks.
    """
    offset = 0.0

    def step(seconds: float) -> None:
        nonlocal offset
        offset += seconds

    def steps() -> float:
        """The steps so far, for whoever asks the clock."""
        module = str(sys._getframe(2).f_globals.get("__name__"))
        return 0.0 if module.partition(".")[0] in _IN_C else offset

    def stepped(name: str) -> Callable[[], float]:
        read = true[name]
        if name.endswith("_ns"):
            return lambda: read() + int(steps() * _NANOSECONDS)
        return lambda: read() + steps()

    true: dict[str, Callable[[], float]] = {name: getattr(time, name) for name in names}
    places = [
        (known, name, stepped(name))
        for module in list(sys.modules.values())
        if isinstance(known := getattr(module, "__dict__", None), dict) and not _is_the_kits(known)
        for name in names
        if known.get(name) is true[name]
    ]
    if "monotonic" in names:
        places.append((vars(MONOTONIC), "monotonic", stepped("monotonic")))  # that of every context
    for known, name, replaced in places:
        known[name] = replaced
    try:
        yield step
    finally:
        for known, name, _ in places:
            known[name] = true[name]


def _is_the_kits(names: dict[str, object]) -> bool:
    return str(names.get("__name__")).startswith("exporter_core.conformance.")
