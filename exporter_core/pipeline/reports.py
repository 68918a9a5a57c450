"""What a flush or shutdown of a pipeline delivered, reader by reader."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter_core.reader import Delivery, PeriodicReader


@dataclass(frozen=True, slots=True)
class ReaderReport:
    """What one reader delivered."""

    name: str
    """Position in the config and exporter, such as ``0:sqlite``."""
    points_handed_over: int
    """Data points that this flush or shutdown collected and handed to the exporter."""
    points_accepted: int
    """Those of them that the exporter accepted in time."""
    seconds: float
    """How long it took."""
    error: str | None
    """What failed, in one line, secrets masked; None if all is delivered."""

    @property
    def ok(self) -> bool:
        """Whether all is delivered."""
        return self.error is None

    def as_dict(self) -> dict[str, object]:
        """The report as values that JSON has."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PipelineReport:
    """What a whole pipeline delivered."""

    readers: tuple[ReaderReport, ...]
    """In the order of the config."""
    seconds: float
    """How long it took, about as long as the slowest reader."""

    @property
    def ok(self) -> bool:
        """Whether every reader delivered all."""
        return all(reader.ok for reader in self.readers)

    def as_dict(self) -> dict[str, object]:
        """The report as values that JSON has."""
        return {"ok": self.ok, "seconds": self.seconds, "readers": [reader.as_dict() for reader in self.readers]}


def report_of(reader: PeriodicReader, delivery: Delivery) -> ReaderReport:
    """The report of one reader's delivery."""
    return ReaderReport(
        name=reader.name,
        points_handed_over=delivery.points_handed_over,
        points_accepted=delivery.points_accepted,
        seconds=delivery.seconds,
        error=None if delivery.error is None else reader.exporter.describe_error(delivery.error),
    )
