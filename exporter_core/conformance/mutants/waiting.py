"""What mutants that wait wrongly have in common."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from exporter_core.errors import ContextCancelledError

if TYPE_CHECKING:
    from exporter_core.context import Context

__all__ = ["POLL", "cancelled", "is_calm", "on_cancel"]

POLL = 0.002
"""Seconds between two looks."""
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
