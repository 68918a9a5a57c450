"""Flushes that return too early, or never."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.conformance.canaries.base import Holds, Serialised

if TYPE_CHECKING:
    from exporter_core.context import Context


class FlushesEarly(Holds):
    """Accepts everything, and returns from a flush before it is delivered."""

    def force_flush(self, context: Context) -> object:  # noqa: ARG002 - that is the fault
        return None


class FlushWaits(Serialised):
    """Waits in a flush for the running export or flush, however long it takes."""
