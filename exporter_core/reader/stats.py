"""The counts of a reader."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter_core.guard import ExporterStats


@dataclass(frozen=True, slots=True)
class ReaderStats:
    """Counts since the reader was made (or, in a forked child, since the fork)."""

    name: str
    collections: int
    """Collections, empty ones included."""
    ticks_skipped: int
    """Ticks that did not collect because the exporter was busy; nothing is lost, the next one has it all."""
    ticks_missed: int
    """Ticks that passed during an earlier one."""
    errors_reported: int
    """Failures that had no caller to be raised to."""
    last_error: str | None
    """The last failure in one line, secrets masked."""
    exporter: ExporterStats

    def as_dict(self) -> dict[str, object]:
        """Return the counts as values that JSON has."""
        return asdict(self)
