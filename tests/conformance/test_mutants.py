"""The kill matrix: each mutant is killed by its clause, with the words that belong to it, and by hardly any other."""

from pathlib import Path

import pytest

from exporter_core.conformance.clause import clauses
from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.verdicts import Settings, Verdict
from kit.mutants import MUTANTS

PIECES = 4
PATIENCE = 0.5
"""Seconds: a mutant that hangs is to be given up soon; one that does not ends long before."""

ALSO_KILLED_BY: dict[str, set[str]] = {"RedirectIsFine": {"EXP-19"}}
"""The clauses that kill a mutant beside its own; where one's failure blocks others, they kill nothing."""


@pytest.mark.timeout(600)  # many mutants, which may share the cores with much else
@pytest.mark.parametrize("piece", range(PIECES))
def test_every_mutant_is_killed_by_its_clause_with_its_words_and_by_no_other(in_children, piece: int) -> None:
    mutants = MUTANTS[piece::PIECES]
    found = in_children("mutants", *(mutant.target for mutant in mutants))
    for mutant in mutants:
        runs = found[mutant.target]
        assert runs.keys() == {clause.id for clause in clauses()}, mutant
        killers = {clause: run.seen for clause, run in runs.items() if run.verdict is Verdict.FAIL}
        assert killers.keys() == {mutant.clause} | ALSO_KILLED_BY.get(mutant.exporter.__name__, set()), (
            mutant,
            killers,
        )
        assert mutant.seen in killers[mutant.clause], (mutant, killers)


def test_there_are_forty_mutants_and_three_in_four_are_killed_by_one_clause_alone() -> None:
    names = [mutant.exporter.__name__ for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 40
    assert len(set(names) - ALSO_KILLED_BY.keys()) * 4 >= len(names) * 3


def test_every_clause_that_gates_has_a_mutant() -> None:
    killed = {mutant.clause for mutant in MUTANTS} | {"INT-02"}
    assert {clause.id for clause in clauses() if clause.level != "INFO"} <= killed


def test_a_registration_under_another_contract_version_is_killed_by_its_clause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "late-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[exporter_core.exporters.v99]\nlate = kit.reference:ReferenceExporter\n")
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
    (target,) = (one.target for one in MUTANTS if one.exporter.__name__ == mutant)
    report = check(target, patterns=[clause], settings=settings)
    raw, guarded = report.run(clause, "raw"), report.run(clause, "guarded")
    assert raw.verdict is Verdict.FAIL
    # A future that the guard refuses is an error of the export: reported, though not mended.
    assert guarded.verdict is (Verdict.FAIL if mutant == "ReturnsFuture" else Verdict.PASS), guarded.seen
