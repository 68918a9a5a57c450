"""The kill matrix: each mutant is killed by its clause, with the words that belong to it, and by hardly any other."""

from pathlib import Path

import pytest

from exporter_core.conformance.clause import clauses
from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.verdicts import Verdict
from kit.mutants import MUTANTS

PIECES = 4
ALSO_KILLED_BY: dict[str, set[str]] = {
    "RedirectIsFine": {"EXP-19"},
    "RetriesRefusals": {"EXP-16"},
    "DropsPoint": {"EXP-14"},
    "SendsTwice": {"EXP-16"},
    "KeepsCallbacks": {"PY-03"},
    "HasRoomForAMegabyte": {"EXP-06"},
    "DropsAtDeadline": {"SHD-01"},
    "LeavesTheFlush": {"SHD-02"},
    "ShutdownJoins": {"EXP-12"},
}
"""The clauses that kill a mutant beside its own; where one's failure blocks others, they kill nothing."""


@pytest.mark.timeout(300)  # many mutants, which may share the cores with much else
def test_every_mutant_is_killed_by_its_clause_with_its_words(in_children) -> None:
    found = in_children("kills", *(mutant.target for mutant in MUTANTS))
    for mutant in MUTANTS:
        run = found[mutant.target][mutant.clause]
        assert run.verdict is Verdict.FAIL, (mutant, run)
        assert mutant.seen in run.seen, (mutant, run)


@pytest.mark.nightly
@pytest.mark.timeout(600)  # every clause on each of them
@pytest.mark.parametrize("piece", range(PIECES))
def test_no_other_clause_kills_a_mutant(in_children, piece: int) -> None:
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


def test_the_guard_turns_a_failure_into_a_pass(in_children) -> None:
    mended = {
        "DropsDeadline",
        "IgnoresCancel",
        "DoesNotLook",
        "ReturnsAfterShutdown",
        "StillSends",
        "SecondShutdownReturns",
        "ShutdownJoins",
    }
    # A future that the guard refuses is an error of the export: reported, though not mended.
    mutants = [one for one in MUTANTS if one.exporter.__name__ in mended | {"ReturnsFuture"}]
    found = in_children("guarded-kills", *(mutant.target for mutant in mutants))
    seen = {one.exporter.__name__: found[one.target][one.clause].verdict for one in mutants}
    assert seen == {**dict.fromkeys(mended, Verdict.PASS), "ReturnsFuture": Verdict.FAIL}
