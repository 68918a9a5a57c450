"""What a reader has counted."""

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
    """How often metrics were collected, empty collections included."""
    ticks_skipped: int
    """Ticks that did not collect since the exporter was busy: nothing is lost, the next one has it all."""
    ticks_missed: int
    """Ticks that passed while an earlier one was at work."""
    errors_reported: int
    """Failures that had no caller to be raised to."""
    last_error: str | None
    """The last of them in one line, secrets masked."""
    exporter: ExporterStats

    def as_dict(self) -> dict[str, object]:
        """The counts as values that JSON has."""
        return asdict(self)
