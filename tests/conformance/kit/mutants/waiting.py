"""What mutants that wait wrongly have in common."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from exporter_core.errors import ContextCancelledError

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.context import Context
    from kit.memory import MemorySink

POLL = 0.002
"""Seconds between two looks."""
OWN_SECONDS = 0.5
"""A time-out that has nothing to do with any context, under the patience that mutants are waited for with."""
_NEVER = 60.0  # seconds


def cancelled(context: Context) -> bool:
    """Whether the context was cancelled; that its deadline passed does not count."""
    return isinstance(context.error(), ContextCancelledError)


def is_calm(context: Context) -> bool:
    """Whether the deadline is one that no clause waits for."""
    return (context.remaining() or 0) > _NEVER


def on_cancel(context: Context, own: Context) -> threading.Event:
    """Cancel ``own`` when ``context`` is cancelled, deadlines apart, until the event is set."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(POLL):
            if cancelled(context):
                own.cancel("cancelled")

    threading.Thread(target=watch, daemon=True).start()
    return over


def detached(call: Callable[[], None], context: Context, sink: MemorySink, *, waits: bool = False) -> None:
    """Make the call on a thread, and return when the backend is slow to answer, unless it ``waits``.

    It waits too where a deadline is near or a failure is scripted: other clauses are about those.
    """
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - passed on below, if it comes in time
            errors.append(error)

    waits = waits or not is_calm(context) or sink.script != ["ok"]
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive() and (waits or not sink.waiting):
        thread.join(POLL)
    for error in errors:
        raise error
