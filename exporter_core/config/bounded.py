"""Runs code of others, such as an option's validator or a resource detector, for no longer than a given time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TookTooLongError", "bounded"]

_T = TypeVar("_T")


class TookTooLongError(Exception):
    """The code was still running when its time was up; its thread is left behind."""


def bounded(function: Callable[[], _T], seconds: float) -> _T:
    """The function's result; it runs on a daemon thread of its own.

    Raises:
        TookTooLongError: it did not end within ``seconds``.
        BaseException: whatever the function raised.
    """
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - it is raised again on the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="exporter-core-config", daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    if errors:
        raise errors[0]
    raise TookTooLongError
