"""Runs every clause on many exporters, each in a forked child of this process, which costs no imports.

Only a process without other threads may do this, so it is for programs of their own.
"""

from __future__ import annotations

import gc
import os
import select
import signal
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final, NoReturn, cast

from exporter_core.conformance.clause import clauses
from exporter_core.conformance.generated import batches_of
from exporter_core.conformance.observe import first_state
from exporter_core.conformance.run.messages import decode, encode
from exporter_core.conformance.run.run_clause import run_clause
from exporter_core.conformance.run.verdicts import Run, Settings, Verdict
from exporter_core.conformance.subject import Mode, prepare, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_BOUND: Final = 300.0  # seconds for one child


@dataclass(frozen=True)
class Candidate:
    """One subject in one mode."""

    target: str
    mode: Mode
    settings: Settings
    only: str = ""
    """The one clause that is run; all of them if it is empty."""


@dataclass
class _Child:
    number: int
    candidate: Candidate
    since: float
    told: bytes = b""


def run_all(candidates: Iterable[Candidate], *, at_once: int) -> Iterator[tuple[Candidate, list[Run]]]:
    """Run the candidates, some at once; each with the results of its clauses as soon as it is over.

    A child that dies, or hangs and is killed, has the results that it came to.
    """
    clauses()
    batches_of(Settings().seed)  # what Hypothesis does once, every child has
    gc.collect()
    gc.freeze()  # what is imported need not be looked through by every clause that counts what is left
    waiting = iter(candidates)
    running: dict[int, _Child] = {}
    while True:
        while len(running) < at_once and (candidate := next(waiting, None)) is not None:
            running.update([_start(candidate)])
        if not running:
            return
        for reading in select.select(list(running), [], [], 1.0)[0]:
            data = os.read(reading, 1 << 20)
            running[reading].told += data
            if not data:
                os.close(reading)
                child = running.pop(reading)
                os.waitpid(child.number, 0)
                yield child.candidate, [cast("Run", decode(line)) for line in child.told.splitlines()]
        for child in running.values():
            if monotonic() > child.since + _BOUND:
                os.kill(child.number, signal.SIGKILL)


def _start(candidate: Candidate) -> tuple[int, _Child]:
    reading, writing = os.pipe()
    number = os.fork()
    if not number:
        _run(candidate, writing)
    os.close(writing)
    return reading, _Child(number, candidate, monotonic())


def _run(candidate: Candidate, writing: int) -> NoReturn:
    """Run the clauses in this child, and end it without what the parent has to do at its end."""
    try:
        subject = resolve(candidate.target)
        if candidate.mode == "raw":
            prepare()
        first_state.remember()
        failed: dict[str, Verdict] = {}
        never_delivers = False
        for clause in [one for one in clauses() if candidate.only in ("", one.id)]:
            settings = candidate.settings
            run = run_clause(clause, subject, candidate.mode, settings, failed, never_delivers=never_delivers)
            never_delivers |= run.never_delivers
            if run.verdict is not Verdict.PASS:
                failed[clause.id] = run.verdict
            os.write(writing, encode(run))
    finally:
        os._exit(0)
