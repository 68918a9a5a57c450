"""The report for people: what failed first, then a matrix grouped by family, raw beside guarded."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from exporter_core.conformance.report.conclusion import CONFORMANT, FAILED, conclude
from exporter_core.conformance.report.json_report import reproduce
from exporter_core.conformance.verdicts import Verdict

if TYPE_CHECKING:
    from exporter_core.conformance.clause import Clause
    from exporter_core.conformance.engine import Report
    from exporter_core.conformance.running import Run

__all__ = ["FAMILIES", "as_text"]

FAMILIES = {
    "INT": "Interface",
    "KND": "Instrument kinds",
    "EXP": "Export",
    "HND": "Errors",
    "DAT": "Data",
    "FLU": "Flush",
    "SHD": "Shutdown",
    "CON": "Concurrency",
    "PY": "Python",
}
_COLOURS = {
    Verdict.PASS: "32",
    Verdict.FAIL: "1;31",
    Verdict.KIT_ERROR: "1;35",
    Verdict.INCONCLUSIVE: "33",
    Verdict.BLOCKED: "33",
}
_DIM = "2"
_SHORT = {Verdict.NOT_APPLICABLE: "n/a", Verdict.UNOBSERVABLE: "unobserved", Verdict.INEXPRESSIBLE: "inexpressible"}
_WIDTH = 14
_QUIET = (Verdict.PASS, Verdict.NOT_APPLICABLE, Verdict.UNOBSERVABLE, Verdict.INEXPRESSIBLE)
_SAID = 3  # events of a timeline that are shown


def as_text(report: Report, *, colour: bool = False, strict: bool = False) -> str:
    """The report in lines."""
    paint = _Paint(colour)
    out: list[str] = []
    title = f" ({report.origin})" if report.origin else ""
    out.append(paint("1", f"{report.target}{title}"))
    for mode in report.modes:
        said = conclude(report, mode, strict=strict)
        shade = {CONFORMANT: "1;32", FAILED: "1;31"}.get(said.exit_code, "1;33")
        out.append(f"  {mode:<8} {paint(shade, said.sentence)}")
    if report.stopped:
        out.append("  The check was stopped before every clause had its result.")
    if report.tier == "none":
        out.append("  There is no harness: nothing shows what was delivered.")
    out.append("")
    ordered = sorted(report.clauses, key=lambda one: report.order(one.id))
    for one in ordered:
        for mode in report.modes:
            run = report.runs.get((one.id, mode))
            if run is not None and run.verdict not in _QUIET and run.verdict is not Verdict.BLOCKED:
                out += [*_failure(report, one, run, paint), ""]
    out += _matrix(report, ordered, paint)
    out.append(f"{len(report.runs)} results in {report.seconds:.1f} s, seed {report.settings.seed}")
    return "\n".join(out) + "\n"


class _Paint:
    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colour and code else text


def _failure(report: Report, clause: Clause, run: Run, paint: _Paint) -> list[str]:
    lines = [
        (
            f"{paint(_COLOURS[run.verdict], run.verdict)} {paint('1', clause.id)} {run.mode} "
            f"[{clause.mark}] {clause.promise}"
        ),
        f"    contract   {clause.words}",
    ]
    if run.expected:
        lines.append(f"    expected   {run.expected}")
    lines += [f"    seen       {run.seen}", f"    look at    {clause.check}"]
    for number, event in enumerate(run.timeline[-_SAID:]):
        label = "" if number else "timeline"
        lines.append(f"    {label:<10} {event['seconds'] * 1000:8.1f} ms  {event['kind']:<6} {event['text']}")
    lines.append(f"    reproduce  {reproduce(report, clause.id, run.mode)}")
    if run.dump:
        lines += ["    stacks", *(f"        {line}" for line in run.dump.splitlines())]
    return lines


def _matrix(report: Report, clauses: list[Clause], paint: _Paint) -> list[str]:
    lines = [f"{'':<10}{'level':<9}" + "".join(f"{mode:<{_WIDTH}}" for mode in report.modes)]
    for family, members in groupby(clauses, lambda one: one.family):
        lines.append(paint("1", FAMILIES.get(family, family)))
        for one in members:
            cells = ""
            reasons = []
            for mode in report.modes:
                run = report.runs.get((one.id, mode))
                verdict = run.verdict if run else None
                word = "-" if verdict is None else _SHORT.get(verdict, str(verdict))
                cells += paint(_COLOURS.get(verdict, _DIM) if verdict else _DIM, f"{word:<{_WIDTH}}")
                if run is not None and verdict not in (Verdict.PASS, Verdict.FAIL) and run.seen not in reasons:
                    reasons.append(run.seen)
            why = paint(_DIM, f" ({'; '.join(reasons)})") if reasons else ""
            lines.append(f"  {one.id:<8}{one.mark:<9}{cells}{one.promise}{why}")
        lines.append("")
    return lines
