"""Runs code of others that is no exporter's operation, such as an import, a validator or a resource detector, in time.

It runs on a thread that is left behind when the time is up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from exporter_core.context import Context
from exporter_core.guard.calls import Outcome
from exporter_core.guard.lanes import ThreadLane
from exporter_core.masking import Told

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class TookTooLongError(Exception):
    """The code was still running when its time was up."""


class CodeFailedError(Exception):
    """The code raised something, a BaseException perhaps, which must not end the caller."""

    def __init__(self, told: Told) -> None:
        super().__init__(told.text)
        self.told = told
        """What it raised."""


def bounded(function: Callable[[], _T], seconds: float) -> _T:
    """The function's result.

    Raises:
        TookTooLongError: it did not end within ``seconds``.
        CodeFailedError: it raised something, or no thread can be started.
    """
    box: list[_T] = []
    try:
        lane = ThreadLane("exporter-core-bounded", object())
    except RuntimeError as error:  # no thread can be started
        raise CodeFailedError(Told.of(error)) from None
    try:
        call = lane.perform(lambda: box.append(function()), Context.with_timeout(seconds), {})
    finally:
        lane.close()
    if call is None:
        return box[0]
    if call.told is None or call.outcome is not Outcome.ENDED:
        raise TookTooLongError
    raise CodeFailedError(call.told)


def unbounded(function: Callable[[], _T]) -> _T:
    """As :func:`bounded`, on the calling thread, however long it takes; the caller's KeyboardInterrupt passes."""
    try:
        return function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin's SystemExit is not the host's
        raise CodeFailedError(Told.of(error)) from None
