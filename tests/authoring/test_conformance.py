"""A plain class on the base class keeps every MUST clause, by itself and behind the guard."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter_core.conformance import Verdict, check
from exporter_core.conformance.run.verdicts import Settings

NEED_NOT_PASS = {
    "INT-02": "a class that no entry point registers",
    "FLU-04": "it holds nothing, so that no flush delivers anything",
}


@pytest.mark.timeout(400)  # every clause with its canaries, in worker processes
@pytest.mark.parametrize("mode", ["raw", pytest.param("guarded", marks=pytest.mark.nightly)])
def test_a_plain_class_on_the_base_class_keeps_every_clause(mode, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    report = check("plain:PlainExporter", modes=[mode], settings=Settings(schedules=4, points=2_003))
    found = {run.id: (run.verdict, run.seen) for run in report.runs.values() if run.verdict is not Verdict.PASS}
    assert found.keys() <= NEED_NOT_PASS.keys(), found
