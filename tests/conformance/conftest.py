"""What the tests of the checker share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from exporter_core.conformance.engine import Report
    from exporter_core.conformance.running import Run

MUTANT = "exporter_core.conformance.mutants"
REFERENCE = "exporter_core.conformance.reference"


@pytest.fixture
def run_of():
    """Checks one clause of one exporter; its result. Patience is short, for runs that are to fail."""
    from exporter_core.conformance.engine import check
    from exporter_core.conformance.running import Settings

    def run(target: str, clause: str, mode: str = "raw", **options: object) -> Run:
        settings = Settings(patience=0.5, canaries=False)
        report: Report = check(target, patterns=[clause], modes=[mode], **{"settings": settings, **options})
        return report.run(clause, mode)

    return run
