"""Reports made by hand: every verdict, a wire log, and an exporter that says hostile things."""

from __future__ import annotations

import pytest

from exporter_core.conformance.clause import select
from exporter_core.conformance.run.verdicts import Report, Run, Settings, Verdict

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)> & \x1b[31mred\x00 ]]> \"'"

EXCHANGE = {
    "seconds": 0.0011,
    "request": f"POST /v1/metrics?{HOSTILE}",
    "headers": [["content-type", "application/x-protobuf"], ["authorization", "***"]],
    "size": 1234,
    "points": 3,
    "connection": 1,
    "fault": "status:503",
    "stored": None,
    "answered": 0.0021,
    "answer": "503",
    "problems": ["no user agent"],
}


def result(clause: str, mode: str, verdict: Verdict, seen: str = "") -> Run:
    return Run(
        clause,
        mode,
        verdict,
        expected="it ends" if verdict is Verdict.FAIL else "",
        seen=seen,
        observations=["3 points arrived"] if verdict is Verdict.PASS else [],
        canary="died" if verdict is Verdict.PASS else "",
        canary_seen="lost 1" if verdict is Verdict.PASS else "",
        timeline=[
            {"seconds": 0.0, "kind": "call", "text": "export"},
            {"seconds": 0.001, "kind": "wire", "text": "request 1"},
            {"seconds": 0.0025, "kind": "gate", "text": "opened"},
            {"seconds": 0.004, "kind": "return", "text": f"export raised {seen}"},
        ],
        seconds=0.0123,
    )


@pytest.fixture
def report() -> Report:
    """Raw, one clause of each verdict, the failed ones with hostile words; guarded, all PASS; one never run."""
    chosen = select(["EXP-*", "SHD-*", "PY-*"])
    made = Report("mine", ("raw", "guarded"), Settings(seed=7), chosen, "exporter-core-mine 1.0", "wire", seconds=2.5)
    for clause in chosen:
        for mode in made.modes:
            made.runs[clause.id, mode] = result(clause.id, mode, Verdict.PASS)
    raw = {
        "EXP-01": Verdict.FAIL,
        "EXP-02": Verdict.BLOCKED,
        "EXP-03": Verdict.FAIL,  # a SHOULD
        "EXP-10": Verdict.INEXPRESSIBLE,
        "EXP-08": Verdict.NOT_APPLICABLE,
        "EXP-14": Verdict.UNOBSERVABLE,
        "SHD-04": Verdict.INCONCLUSIVE,
        "SHD-05": Verdict.KIT_ERROR,
        "PY-01": Verdict.FAIL,  # hygiene
    }
    for clause, verdict in raw.items():
        made.runs[clause, "raw"] = result(clause, "raw", verdict, HOSTILE)
    made.runs["EXP-01", "raw"].wire = [EXCHANGE]
    made.runs["EXP-01", "raw"].dump = f'Thread 0x01:\n  File "mine.py", line 3 in export {HOSTILE}\n'
    del made.runs["SHD-07", "raw"]
    return made


@pytest.fixture
def hostile() -> str:
    return HOSTILE
