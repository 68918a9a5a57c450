"""Runs code of others, such as an option's validator or a resource detector, for no longer than a given time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from exporter_core.masking import Masker, describe

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TookTooLongError", "bounded", "one_line"]

_T = TypeVar("_T")


class TookTooLongError(Exception):
    """The code was still running when its time was up; its thread is left behind."""


class _EscapedError(Exception):
    """The code raised what is meant to end a program or a task: SystemExit, KeyboardInterrupt, CancelledError."""


def bounded(function: Callable[[], _T], seconds: float) -> _T:
    """The function's result; it runs on a daemon thread of its own.

    Raises:
        TookTooLongError: it did not end within ``seconds``.
        Exception: what the function raised; a BaseException is wrapped, because it must not end the caller.
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
    if not errors:
        raise TookTooLongError
    if isinstance(errors[0], Exception):
        raise errors[0]
    raise _EscapedError from errors[0]


def one_line(error: BaseException) -> str:
    """Type and message of an error that :func:`bounded` raised, in one line; of secrets only the evident are masked."""
    cause = error.__cause__ if isinstance(error, _EscapedError) and error.__cause__ else error
    return describe(cause, Masker())
