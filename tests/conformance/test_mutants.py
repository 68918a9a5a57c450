"""The kill matrix: each mutant is killed by its clause, with the message that belongs to it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from exporter_core.conformance.clause import clauses
from exporter_core.conformance.engine import Report, check
from exporter_core.conformance.mutants import MUTANTS, Mutant
from exporter_core.conformance.running import Settings
from exporter_core.conformance.verdicts import Verdict

PATIENCE = 0.5
"""Seconds: a mutant that hangs is to be given up soon; one that does not ends long before."""


def _check(mutant: Mutant) -> Report:
    return check(mutant.target, modes=["raw"], settings=Settings(patience=PATIENCE, canaries=False))


def _killers(report: Report) -> set[str]:
    return {clause for (clause, _), run in report.runs.items() if run.verdict is Verdict.FAIL}


def test_every_mutant_is_killed_by_its_clause_and_three_in_four_by_it_alone() -> None:
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(_check, MUTANTS))
    matrix = {mutant.exporter.__name__: _killers(report) for mutant, report in zip(MUTANTS, reports, strict=True)}
    for mutant, report in zip(MUTANTS, reports, strict=True):
        run = report.run(mutant.clause, "raw")
        assert run.verdict is Verdict.FAIL, (mutant, run.verdict, run.seen)
        assert mutant.seen in run.seen, (mutant, run.seen)
    assert len(MUTANTS) >= 40
    alone = [name for name, killers in matrix.items() if len(killers) == 1]
    assert len(alone) * 4 >= len(matrix) * 3, {name: killers for name, killers in matrix.items() if len(killers) > 1}


def test_every_clause_that_gates_has_a_mutant() -> None:
    killed = {mutant.clause for mutant in MUTANTS} | {"INT-02"}
    assert {clause.id for clause in clauses() if clause.level != "INFO"} <= killed


def test_a_registration_under_another_contract_version_is_killed_by_its_clause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "late-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[exporter_core.exporters.v99]\nlate = exporter_core.conformance.reference:ReferenceExporter\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    report = check("late", patterns=["INT-*"], modes=["raw"])
    assert report.run("INT-01", "raw").verdict is Verdict.PASS
    run = report.run("INT-02", "raw")
    assert run.verdict is Verdict.FAIL
    assert run.seen == "the group is exporter_core.exporters.v99"


@pytest.mark.parametrize(
    ("mutant", "clause"),
    [
        ("DropsDeadline", "EXP-06"),
        ("IgnoresCancel", "EXP-10"),
        ("DoesNotLook", "EXP-05"),
        ("ReturnsAfterShutdown", "SHD-06"),
        ("StillSends", "SHD-05"),
        ("SecondShutdownReturns", "SHD-07"),
        ("ShutdownJoins", "SHD-04"),
        ("ReturnsFuture", "EXP-04"),
    ],
)
def test_the_guard_turns_a_failure_into_a_pass(mutant: str, clause: str) -> None:
    settings = Settings(patience=PATIENCE, canaries=False)
    report = check(f"exporter_core.conformance.mutants:{mutant}", patterns=[clause], settings=settings)
    raw, guarded = report.run(clause, "raw"), report.run(clause, "guarded")
    assert raw.verdict is Verdict.FAIL
    # A future that the guard refuses is an error of the export: reported, though not mended.
    assert guarded.verdict is (Verdict.FAIL if mutant == "ReturnsFuture" else Verdict.PASS), guarded.seen
