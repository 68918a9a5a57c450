"""Check every exporter of the catalogue, and say how truthful the checker is.

``make strangers``, or ``python -m third_party.score`` in ``tests/conformance``, prints a line for each and writes the
score as JSON, by name: ``caught`` (a clause failed that does not fail on the right counterpart, or nothing was checked
since the exporter cannot be built, with the reason as ``error``), ``named`` (one of those that the exporter breaks
did), ``first`` (the first clause that failed) and ``clauses`` (all that failed). Of a right one: ``must`` (the MUST
clauses that failed) and ``clauses``.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.run import engine
from exporter_core.conformance.run.verdicts import POINTS, Settings
from exporter_core.errors import SetupError
from third_party.catalogue import RIGHT, WRONG, Entry

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = Path(__file__).parent
LONGEST = 300.0
"""Seconds that one check may take."""
AMOUNTS = frozenset({"EXP-01", "EXP-02"})
"""The clauses that large amounts say something to."""
FEWER = 5_021
"""Points of the largest batch where other clauses are checked, which build on the first of those."""


def check(entry: Entry, clauses: Sequence[str] = (), points: int | None = None) -> dict[str, Any]:
    """Check one exporter by itself, on some clauses or all; ``error`` says why there is no result.

    ``points`` is the size of the largest batch; unless given, a user's where a clause is about amounts.
    """
    if points is None:
        points = FEWER if clauses and not AMOUNTS.intersection(clauses) else POINTS
    stop = threading.Event()
    limit = threading.Timer(LONGEST, stop.set)
    limit.start()
    try:
        report = engine.check(
            entry.target,
            patterns=clauses or entry.clauses,
            modes=["raw"],
            settings=Settings(points=points),
            sink=entry.sink or None,
            options=entry.options or None,
            stop=stop,
        )
    except SetupError as error:
        return {"error": str(error)}
    finally:
        limit.cancel()
    if report.stopped:
        return {"error": f"the check took longer than {LONGEST:g} s"}
    runs = {clause: report.run(clause.id, "raw") for clause in report.clauses}
    return {
        "failed": [run.id for run in runs.values() if run.verdict == "FAIL"],
        "must": [clause.id for clause, run in runs.items() if clause.level == "MUST" and run.verdict == "FAIL"],
        "open": {run.id: str(run.verdict) for run in runs.values() if run.verdict not in {"PASS", "FAIL"}},
        "seen": {run.id: run.seen for run in runs.values() if run.verdict == "FAIL"},
        "seconds": report.seconds,
    }


def score_of(entry: Entry, found: dict[str, Any], excused: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the score of one exporter; ``excused`` are the clauses that its right counterpart fails too."""
    if "error" in found:
        is_refused = "cannot be built" in found["error"]
        return {"caught": is_refused, "named": False, "first": None, "clauses": [], "error": found["error"]}
    failed = [name for name in found["failed"] if name not in excused]
    score: dict[str, Any] = {
        "caught": bool(failed),
        "named": any(name in entry.breaks for name in failed),
        "first": failed[0] if failed else None,
        "clauses": failed,
    }
    if not entry.breaks:
        score = {"right": True, "must": found["must"], "clauses": found["failed"]}
    elif not score["named"]:
        score["verdicts"] = {name: found["open"].get(name, "PASS") for name in entry.breaks}
    return score


def line_of(entry: Entry, score: dict[str, Any]) -> str:
    """Return one exporter's line."""
    if "right" in score:
        words = f"MUST FAILED {' '.join(score['must'])}" if score["must"] else "right"
        return f"{entry.name:28} {words:24} {' '.join(score['clauses'])}"
    words = "named" if score["named"] else "caught otherwise" if score["caught"] else "SLIPPED"
    rest = " ".join(score["clauses"]) or score.get("error", "") or str(score["verdicts"])
    return f"{entry.name:28} {words:24} breaks {entry.breaks[0]}: {rest}"


def run(
    entries: list[Entry], *, jobs: int, known: dict[str, Any], file: Path | None, full: bool = False
) -> dict[str, Any]:
    """Check the right ones first, then the others beside them; ``file`` is written after each.

    A wrong one is checked on the clauses that it breaks, and on all if none of them fails, or with ``full``.
    """
    scores: dict[str, Any] = dict(known)

    def one(entry: Entry, clauses: Sequence[str]) -> None:
        excused = frozenset(scores.get(entry.right, {}).get("clauses", ()))
        scores[entry.name] = score = score_of(entry, check(entry, clauses), excused)
        score["full"] = not clauses
        sys.stdout.write(line_of(entry, score) + "\n")
        sys.stdout.flush()
        if file is not None:
            file.write_text(json.dumps(dict(sorted(scores.items())), indent=1) + "\n", encoding="utf-8")

    def all_of(group: list[Entry], *, full: bool) -> None:
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda entry: one(entry, () if full else entry.breaks), group))

    all_of([entry for entry in entries if not entry.breaks and entry.name not in scores], full=True)
    all_of([entry for entry in entries if entry.breaks and entry.name not in scores], full=full)
    slipped = [entry for entry in entries if entry.breaks and not scores[entry.name]["named"]]
    all_of([entry for entry in slipped if not scores[entry.name].get("full")], full=True)
    return scores


def main() -> None:
    """Run the score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="the exporters; all by default")
    parser.add_argument("-o", "--output", type=Path, help="the file of the score, written after each check")
    parser.add_argument("--resume", action="store_true", help="keep what the file has already")
    parser.add_argument("--full", action="store_true", help="check every exporter on every clause")
    parser.add_argument("--jobs", type=int, default=1, help="checks at the same time")
    arguments = parser.parse_args()
    known = json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.resume else {}
    entries = [entry for entry in (*RIGHT, *WRONG) if not arguments.names or entry.name in arguments.names]
    scores = run(entries, jobs=arguments.jobs, known=known, file=arguments.output, full=arguments.full)
    wrong = [scores[entry.name] for entry in entries if entry.breaks]
    caught, named = (sum(score[key] for score in wrong) for key in ("caught", "named"))
    accused = [entry.name for entry in entries if scores[entry.name].get("must")]
    sys.stdout.write(f"{caught} of {len(wrong)} caught, {named} named; right ones accused: {accused or 'none'}\n")


if __name__ == "__main__":
    main()
