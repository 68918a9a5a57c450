"""Check every exporter of the catalogue, and say how truthful the checker is.

``python -m third_party.score``, with ``tests/conformance`` on PYTHONPATH, prints a line for each and writes the score
as JSON, by name: ``caught`` (a clause failed that does not fail on the right counterpart), ``named`` (one of those that
the exporter breaks did), ``first`` (the first clause that failed) and ``clauses`` (all that failed). Of a right one:
``must`` (the MUST clauses that failed) and ``clauses``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from third_party.catalogue import RIGHT, WRONG, Entry

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = Path(__file__).parent
LONGEST = 300.0
"""Seconds that one check may take."""


def check(entry: Entry, clauses: Sequence[str] = ()) -> dict[str, Any]:
    """Check one exporter by itself, on some clauses or all; ``error`` says why there is no report."""
    paths = os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "exporter_core", "check", entry.target, "--raw", "--json", *entry.arguments]
    command += [part for clause in clauses for part in ("--clause", clause)] or entry.clauses
    started = time.monotonic()
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
            timeout=LONGEST,
            check=False,
        )
        report = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"error": f"the check took longer than {LONGEST:g} s"}
    except ValueError:
        return {"error": done.stderr.strip() or "no report"}
    verdicts = {clause["id"]: clause["results"]["raw"]["verdict"] for clause in report["clauses"]}
    return {
        "failed": [name for name, verdict in verdicts.items() if verdict == "FAIL"],
        "must": [
            clause["id"]
            for clause in report["clauses"]
            if clause["level"] == "MUST" and verdicts[clause["id"]] == "FAIL"
        ],
        "open": {name: verdict for name, verdict in verdicts.items() if verdict not in {"PASS", "FAIL"}},
        "seen": {
            clause["id"]: clause["results"]["raw"]["seen"]
            for clause in report["clauses"]
            if verdicts[clause["id"]] == "FAIL"
        },
        "seconds": round(time.monotonic() - started, 1),
    }


def score_of(entry: Entry, found: dict[str, Any], excused: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the score of one exporter; ``excused`` are the clauses that its right counterpart fails too."""
    if "error" in found:
        return {"caught": False, "named": False, "first": None, "clauses": [], "error": found["error"]}
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
