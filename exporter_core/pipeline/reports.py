"""The result of a flush or shutdown of a pipeline, reader by reader."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter_core.reader import Job, PeriodicReader


@dataclass(frozen=True, slots=True)
class ReaderReport:
    """The delivery of one reader."""

    name: str
    """Position in the config and exporter, such as ``0:sqlite``."""
    points_handed_over: int
    """Data points that this flush or shutdown collected for the exporter."""
    points_accepted: int
    """Those of them that the exporter accepted in time."""
    seconds: float
    """Duration."""
    error: str | None
    """The failure in one line, secrets masked; None if all is delivered."""

    @property
    def ok(self) -> bool:
        """True if all is delivered."""
        return self.error is None

    def as_dict(self) -> dict[str, object]:
        """Return the report as values that JSON has."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PipelineReport:
    """The delivery of a whole pipeline."""

    readers: tuple[ReaderReport, ...]
    """Reports in the order of the config."""
    seconds: float
    """Duration, about that of the slowest reader."""

    @classmethod
    def of(cls, jobs: Sequence[Job[PeriodicReader]]) -> Self:
        """Return the report of each reader's flush or shutdown."""
        readers = tuple(
            ReaderReport(
                name=job.reader.name,
                points_handed_over=job.points_handed_over,
                points_accepted=job.points_accepted,
                seconds=job.seconds,
                error=None if job.error is None else job.reader.exporter.describe_error(job.error),
            )
            for job in jobs
        )
        return cls(readers, max((reader.seconds for reader in readers), default=0.0))

    @property
    def ok(self) -> bool:
        """True if every reader delivered all."""
        return all(reader.ok for reader in self.readers)

    def as_dict(self) -> dict[str, object]:
        """Return the report as values that JSON has."""
        return {"ok": self.ok, "seconds": self.seconds, "readers": [reader.as_dict() for reader in self.readers]}
