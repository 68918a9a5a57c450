"""The headline of a report counts what was kept, and names what was not seen."""

from __future__ import annotations

import pytest

from exporter_core.conformance.clause import select
from exporter_core.conformance.report import conclude
from exporter_core.conformance.run.verdicts import Report, Run, Settings, Verdict

CLAUSES = ("SHD-01", "SHD-02", "SHD-03", "SHD-04", "SHD-05", "SHD-06", "SHD-07")


def concluded(**verdicts: Verdict | None) -> tuple[str, int]:
    """The conclusion about clauses that all pass, but for these; None for one that was not run."""
    report = Report("mine", ("raw",), Settings(), select(CLAUSES))
    for clause in CLAUSES:
        verdict = verdicts.get(clause.replace("-", "_"), Verdict.PASS)
        if verdict is not None:
            report.runs[clause, "raw"] = Run(clause, "raw", verdict)
    said = conclude(report, "raw")
    assert conclude(report) == said
    return said.sentence, said.exit_code


@pytest.mark.parametrize(
    ("verdicts", "sentence", "code"),
    [
        ({}, "conformant: 7 MUST clauses kept", 0),
        ({"SHD_02": Verdict.NOT_APPLICABLE}, "conformant: 6 MUST clauses kept", 0),
        ({"SHD_02": Verdict.FAIL, "SHD_03": Verdict.UNOBSERVABLE}, "not conformant: 1 MUST clause failed", 1),
        ({"SHD_02": Verdict.KIT_ERROR}, "the checker failed on 1 clause (SHD-02)", 4),
        (
            {"SHD_04": Verdict.UNOBSERVABLE, "SHD_01": Verdict.INEXPRESSIBLE},
            "incomplete: 5 of 6 MUST clauses kept, 1 not observed (SHD-04)",
            3,
        ),
        (
            {f"SHD_0{number}": Verdict.UNOBSERVABLE for number in range(1, 5)} | {"SHD_06": None},
            "incomplete: 2 of 7 MUST clauses kept, 4 not observed (SHD-01, SHD-02, SHD-03, ...), 1 not run (SHD-06)",
            3,
        ),
    ],
)
def test_the_headline_counts_what_was_kept_and_names_the_rest(verdicts: dict, sentence: str, code: int) -> None:
    assert concluded(**verdicts) == (sentence, code)


def test_it_is_never_about_a_clause_that_does_not_decide() -> None:
    report = Report("mine", ("raw",), Settings(), select(["PY-01"]))
    report.runs["PY-01", "raw"] = Run("PY-01", "raw", Verdict.FAIL)
    assert conclude(report, "raw").sentence == "no MUST clause was checked"
