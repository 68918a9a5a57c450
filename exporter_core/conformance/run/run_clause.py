"""Running one clause in this process: the run itself, its canary, and the verdict that the two make."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from exporter_core.conformance.case import Case, lines, wire_lines
from exporter_core.conformance.observe.journal import words_of
from exporter_core.conformance.run.verdicts import Verdict, VerdictError
from exporter_core.masking import Masker, masker_for

if TYPE_CHECKING:
    from exporter_core.conformance.clause import Clause
    from exporter_core.conformance.observe.harness import Harness
    from exporter_core.conformance.subject import Mode, Subject

PATIENCE = 7.0
"""Seconds after which a run that still waits has failed; fewer than the 10 after which most exporters that ignore a
deadline give up by themselves, so that they cannot seem to have kept it."""

_LONGEST: Final = 1000  # characters of a line of the report

SCHEDULES = 53
"""The seeds that each scheduled clause tries: a race that one in twelve finds is missed once in a hundred times."""


@dataclass(frozen=True)
class Settings:
    """How clauses are run."""

    seed: int = 1
    schedules: int = SCHEDULES
    patience: float = PATIENCE
    canaries: bool = True


@dataclass
class Run:
    """What came of one clause."""

    id: str
    mode: str
    verdict: Verdict
    expected: str = ""
    seen: str = ""
    observations: list[str] = field(default_factory=list)
    canary: str = ""
    """``died``, ``survived``, ``undecided``, ``static`` or ``not run``; empty where the clause did not pass."""
    canary_seen: str = ""
    timeline: list[dict[str, Any]] = field(default_factory=list)
    wire: list[dict[str, Any]] = field(default_factory=list)
    """The requests that the backend got, with their answers."""
    seconds: float = 0.0
    tainted: bool = False
    seed: int | None = None
    """The seed that shows a failure at once, if it is another than that of the settings."""
    dump: str = ""
    """The stacks of all threads, if the run hung."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**vars(self), "verdict": str(self.verdict)}


def run_clause(clause: Clause, subject: Subject, mode: Mode, settings: Settings, failed: dict[str, Verdict]) -> Run:
    """Run one clause, and if it passes its canary.

    Args:
        clause: which.
        subject: the exporter.
        mode: raw or behind the guard.
        settings: how.
        failed: the clauses that did not pass before, which may block this one.
    """
    blocked = _excused(clause, subject, failed)
    if blocked is not None:
        return Run(clause.id, mode, blocked.verdict, blocked.expected, blocked.seen)
    began = monotonic()
    run = _run(clause, subject, mode, settings, canary=False)
    if run.verdict is Verdict.PASS and not run.tainted:
        _try_canary(clause, subject, mode, settings, run)
    run.seconds = round(monotonic() - began, 4)
    return run


def _try_canary(clause: Clause, subject: Subject, mode: Mode, settings: Settings, run: Run) -> None:
    if clause.canary is None:
        run.canary = "static"
    elif not settings.canaries or (subject.harness is not None and subject.harness.real):
        run.canary = "not run"
    else:
        canary = _run(clause, subject, mode, settings, canary=True)
        run.tainted = canary.tainted
        run.canary_seen = canary.seen
        if canary.verdict is Verdict.PASS:
            run.canary = "survived"
            run.verdict = Verdict.UNOBSERVABLE
            run.seen = f"the canary survived: with its fault ({clause.canary.__doc__}) the clause passes as well"
        elif canary.verdict is Verdict.KIT_ERROR:
            run.verdict, run.seen = Verdict.KIT_ERROR, f"the canary run failed: {canary.seen}"
        elif canary.verdict is Verdict.FAIL:
            run.canary = "died"
        else:
            run.canary, run.verdict = "undecided", canary.verdict
            run.seen = f"the canary run came to no point: {canary.seen}"


def _excused(clause: Clause, subject: Subject, failed: dict[str, Verdict]) -> VerdictError | None:
    """Why the clause is not run at all."""
    harness = subject.harness
    if "partial_success" in clause.needs and subject.of_the_sdk:
        return VerdictError(Verdict.INEXPRESSIBLE, "a MetricExportResult cannot say how many points were refused")
    first = "INT-01"
    for before in (first, *clause.after) if clause.technique != "T" else ():
        if failed.get(before) in (Verdict.FAIL, Verdict.BLOCKED, Verdict.KIT_ERROR):
            return VerdictError(Verdict.BLOCKED, f"{before} failed first", clause.promise)
    for pattern, reason in (harness.capabilities.not_applicable if harness else {}).items():
        if fnmatchcase(clause.id, pattern):
            return VerdictError(Verdict.NOT_APPLICABLE, reason)
    unseen = _unobservable(clause, harness)
    return None if unseen is None else VerdictError(Verdict.UNOBSERVABLE, unseen)


def _unobservable(clause: Clause, harness: type[Harness] | None) -> str | None:
    if harness is None:
        needed = {"read_back", "gate"}.intersection(clause.needs) or clause.faults
        return "there is no harness: nothing shows what was delivered" if needed else None
    if "gate" in clause.needs and not harness.gated:
        return "the harness has no gate to hold a delivery with"
    missing = [fault for fault in clause.faults if fault not in harness.faults]
    return f"the harness cannot do the fault {', '.join(missing)}" if missing else None


def _run(clause: Clause, subject: Subject, mode: Mode, settings: Settings, *, canary: bool) -> Run:
    run = Run(clause.id, mode, Verdict.PASS)
    with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as directory:
        case = Case(
            clause,
            subject,
            mode,
            directory=Path(directory),
            seed=settings.seed,
            schedules=settings.schedules,
            patience=settings.patience,
            canary=canary,
        )
        try:
            clause.function(case)
            if not case.observations:
                run.verdict, run.seen = Verdict.KIT_ERROR, "the clause ended without an observation"
        except VerdictError as error:
            run.verdict, run.expected, run.seen = error.verdict, error.expected, error.seen
        except Exception as error:  # noqa: BLE001 - what an exporter, a harness or the kit did not foresee
            run.verdict, run.seen = _unforeseen(error, case)
        try:
            case.close()
        except VerdictError as error:
            run.verdict, run.seen = error.verdict, error.seen
        _mask(run, case)
        run.tainted = case.tainted
        run.seed = case.found_seed
    return run


def _unforeseen(error: Exception, case: Case) -> tuple[Verdict, str]:
    text = words_of(error)
    if not case._driven:
        return Verdict.INCONCLUSIVE, f"the exporter cannot be built: {text}"
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" ({place.tb_frame.f_code.co_filename}:{place.tb_lineno})" if place is not None else ""
    return Verdict.KIT_ERROR, f"{text}{where}"


def _mask(run: Run, case: Case) -> None:
    secrets = [case.subject.harness.secret or ""] if case.subject.harness else []
    masked = [Masker(secrets), masker_for(case.options)]

    def mask(text: str) -> str:
        for one in masked:
            text = one(text)
        return text

    def one_line(text: str) -> str:
        line = " ".join(mask(text).split())  # in this order: a secret may have two spaces in a row
        return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."  # and its beginning is no longer found

    run.expected, run.seen = one_line(run.expected), one_line(run.seen)
    run.observations = [one_line(text) for text in case.observations]
    run.timeline = [{**line, "text": one_line(line["text"])} for line in lines(case.journal.events)]
    run.wire = [
        {
            **line,
            "request": mask(line["request"]),
            # With its name, which says of some values that they are secret.
            "headers": [[name, mask(f"{name}: {value}").partition(": ")[2]] for name, value in line["headers"]],
            "answer": line["answer"] and mask(line["answer"]),
            "problems": [mask(text) for text in line["problems"]],
        }
        for line in wire_lines(case.exchanges, case.journal.events)
    ]
