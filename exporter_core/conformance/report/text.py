"""The report for people: failures first, then a matrix grouped by family, raw beside guarded."""

from __future__ import annotations

import textwrap
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from exporter_core.conformance.clause import FAMILIES, Clause, in_order
from exporter_core.conformance.report.conclusion import CONFORMANT, FAILED, conclude
from exporter_core.conformance.report.json_report import reproduce, seen_at
from exporter_core.conformance.run.verdicts import Report, Run, Verdict
from exporter_core.conformance.sdk import SPECIFICATION
from exporter_core.contract import CONTRACT_VERSION
from exporter_core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


_COLOURS: dict[Verdict | None, str] = {
    Verdict.PASS: "32",
    Verdict.FAIL: "1;31",
    Verdict.KIT_ERROR: "1;35",
    Verdict.INCONCLUSIVE: "33",
    Verdict.BLOCKED: "33",
}
_BOLD, _DIM = "1", "2"
_WORDS: dict[Verdict | None, str] = {
    Verdict.NOT_APPLICABLE: "n/a",
    Verdict.UNOBSERVABLE: "unobserved",
    Verdict.INEXPRESSIBLE: "inexpressible",
    None: "not run",
}
_FIRST = (Verdict.FAIL, Verdict.KIT_ERROR, Verdict.INCONCLUSIVE)
"""The verdicts that are explained before the matrix, in this order; a BLOCKED clause names the one that failed."""
_MARKS = "† follows from the contract   ‡ Python hygiene, never decides"
_SAID = 8  # events of a timeline that are shown
_LABEL = 11  # columns of a label and what is before it


def as_text(
    report: Report, *, colour: bool = False, strict: bool = False, width: int = 80, verbose: bool = False
) -> str:
    """The report in lines no longer than the width, except commands, so that they can be copied in one piece.

    ``verbose`` adds the tracebacks.
    """
    paint = _painter(colour)
    out = _head(report, paint, strict, width)
    for verdict in _FIRST:
        for clause in in_order(report.clauses):
            for mode in report.modes:
                run = report.runs.get((clause.id, mode))
                if run is not None and run.verdict is verdict:
                    out += ["", *_told(report, clause, run, paint, width, verbose=verbose)]
    out += ["", *_matrix(report, paint, width)]
    out.append(paint(_DIM, _MARKS))
    return "\n".join(out) + "\n"


def result_text(report: Report, clause: str, mode: str, *, width: int = 80) -> list[str]:
    """All about one result, in lines."""
    found = next(one for one in report.clauses if one.id == clause)
    return _told(report, found, report.run(clause, mode), _painter(False), width)


def listed(clauses: Iterable[Clause], *, colour: bool = False, width: int = 80) -> str:
    """The clauses, a line each and longer promises continued, grouped by family."""
    paint = _painter(colour)
    out = []
    for family, members in groupby(clauses, lambda one: one.family):
        out.append(paint(_BOLD, FAMILIES.get(family, family)))
        for one in members:
            start = f"  {one.id}  {one.mark:<8} {one.technique}  "
            out += _wrapped(one.promise, start, " " * len(start), width)
    return "\n".join(out) + "\n"


def explained(clause: Clause, technique: str, *, colour: bool = False, width: int = 80) -> str:
    """Everything about a clause.

    Args:
        clause: the clause.
        technique: its technique in words.
        colour: use colours.
        width: columns of a line.
    """
    paint = _painter(colour)
    rows = {
        "level": clause.mark,
        "since": f"contract v{clause.since}",
        "contract": clause.words,
        "otel spec": _specification(clause) or "-",
        "technique": f"{clause.technique}: {technique}",
        "how": clause.how,
        "canary": clause.fault or "static: the checker's own tests prove that the clause can fail, with mutants",
        "look at": clause.check,
        "after": ", ".join(clause.after) or "-",
    }
    out = _wrapped(clause.promise, f"{clause.id}  ", " " * (len(clause.id) + 2), width)
    out[0] = paint(_BOLD, out[0])
    for label, value in rows.items():
        out += _row(label, value, paint, width)
    return "\n".join(out) + "\n"


_Paint: TypeAlias = "Callable[[str, str], str]"


def _painter(colour: bool) -> _Paint:
    """A function that gives a text a colour code, or leaves it plain."""
    return lambda code, text: f"\033[{code}m{text}\033[0m" if colour and code else text


def _wrapped(text: str, first: str, rest: str, width: int) -> list[str]:
    return textwrap.wrap(
        printable(" ".join(text.split())),
        max(width, len(rest) + 20),
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def _row(label: str, text: str, paint: _Paint, width: int) -> list[str]:
    start = f"  {label:<{_LABEL}}"
    lines = _wrapped(text, start, " " * len(start), width)
    return [paint(_DIM, start) + lines[0][len(start) :], *lines[1:]]


def _head(report: Report, paint: _Paint, strict: bool, width: int) -> list[str]:
    name = printable(report.target)
    about = f"contract v{CONTRACT_VERSION}, seed {report.settings.seed}, {report.seconds:.1f} s"
    origin = printable(f"{report.origin}, " if report.origin else "")
    out = [paint(_BOLD, name), *(paint(_DIM, line) for line in _wrapped(f"{origin}{about}", "  ", "  ", width))]
    for mode in report.modes:
        said = conclude(report, mode, strict=strict)
        shade = {CONFORMANT: "1;32", FAILED: "1;31"}.get(said.exit_code, "1;33")
        start = f"  {mode:<8} "
        first, *rest = _wrapped(said.sentence, start, " " * len(start), width)
        out += [start + paint(shade, first[len(start) :]), *(paint(shade, line) for line in rest)]
    if report.stopped:
        out.append("  The check was stopped before every clause had its result.")
    if report.tier == "none":
        out.append("  There is no harness: nothing shows what was delivered.")
    return out


def _told(report: Report, clause: Clause, run: Run, paint: _Paint, width: int, *, verbose: bool = False) -> list[str]:
    head = f"{run.verdict} {clause.id} {run.mode} [{clause.mark}] "
    first, *rest = _wrapped(clause.promise, head, "  ", width)
    lines = [
        f"{paint(_COLOURS.get(run.verdict, _DIM), run.verdict)} {paint(_BOLD, first[len(run.verdict) + 1 :])}",
        *(paint(_BOLD, line) for line in rest),
    ]
    for label, text in (
        ("contract", clause.words),
        ("otel spec", _specification(clause) if report.of_the_sdk and run.mode == "raw" else ""),
        ("expected", run.expected),
        ("seen", seen_at(run.seen, run.where)),
        ("look at", clause.check),
    ):
        if text:
            lines += _row(label, text, paint, width)
    for number, event in enumerate(_deciding(run.timeline)):
        label = "" if number else "timeline"
        lines += _row(label, f"{event['seconds'] * 1000:.1f} ms {event['kind']}: {event['text']}", paint, width)
    label = paint(_DIM, f"  {'reproduce':<{_LABEL}}")
    lines.append(f"{label}{printable(reproduce(report, clause.id, run.mode))}")
    if verbose and run.traceback:
        lines += [paint(_DIM, "  traceback"), *(f"    {printable(line)}" for line in run.traceback.splitlines())]
    if run.dump:
        lines += [paint(_DIM, "  stacks"), *(f"    {printable(line)}" for line in run.dump.splitlines())]
    return lines


def _deciding(timeline: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:  # Any: JSON
    """The events that decided: from the last call before the verdict, and the gate and the deadline that it met."""
    end = next((place for place, event in enumerate(timeline) if event["kind"] == "verdict"), len(timeline))
    shown = [event for event in timeline[:end] if event["kind"] != "leave" and not _of_connection(event)]
    begin = next((place for place in range(len(shown) - 1, -1, -1) if shown[place]["kind"] == "call"), 0)
    while begin and shown[begin - 1]["kind"] in ("gate", "note"):
        begin -= 1
    shown = shown[begin:]
    return shown if len(shown) <= _SAID else [*shown[: _SAID // 2], *shown[-_SAID // 2 :]]


def _of_connection(event: Mapping[str, Any]) -> bool:  # Any: JSON
    return event["kind"] == "wire" and str(event["text"]).startswith("connection ")


def _specification(clause: Clause) -> str:
    return " ".join(SPECIFICATION.get(clause.id, ()))


def _matrix(report: Report, paint: _Paint, width: int) -> list[str]:
    notes: dict[str, int] = {}  # why something is not PASS, and the number that stands for it
    columns = {
        mode: max(len(mode), *(len(_word(report.runs.get((one.id, mode)))) for one in report.clauses)) + 2
        for mode in report.modes
    }
    lines = [" " * 18 + "".join(f"{mode:<{columns[mode]}}" for mode in report.modes).rstrip()]
    for family, members in groupby(in_order(report.clauses), lambda one: one.family):
        lines.append(paint(_BOLD, FAMILIES.get(family, family)))
        for one in members:
            runs = {mode: report.runs.get((one.id, mode)) for mode in report.modes}
            lines += _cells(one, runs, columns, notes, paint=paint, width=width)
        lines.append("")
    for note, number in notes.items():
        lines += [paint(_DIM, line) for line in _wrapped(note, f"[{number}] ", "    ", width)]
    return lines


def _cells(
    clause: Clause,
    runs: Mapping[str, Run | None],
    columns: Mapping[str, int],
    notes: dict[str, int],
    *,
    paint: _Paint,
    width: int,
) -> list[str]:
    start = f"  {clause.id:<7} {clause.mark:<8}"
    indent = " " * (len(start) + sum(columns.values()))
    cells = ""
    marks: list[str] = []
    for mode, run in runs.items():
        verdict = run.verdict if run else None
        cells += paint(_COLOURS.get(verdict, _DIM), f"{_word(run):<{columns[mode]}}")
        if run is not None and verdict not in (Verdict.PASS, *_FIRST):
            mark = f"[{notes.setdefault(run.seen, len(notes) + 1)}]"
            marks += [mark] * (mark not in marks)
    first, *rest = _wrapped(f"{clause.promise} {''.join(marks)}", indent, indent, width)
    return [f"{start}{cells}{first[len(indent) :]}", *rest]


def _word(run: Run | None) -> str:
    verdict = run.verdict if run else None
    return _WORDS.get(verdict, str(verdict))
