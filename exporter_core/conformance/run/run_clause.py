"""Running one clause in this process: the run itself, its canary, and the verdict that the two make."""

from __future__ import annotations

import gc
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache, partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from exporter_core.conformance.case import Case
from exporter_core.conformance.clause import DELIVERS
from exporter_core.conformance.resources import descriptors, empty_folder
from exporter_core.conformance.run.verdicts import Run, Settings, Verdict, VerdictError
from exporter_core.conformance.sdk import STANDS_ALONE, WITHOUT_CHANNEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from exporter_core.conformance.base_case import BaseCase
    from exporter_core.conformance.clause import Clause
    from exporter_core.conformance.observe.harness import Harness
    from exporter_core.conformance.observe.journal import Event, Exchange
    from exporter_core.conformance.subject import Mode, Subject

_LONGEST: Final = 1000  # characters of a line of the report
_TRACED: Final = 20_000  # characters of a traceback in it


def run_clause(
    clause: Clause,
    subject: Subject,
    mode: Mode,
    settings: Settings,
    failed: Mapping[str, Verdict],
    *,
    never_delivers: bool = False,
) -> Run:
    """Run one clause on an exporter, and if it passes its canary.

    Args:
        clause: the clause.
        subject: the exporter.
        mode: raw or behind the guard.
        settings: seed and bounds.
        failed: the clauses that did not pass before, which may block this one.
        never_delivers: True if nothing of any export arrived before.
    """
    excused = _excused(clause, subject, mode, failed)
    if excused is None and never_delivers and clause.is_about_deliveries:
        seen = f"{DELIVERS} failed first: nothing that was exported arrived"
        excused = VerdictError(Verdict.BLOCKED, seen, clause.promise)
    if excused is not None:
        run = Run(clause.id, mode, Verdict.PASS)
        run.give(excused)
        return run
    if subject.harness is not None and subject.harness.real:
        settings = replace(settings, canaries=False)
    return run_with_canary(clause, mode, settings, partial(Case, clause, subject, mode, settings, failed=failed))


def run_with_canary(clause: Clause, mode: str, settings: Settings, make: Callable[..., BaseCase]) -> Run:
    """Run one clause, and if it passes its canary.

    Args:
        clause: the clause.
        mode: the exporter's mode, or the reader's name.
        settings: seed and bounds.
        make: makes a case, given an empty folder and ``canary``, True for a canary run.
    """
    began = monotonic()
    run = _run_once(clause, mode, partial(make, canary=False))
    if run.verdict is Verdict.PASS and not run.tainted:
        if clause.canary is None:
            run.canary = "static"
        elif not settings.canaries:
            run.canary = "not run"
        else:
            _enter_canary(clause, run, _run_once(clause, mode, partial(make, canary=True)))
    run.seconds = round(monotonic() - began, 4)
    return run


def _enter_canary(clause: Clause, run: Run, canary: Run) -> None:
    """Enter the result of the canary run in the run that passed."""
    run.tainted, run.canary_seen = canary.tainted, canary.seen
    match canary.verdict:
        case Verdict.FAIL:
            run.canary = "died"
        case Verdict.PASS:
            run.canary, run.verdict = "survived", Verdict.UNOBSERVABLE
            run.seen = f"the canary survived: with its fault ({clause.fault}) the clause passes as well"
        case Verdict.KIT_ERROR:
            run.verdict, run.seen = Verdict.KIT_ERROR, f"the canary run failed: {canary.seen}"
        case _:
            run.canary, run.verdict = "undecided", canary.verdict
            run.seen = f"the canary run was inconclusive: {canary.seen}"


def _excused(clause: Clause, subject: Subject, mode: Mode, failed: Mapping[str, Verdict]) -> VerdictError | None:
    """The verdict on a clause that is not run at all; None for one that is."""
    of_the_sdk = mode == "raw" and subject.of_the_sdk
    if of_the_sdk and clause.id in WITHOUT_CHANNEL:
        return VerdictError(*WITHOUT_CHANNEL[clause.id])
    alone = STANDS_ALONE.get(clause.id, frozenset()) if of_the_sdk else frozenset()
    for before in clause.foundations:
        if before not in alone and failed.get(before) in (Verdict.FAIL, Verdict.BLOCKED, Verdict.KIT_ERROR):
            return VerdictError(Verdict.BLOCKED, f"{before} failed first", clause.promise)
    return _unsuitable(clause, subject.harness)


def _unsuitable(clause: Clause, harness: type[Harness] | None) -> VerdictError | None:
    """The verdict on a clause that does not apply, or that the harness cannot show; None for one that it can."""
    for pattern, reason in (harness.capabilities.not_applicable if harness else {}).items():
        if fnmatchcase(clause.id, pattern):
            return VerdictError(Verdict.NOT_APPLICABLE, reason)
    unseen = ""
    missing = [fault for fault in clause.faults if harness is not None and fault not in harness.faults]
    if harness is None:
        if clause.faults or {"read_back", "gate"}.intersection(clause.needs):
            unseen = "there is no harness: nothing shows what was delivered"
    elif "gate" in clause.needs and not harness.gated:
        unseen = "the harness has no gate to hold a delivery with"
    elif missing:
        unseen = f"the harness cannot do the fault {', '.join(missing)}"
    return VerdictError(Verdict.UNOBSERVABLE, unseen) if unseen else None


def _run_once(clause: Clause, mode: str, make: Callable[[Path], BaseCase]) -> Run:
    """Run the clause once, without its canary or with it."""
    run = Run(clause.id, mode, Verdict.PASS)
    gc.collect()  # sockets of earlier clauses' exporters are closed before, and not meanwhile
    before = descriptors()
    with empty_folder("conformance-") as directory:
        case = make(Path(directory))
        try:
            clause.function(case)
            if not case.observations:
                run.verdict, run.seen = Verdict.KIT_ERROR, "the clause ended without an observation"
        except VerdictError as error:
            _give(run, case, error)
        except Exception as error:  # noqa: BLE001 - what an exporter, a reader, a harness or the kit did not foresee
            foreseen = case.unforeseen(error)
            foreseen.__cause__ = error
            _give(run, case, foreseen)
        try:
            case.close()
        except VerdictError as error:
            run.verdict, run.seen = error.verdict, error.seen
        if run.verdict is Verdict.KIT_ERROR and (taken := [one for one in before if one not in descriptors()]):
            # What the kit could not do after that is the subject's doing.
            run.verdict, run.expected = Verdict.FAIL, "the exporter closes no descriptor but its own"
            number, what = taken[0]
            run.seen = f"it closed descriptor {number} ({what}), which is the checker's; then {run.seen}"
            case.tainted = True
        _enter(run, case)
    return run


def _give(run: Run, case: BaseCase, error: VerdictError) -> None:
    """Take over the verdict, with the place of what it rests on."""
    run.give(error)
    if error.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE, Verdict.INEXPRESSIBLE):
        run.where, run.traceback = case.evidence(error)
    case.journal.stamp("verdict", error.verdict)


def _enter(run: Run, case: BaseCase) -> None:
    """Enter the case's observations in the run, secrets masked."""
    mask = cache(case.masker())  # many lines of a timeline are alike

    def one_line(text: str) -> str:
        line = " ".join(mask(text).split())  # in this order: a secret may have two spaces in a row
        return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."  # and its beginning is no longer found

    run.expected, run.seen, run.where = one_line(run.expected), one_line(run.seen), one_line(run.where)
    run.traceback = mask(run.traceback)[-_TRACED:]
    run.observations = [one_line(text) for text in case.observations]
    run.timeline = [{**line, "text": one_line(line["text"])} for line in _timeline(case.journal.events)]
    run.wire = [
        {
            **line,
            "request": mask(line["request"]),
            # With its name, which says of some values that they are secret.
            "headers": [[name, mask(f"{name}: {value}").partition(": ")[2]] for name, value in line["headers"]],
            "answer": line["answer"] and mask(line["answer"]),
            "problems": [mask(text) for text in line["problems"]],
        }
        for line in _wire_log(case.exchanges, case.journal.events)
    ]
    run.tainted, run.never_delivers, run.overran = case.tainted, case.never_delivers, case.overran
    run.hung = case.hung
    run.seed = case.found_seed


def _timeline(events: Sequence[Event]) -> list[dict[str, Any]]:  # Any: JSON
    """The events as JSON, in the order in which they happened; seconds count from the first."""
    since = _clock(events)
    ordered = sorted(events, key=lambda event: event.seconds)
    return [{**event._asdict(), "seconds": since(event.seconds)} for event in ordered]


def _wire_log(exchanges: Sequence[Exchange], events: Sequence[Event]) -> list[dict[str, Any]]:  # Any: JSON
    """The exchanges as JSON, on the same clock."""
    since = _clock(events)
    return [
        {
            **{name: value for name, value in one._asdict().items() if name != "digests"},
            "seconds": since(one.seconds),
            "stored": since(one.stored),
            "answered": since(one.answered),
            "headers": [list(header) for header in one.headers],
            "problems": list(one.problems),
        }
        for one in sorted(exchanges, key=lambda one: one.seconds)
    ]


def _clock(events: Sequence[Event]) -> Callable[[float | None], float | None]:
    start = min((event.seconds for event in events), default=0.0)
    return lambda seconds: None if seconds is None else round(seconds - start, 6)
