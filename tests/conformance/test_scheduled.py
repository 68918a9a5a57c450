"""The scheduled clauses: what they find is found again by its seed, and what they cannot see is never a PASS."""

from __future__ import annotations

import inspect
import os
import socket
import threading

import pytest

from exporter_core.cli import main
from exporter_core.conformance import scheduled
from exporter_core.conformance.clause import clauses, select
from exporter_core.conformance.report import conclude
from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.run_clause import run_clause
from exporter_core.conformance.run.verdicts import Settings, Verdict
from exporter_core.conformance.scheduler import unscheduled as strangers
from exporter_core.conformance.subject import Subject, resolve
from exporter_core.errors import ExporterError
from kit.memory import MemoryHarness
from kit.mutants import MUTANTS
from kit.reference import BufferingExporter, ReferenceExporter

SCHEDULED = {one.id: one for one in clauses() if one.technique == "P"}
RACING = [
    mutant
    for mutant in MUTANTS
    if mutant.clause in SCHEDULED and not inspect.iscoroutinefunction(mutant.exporter.shutdown)
]
PLAIN = Settings(schedules=2, canaries=False)


@pytest.fixture(autouse=True)
def only_threads_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of execnet, in a process of pytest-xdist, are not known to ``threading``."""
    monkeypatch.setattr(strangers, "_threads", lambda: len(threading.enumerate()))


def _run(exporter_class: type, clause: str, settings: Settings = PLAIN, mode: str = "raw"):
    subject = Subject("here", exporter_class, exporter_class.conformance_harness, None)
    return run_clause(SCHEDULED[clause], subject, mode, settings, {})


# --- what is found ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", RACING, ids=lambda mutant: mutant.exporter.__name__)
def test_the_seed_in_a_report_shows_the_failure_at_once(mutant) -> None:
    clause, subject = SCHEDULED[mutant.clause], resolve(mutant.target)
    found = run_clause(clause, subject, "raw", Settings(canaries=False), {})
    assert found.verdict is Verdict.FAIL
    assert found.seed is not None  # in plain order there is nothing to be seen
    again = run_clause(clause, subject, "raw", Settings(seed=found.seed, schedules=1, canaries=False), {})
    assert again.verdict is Verdict.FAIL
    assert again.seed == found.seed
    assert again.seen.partition("(with")[2] == found.seen.partition("(with")[2]  # the identities differ
    assert mutant.seen in again.seen


def test_a_report_says_which_line_was_interrupted_and_how_to_see_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    target = "kit.mutants.racing:CheckThenSet"
    assert main(["check", target, "--clause", "SHD-08", "--raw", "--seed", "7"]) == 1
    out = capsys.readouterr().out
    seed = out.partition("with seed ")[2].partition(",")[0]
    command = f"exporter-core check {target} --clause SHD-08 --raw --seed {seed}"
    assert command in " ".join(out.split())
    assert "interrupting 'thread" in out
    assert "mutants/racing.py:" in out
    settings = Settings(seed=int(seed), schedules=1, canaries=False)
    again = check(target, patterns=["SHD-08"], modes=["raw"], settings=settings).run("SHD-08", "raw")
    assert again.verdict is Verdict.FAIL  # in another process


@pytest.mark.parametrize(
    ("exporter", "mode"),
    [
        ("ReferenceExporter", "raw"),
        ("BufferingExporter", "guarded"),
        pytest.param("ReferenceExporter", "guarded", marks=pytest.mark.nightly),
        pytest.param("BufferingExporter", "raw", marks=pytest.mark.nightly),
    ],
)
def test_each_canary_dies_of_its_recorded_seed(exporter: str, mode: str) -> None:
    subject = resolve(f"kit.reference:{exporter}")
    for clause in SCHEDULED.values():
        run = run_clause(clause, subject, mode, Settings(schedules=1), {})
        assert run.verdict is Verdict.PASS, run.seen
        assert f"(with seed {clause.canary.seed}" in run.canary_seen


class TwoAtOnce(BufferingExporter):
    """Has no turn for exports."""

    def export(self, context, metrics):
        self._refuse()
        self._buffer = [*self._buffer, metrics]


def test_an_exporter_that_is_not_safe_for_two_exports_at_once_is_told_so_and_conformant() -> None:
    run = _run(TwoAtOnce, "CON-01", Settings())
    assert run.verdict is Verdict.NOT_APPLICABLE
    assert "of two at once: 1 lost" in run.seen
    report = check("kit.mutants.racing:TwoAtOnce", patterns=["CON-01", "SHD-07"], modes=["raw"])
    assert report.run("CON-01", "raw").verdict is Verdict.NOT_APPLICABLE
    assert conclude(report, strict=True).sentence.startswith("incomplete: 1 of ")  # CON-01 never decides


class FailsToFlush(BufferingExporter):
    """Refuses a second flush instead of waiting."""

    def force_flush(self, context):
        if self._running is not None:
            raise ExporterError("busy")
        super().force_flush(context)


def test_a_flush_that_refuses_to_run_beside_another_one_is_not_safe_beside_it() -> None:
    run = _run(FailsToFlush, "FLU-05", Settings(canaries=False))
    assert run.verdict is Verdict.FAIL
    assert "it raised ExporterError: busy" in run.seen


# --- what cannot be seen ---------------------------------------------------------------------------------------------


class MakesSockets(ReferenceExporter):
    """Sends itself a byte."""

    def _deliver(self, context, metrics):
        sender, receiver = socket.socketpair()
        with sender, receiver:
            sender.send(b"x")
            receiver.recv(1)
        super()._deliver(context, metrics)


def test_an_exporter_that_uses_sockets_runs_on_real_threads_too() -> None:
    run = _run(MakesSockets, "SHD-09")
    assert run.verdict is Verdict.PASS
    assert "orders of its calls on real threads" in run.observations[0]
    assert "a socket was made" in run.observations[1]


class WithoutGate(MemoryHarness):
    """Cannot hold a delivery."""

    gated = False


def test_without_a_gate_an_exporter_that_uses_sockets_is_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MakesSockets, "conformance_harness", WithoutGate)
    run = _run(MakesSockets, "SHD-09")
    assert run.verdict is Verdict.UNOBSERVABLE
    assert "a socket was made" in run.seen
    assert _run(MakesSockets, "KND-04").verdict is Verdict.PASS  # no socket is made there


class SwallowsBesideSockets(MakesSockets):
    """Loses what it says that it has sent."""

    def _deliver(self, context, metrics):
        super()._deliver(context, metrics)
        self._sink.arrived.clear()


def test_a_promise_that_is_seen_broken_fails_whatever_else_is_not_seen() -> None:
    run = _run(SwallowsBesideSockets, "SHD-09")
    assert run.verdict is Verdict.FAIL
    assert "lost" in run.seen


class WaitsInC(ReferenceExporter):
    """Reads from a pipe that nobody writes to, until the test does."""

    reading, writing = -1, -1

    def _deliver(self, context, metrics):
        os.read(self.reading, 1)


def test_a_wait_that_the_scheduler_does_not_see_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    WaitsInC.reading, WaitsInC.writing = os.pipe()
    monkeypatch.setattr(scheduled, "STALL_SECONDS", 0.2)
    try:
        run = _run(WaitsInC, "CON-01")
    finally:
        os.close(WaitsInC.writing)
        os.close(WaitsInC.reading)
    assert run.verdict is Verdict.UNOBSERVABLE
    assert "stalled" in run.seen
    assert run.tainted


class Async(ReferenceExporter):
    """Has one async operation."""

    async def force_flush(self, context):
        super().force_flush(context)


@pytest.mark.parametrize(("clause", "mode"), [("FLU-05", "raw"), ("KND-04", "guarded")])
def test_async_operations_are_on_a_loop_and_run_on_real_threads(clause: str, mode: str) -> None:
    run = _run(Async, clause, mode=mode)
    assert run.verdict is Verdict.PASS
    assert "event loop, which the scheduler does not run" in run.observations[0]


def test_without_a_gate_async_operations_are_not_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Async, "conformance_harness", WithoutGate)
    run = _run(Async, "FLU-05")
    assert run.verdict is Verdict.UNOBSERVABLE
    assert "event loop" in run.seen


class Deadlocks(ReferenceExporter):
    """Takes its lock twice, beside a thread that Python does not know."""

    def shutdown(self, context):
        with self._state, self._state:
            pass


@pytest.mark.parametrize(("others", "verdict"), [(0, Verdict.FAIL), (1, Verdict.UNOBSERVABLE)])
def test_a_deadlock_is_a_failure_unless_threads_that_python_does_not_know_may_end_it(
    others: int, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "_threads", lambda: len(threading.enumerate()) + others)
    monkeypatch.setattr(strangers, "_EXIT_SECONDS", 0.0)
    run = _run(Deadlocks, "SHD-08")
    assert run.verdict is verdict
    assert "deadlock" in run.seen


# --- what is interrupted ---------------------------------------------------------------------------------------------


def _own(exporter_class: type, mode: str = "raw") -> set[str]:
    class Case:
        canary = None
        subject = Subject("here", exporter_class, None, None)

    Case.mode = mode
    return {module.__name__ for module in scheduled.own_code(Case)}


def test_the_exporters_package_and_its_bases_are_interrupted_and_the_guard_behind_it() -> None:
    from exporter_core_console import ConsoleExporter

    own = {"exporter_core_console", "exporter_core.authoring.serial", "exporter_core.exporter"}
    assert _own(ConsoleExporter) == own
    assert _own(ConsoleExporter, "guarded") == own | {"exporter_core.guard"}
    assert _own(Async) == {__name__, "kit.reference", "exporter_core.exporter"}


# --- selecting -------------------------------------------------------------------------------------------------------


def test_scheduled_clauses_are_selected_by_their_technique_and_left_out_by_it() -> None:
    assert {one.id for one in select(["P"])} == set(SCHEDULED) == {"KND-04", "FLU-05", "SHD-08", "SHD-09", "CON-01"}
    assert {one.id for one in select(["!p"])} == {one.id for one in clauses()} - set(SCHEDULED)
    assert {one.id for one in select(["SHD-0[89]", "!SHD-09"])} == {"SHD-08"}
    assert select(["P", "!*"]) == ()
