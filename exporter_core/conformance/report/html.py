"""The report as one HTML page that needs nothing else: a matrix, raw beside guarded, with everything that was seen.

Jinja2 escapes everything that comes from an exporter, a harness or a backend; the page's policy lets no other script
run than the one beside the template. Without scripts the page reads the same, but for the filter.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from exporter_core.conformance.clause import FAMILIES, TECHNIQUES
from exporter_core.conformance.report.conclusion import CONFORMANT, FAILED, KIT_FAILED, conclude
from exporter_core.conformance.report.json_report import as_json
from exporter_core.conformance.run.verdicts import Report, Verdict
from exporter_core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_NOT_RUN = "NOT_RUN"
_WORDS = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "fail",
    Verdict.KIT_ERROR: "kit error",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.BLOCKED: "blocked",
    Verdict.UNOBSERVABLE: "unobserved",
    Verdict.INEXPRESSIBLE: "inexpressible",
    Verdict.NOT_APPLICABLE: "n/a",
    _NOT_RUN: "not run",
}
"""The page's words for the verdicts, PASS first, then the most urgent."""
_MEANINGS = {
    Verdict.PASS: "There is positive evidence, and with the clause's own fault put in, the same check failed.",
    Verdict.FAIL: "The promise was seen broken.",
    Verdict.KIT_ERROR: "The checker itself, or the harness, failed.",
    Verdict.INCONCLUSIVE: "The situation that the clause needs did not come about.",
    Verdict.BLOCKED: "A clause that this one builds on failed first.",
    Verdict.UNOBSERVABLE: "Nothing shows whether the promise is kept.",
    Verdict.INEXPRESSIBLE: "The exporter's interface has no channel for it.",
    Verdict.NOT_APPLICABLE: "The exporter has no such part.",
    _NOT_RUN: "The check ended before this clause.",
}
_FIRST = (Verdict.FAIL, Verdict.KIT_ERROR, Verdict.INCONCLUSIVE)
_TIERS = {
    "wire": "the checker's own sinks",
    "probe": "the harness, which reads its backend",
    "none": "nothing: there is no harness",
}
_MODES = {
    "raw": "the exporter by itself",
    "guarded": "behind the guard",
    "exporter_core": "this package's PeriodicReader",
    "sdk": "the OpenTelemetry SDK's PeriodicExportingMetricReader",
}
_STATES = {CONFORMANT: "good", FAILED: "bad", KIT_FAILED: "broken"}
_CANARIES = {
    "died": "died, as it should",
    "survived": "survived, so that the clause proves nothing here",
    "undecided": "inconclusive, so that it proves nothing",
    "static": "static: the checker's own tests prove that the clause can fail",
    "not run": "not run",
}
_TICKS = 6  # times on a chart's scale
_LANES = {"calls": ("call", "return"), "exporter": ("enter", "leave"), "gate": ("gate",), "wire": ("wire",)}


@dataclass(frozen=True)
class _Bar:
    """A bar in a lane of a timeline's chart, from one event to another."""

    kind: str
    text: str
    title: str
    first: int
    """A grid line: that before the event in this place, from 1."""
    last: int
    point: bool = False


@dataclass(frozen=True)
class _Lane:
    name: str
    bars: list[_Bar]


def as_html(report: Report, *, strict: bool = False) -> str:
    """The report as an HTML document."""
    environment = Environment(
        loader=PackageLoader(__package__, "page"), autoescape=True, undefined=StrictUndefined, finalize=_shown
    )
    style, script = (environment.loader.get_source(environment, name)[0] for name in ("report.css", "report.js"))  # type: ignore[union-attr]  # it is set above
    master = as_json(report, strict=strict)
    clauses: list[dict[str, Any]] = [_seen(clause, master["modes"]) for clause in master["clauses"]]
    found = Counter(verdict for clause in clauses for verdict in clause["verdicts"])
    return environment.get_template("report.html.jinja").render(
        report=master,
        style=f":root {{ --modes: {len(master['modes'])} }}\n{style}",
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        families=[
            {"id": family, "title": FAMILIES.get(family, family), "clauses": list(members)}
            for family, members in groupby(clauses, lambda clause: clause["id"].partition("-")[0])
        ],
        first=list(_first(clauses)),
        counts={mode: _counts(clauses, mode) for mode in master["modes"]},
        states={
            mode: _STATES.get(conclude(report, mode, strict=strict).exit_code, "incomplete") for mode in master["modes"]
        },
        verdicts=[verdict for verdict in _WORDS if found[verdict]],
        levels=[one for one in ("MUST", "SHOULD", "INFO") if any(clause["level"] == one for clause in clauses)],
        words=_WORDS,
        meanings=_MEANINGS,
        techniques=TECHNIQUES,
        tiers=_TIERS,
        modes=_MODES,
        canaries=_CANARIES,
    )


def _shown(value: Any) -> Any:  # Any: whatever the template writes
    """Text with control characters, which HTML has no form for, written as escapes."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(one if one in "\n\t" else printable(one) for one in value)


def _seen(clause: dict[str, Any], modes: Sequence[str]) -> dict[str, Any]:  # Any: JSON
    """The clause with additions for the page: charts, and None for a missing result."""
    results = {
        mode: result and {**result, "lanes": list(_lanes(result["timeline"])), "scale": _scale(result["timeline"])}
        for mode in modes
        for result in [clause["results"].get(mode)]
    }
    verdicts = [result["verdict"] if result else _NOT_RUN for result in results.values()]
    return {**clause, "results": results, "verdicts": verdicts, "opened": Verdict.FAIL in verdicts}


def _first(clauses: Sequence[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:  # Any: JSON
    """Each clause to look at first, with the modes in which the same was seen and one of their results."""
    for verdict in _FIRST:
        for clause in clauses:
            found: dict[str, list[str]] = {}
            for mode, result in clause["results"].items():
                if result and result["verdict"] == verdict:
                    found.setdefault(result["seen"], []).append(mode)
            yield from ((clause, " and ".join(modes), clause["results"][modes[0]]) for modes in found.values())


def _counts(clauses: Sequence[dict[str, Any]], mode: str) -> dict[str, int]:  # Any: JSON
    found = Counter(result["verdict"] if (result := clause["results"][mode]) else _NOT_RUN for clause in clauses)
    return {verdict: found[verdict] for verdict in _WORDS if found[verdict]}


def _scale(timeline: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:  # Any: JSON
    """The columns of some events, spread over the chart, with their seconds."""
    step = max(1, -(-len(timeline) // _TICKS))
    return [(place + 1, timeline[place]["seconds"]) for place in range(0, len(timeline), step)]


def _lanes(timeline: Sequence[dict[str, Any]]) -> Iterator[_Lane]:  # Any: JSON
    """The chart of a timeline: a column for each event, since it is order that decides; a bar from begin to end."""
    for name, kinds in _LANES.items():
        events = [(place, one) for place, one in enumerate(timeline, 1) if one["kind"] in kinds]
        if events:
            yield _Lane(name, list(_bars(events, len(timeline))))


def _bars(events: Sequence[tuple[int, dict[str, Any]]], last: int) -> Iterator[_Bar]:  # Any: JSON
    rest = list(events)
    while rest:
        place, event = rest.pop(0)
        kind, text = event["kind"], event["text"]
        if kind == "wire" or (kind, text) == ("gate", "opened") or kind in ("return", "leave"):
            yield _Bar(kind, "", text, place, place + 1, point=True)
            continue
        end = next((one for one in rest if _ends(event, one[1])), None)
        if end is not None:
            rest.remove(end)
        title = text if end is None else f"{text}: {end[1]['text']}" if kind == "call" else text
        yield _Bar(kind, text, title, place, (end[0] if end else last) + 1)


def _ends(begin: dict[str, Any], one: dict[str, Any]) -> bool:  # Any: JSON
    """True if the second event ends the call, stay or shut gate that began with the first."""
    if begin["kind"] == "call":
        return one["kind"] == "return" and str(one["text"]).startswith(f"{begin['text']} ")
    if begin["kind"] == "enter":
        return one["kind"] == "leave" and bool(one["text"] == begin["text"])
    return bool(one["text"] == "opened")
