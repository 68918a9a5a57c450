"""The base class keeps the contract by itself: turns, done contexts, shutdown, own time-out, forks."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import DefaultAggregation, ExponentialBucketHistogramAggregation

from exporter_core import (
    Context,
    ContextCancelledError,
    DeadlineExceededError,
    ExporterError,
    ExporterShutdownError,
    InstrumentKind,
)
from exporter_core.authoring import PreferenceOptions, SerialExporter
from exporter_core.sync import Latch, Turn
from exporter_core.testing import FakeClock

pytestmark = pytest.mark.usefixtures("warm_python")

GENEROUS = 30.0  # seconds; ends a failing test, never decides a passing one


@pytest.fixture
def running(exporter, in_thread, metrics):
    """An export that stands at the gate; its outcome."""
    exporter.gate = Latch()
    outcome = in_thread(exporter.export, Context.background(), metrics)
    assert exporter.entered.acquire(timeout=GENEROUS)
    return outcome


def waits(exporter):
    return lambda: exporter._turn._waiters._signals


# --- one export at a time --------------------------------------------------------------------------------------------


def test_exports_of_two_threads_take_turns(exporter, running, in_thread, metrics, until) -> None:
    second = in_thread(exporter.export, Context.background(), metrics)
    until(waits(exporter))
    assert exporter.events == ["begin"]
    exporter.gate.open()
    running.result(GENEROUS)
    second.result(GENEROUS)
    assert exporter.events == ["begin", "end"] * 2


def test_an_export_gives_up_waiting_for_its_turn_at_its_deadline(exporter, running, metrics) -> None:
    with pytest.raises(DeadlineExceededError):
        exporter.export(Context.with_timeout(0.01), metrics)
    assert exporter.events == ["begin"]
    exporter.gate.open()
    running.result(GENEROUS)


def test_an_export_gives_up_waiting_for_its_turn_when_it_is_cancelled(
    exporter, running, in_thread, metrics, until
) -> None:
    context = Context.background()
    second = in_thread(exporter.export, context, metrics)
    until(waits(exporter))
    context.cancel("enough")
    with pytest.raises(ContextCancelledError, match="enough"):
        second.result(GENEROUS)
    exporter.gate.open()
    running.result(GENEROUS)
    assert exporter.events == ["begin", "end"]


def test_the_turn_is_given_back_after_a_failure(exporter, metrics) -> None:
    exporter.gate = Latch()
    for _ in range(2):
        with pytest.raises(DeadlineExceededError):
            exporter.export(FakeClock(auto_advance=True).context(timeout=1), metrics)
    assert exporter.events == ["begin", "end"] * 2


# --- done contexts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["export", "force_flush"])
def test_a_done_context_is_refused(exporter, metrics, operation) -> None:
    cancelled = Context.background()
    cancelled.cancel("too late")
    arguments = (metrics,) if operation == "export" else ()
    with pytest.raises(ContextCancelledError, match="too late"):
        getattr(exporter, operation)(cancelled, *arguments)
    with pytest.raises(DeadlineExceededError):
        getattr(exporter, operation)(Context.with_timeout(0), *arguments)
    assert exporter.events == []


def test_a_flush_waits_for_no_export(exporter, running) -> None:
    exporter.force_flush(Context.background())
    exporter.gate.open()
    running.result(GENEROUS)


def test_the_context_of_a_delivery_ends_with_the_callers(exporter, in_thread, metrics) -> None:
    exporter.gate, context = Latch(), Context.background()
    outcome = in_thread(exporter.export, context, metrics)
    assert exporter.entered.acquire(timeout=GENEROUS)
    context.cancel("enough")
    with pytest.raises(ContextCancelledError, match="enough"):
        outcome.result(GENEROUS)


def test_what_a_delivery_raises_is_raised_as_it_is(exporter, metrics) -> None:
    failure = ExporterError("the backend is gone")

    def fail(context) -> None:
        raise failure

    exporter.gate, exporter.on_cancelled = Latch(), fail
    with pytest.raises(ExporterError) as raised:
        exporter.export(FakeClock(auto_advance=True).context(timeout=1), metrics)
    assert raised.value is failure


@pytest.mark.parametrize("error", [DeadlineExceededError("of a step"), ContextCancelledError("of a step")])
def test_the_error_of_another_context_is_raised_as_it_is(metrics, error) -> None:
    class Fails(SerialExporter):
        def deliver(self, context, metrics) -> None:
            raise error

    with pytest.raises(type(error)) as raised:
        Fails(Fails.config_model()).export(Context.background(), metrics)
    assert raised.value is error


# --- the exporter's own time-out -------------------------------------------------------------------------------------


def test_the_exporters_own_timeout_ends_an_export_and_is_named(exporter, metrics) -> None:
    exporter.gate, exporter.timeout = Latch(), 0.01
    with pytest.raises(DeadlineExceededError, match=r"deadline has passed \(timeout: 0\.01 s\)"):
        exporter.export(Context.background(), metrics)


def test_the_wait_for_the_turn_counts_for_the_exporters_own_timeout(exporter, running, metrics) -> None:
    exporter.timeout = 0.01
    with pytest.raises(DeadlineExceededError, match=r"timeout: 0\.01 s"):
        exporter.export(Context.background(), metrics)
    assert exporter.events == ["begin"]
    exporter.gate.open()
    running.result(GENEROUS)


def test_a_deadline_of_the_caller_that_comes_first_does_not_name_the_exporters_timeout(exporter, metrics) -> None:
    clock = FakeClock(auto_advance=True)
    exporter.gate, exporter.timeout = Latch(), 10
    with pytest.raises(DeadlineExceededError) as raised:
        exporter.export(clock.context(timeout=1), metrics)
    assert "timeout:" not in str(raised.value)


# --- shutdown --------------------------------------------------------------------------------------------------------


def test_shutdown_releases_with_its_own_context(exporter) -> None:
    context = Context.with_timeout(GENEROUS)
    exporter.shutdown(context)
    assert (exporter.events, exporter.contexts) == (["release"], [context])
    assert exporter.is_shut_down


def test_shutdown_is_final_and_refused_the_second_time(exporter, metrics) -> None:
    exporter.shutdown(Context.background())
    with pytest.raises(ExporterShutdownError):
        exporter.shutdown(Context.background())
    with pytest.raises(ExporterShutdownError):
        exporter.export(Context.background(), metrics)
    exporter.force_flush(Context.with_timeout(0))
    assert exporter.events == ["release"]


def test_shutdown_releases_also_when_its_context_is_done(exporter, metrics) -> None:
    with pytest.raises(DeadlineExceededError):
        exporter.shutdown(Context.with_timeout(0))
    assert exporter.events == ["release"]
    with pytest.raises(ExporterShutdownError):
        exporter.export(Context.background(), metrics)


def test_shutdown_waits_for_the_running_export(exporter, running, in_thread, until) -> None:
    shutdown = in_thread(exporter.shutdown, Context.background())
    until(waits(exporter))
    assert exporter.events == ["begin"]
    exporter.gate.open()
    running.result(GENEROUS)
    shutdown.result(GENEROUS)
    assert exporter.events == ["begin", "end", "release"]


def test_an_export_that_waits_for_its_turn_when_the_shutdown_comes_is_refused(
    exporter, running, in_thread, metrics, until
) -> None:
    second = in_thread(exporter.export, Context.background(), metrics)
    until(waits(exporter))
    shutdown = in_thread(exporter.shutdown, Context.background())
    until(lambda: exporter.is_shut_down)
    exporter.gate.open()
    running.result(GENEROUS)
    shutdown.result(GENEROUS)
    with pytest.raises(ExporterShutdownError):
        second.result(GENEROUS)
    assert exporter.events == ["begin", "end", "release"]


@pytest.mark.parametrize("seconds", [0, 0.01])
def test_a_shutdown_that_cannot_wait_cancels_the_export_which_releases_as_it_ends(exporter, running, seconds) -> None:
    with pytest.raises(DeadlineExceededError):
        exporter.shutdown(Context.with_timeout(seconds))
    with pytest.raises(ExporterShutdownError, match="shut down before the export was done"):
        running.result(GENEROUS)
    assert exporter.events == ["begin", "end", "release"]
    assert exporter.contexts[-1].done, "there is no time left for the release"


def test_an_export_that_is_delivered_all_the_same_returns_and_releases(exporter, running) -> None:
    exporter.on_cancelled = lambda context: None
    with pytest.raises(DeadlineExceededError):
        exporter.shutdown(Context.with_timeout(0))
    assert running.result(GENEROUS) is None
    assert exporter.events == ["begin", "end", "release"]


def test_the_callers_cancellation_goes_before_the_shutdowns(exporter, in_thread, metrics) -> None:
    exporter.gate, context = Latch(), Context.background()
    ended = Latch()

    def cancelled(delivery) -> None:
        assert ended.wait(Context.with_timeout(GENEROUS))
        delivery.raise_if_done()

    exporter.on_cancelled = cancelled
    outcome = in_thread(exporter.export, context, metrics)
    assert exporter.entered.acquire(timeout=GENEROUS)
    with pytest.raises(DeadlineExceededError):
        exporter.shutdown(Context.with_timeout(0))
    context.cancel("the caller's")
    ended.open()
    with pytest.raises(ContextCancelledError, match="the caller's"):
        outcome.result(GENEROUS)


def test_what_the_release_raises_is_raised_by_the_shutdown(exporter) -> None:
    def fail() -> None:
        raise OSError("disk full")

    exporter.on_release = fail
    with pytest.raises(OSError, match="disk full"):
        exporter.shutdown(Context.background())
    with pytest.raises(ExporterShutdownError):
        exporter.shutdown(Context.background())
    assert exporter.events == ["release"]


def test_what_the_release_raises_is_logged_without_secrets_when_the_shutdown_has_returned(
    exporter, running, caplog
) -> None:
    def fail() -> None:
        raise OSError("cannot say goodbye with s3cr3t")

    exporter.on_release = fail
    with pytest.raises(DeadlineExceededError):
        exporter.shutdown(Context.with_timeout(0))
    with pytest.raises(ExporterShutdownError):
        running.result(GENEROUS)
    assert caplog.record_tuples == [
        (
            "exporter_core.authoring.serial",
            logging.ERROR,
            "GateExporter: release after the shutdown failed: OSError: cannot say goodbye with ***",
        )
    ]


def test_a_shutdown_that_ctrl_c_interrupts_leaves_the_release_to_the_export(exporter, running) -> None:
    class Interrupted(Turn):
        def take(self, context: Context) -> bool:
            raise KeyboardInterrupt

        def take_if_free(self) -> bool:
            return turn.take_if_free()

    turn = exporter._turn
    exporter._turn = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        exporter.shutdown(Context.background())
    with pytest.raises(ExporterShutdownError):
        running.result(GENEROUS)
    assert exporter.events == ["begin", "end", "release"]


# --- preferences -----------------------------------------------------------------------------------------------------


def test_preferences_among_the_options_are_answered() -> None:
    class Config(PreferenceOptions):
        path: str = ""

    class Preferring(SerialExporter[Config]):
        def deliver(self, context, metrics) -> None: ...

    exporter = Preferring(
        Config(
            temporality_preference="delta",
            default_histogram_aggregation="base2_exponential_bucket_histogram",
        )
    )
    assert exporter.temporality(InstrumentKind.COUNTER) is AggregationTemporality.DELTA
    assert isinstance(exporter.aggregation(InstrumentKind.HISTOGRAM), ExponentialBucketHistogramAggregation)


def test_without_preferences_all_is_cumulative_and_the_sdks_default(exporter) -> None:
    assert {exporter.temporality(kind) for kind in InstrumentKind} == {AggregationTemporality.CUMULATIVE}
    assert {type(exporter.aggregation(kind)) for kind in InstrumentKind} == {DefaultAggregation}


# --- forks -----------------------------------------------------------------------------------------------------------

FORK = """
import os, sys, threading, warnings
sys.path.insert(0, sys.argv[1])
from conftest import GateExporter, Latch
from exporter_core import Context
warnings.simplefilter("ignore", DeprecationWarning)  # the process has threads: that is the point
exporter = GateExporter()
exporter.gate = Latch()
threading.Thread(target=exporter.export, args=(Context.background(), None), daemon=True).start()
exporter.entered.acquire()
{before}
if (child := os.fork()) == 0:
    exporter.gate = None
    try:
        exporter.export(Context.with_timeout(10), None)
        exporter.shutdown(Context.with_timeout(10))
    except Exception as error:
        exporter.events.append(type(error).__name__)
    print(*exporter.events, sep=", ", flush=True)
    os._exit(0)
os.waitpid(child, 0)
exporter.gate.open()
{after}
print(*exporter.events, sep=", ")
"""


def test_a_child_forked_during_an_export_begins_anew_and_the_parent_goes_on(run_python, request) -> None:
    code = FORK.format(before="", after="exporter.shutdown(Context.background())")
    child, parent = run_python(code, str(request.path.parent)).splitlines()
    assert child == "begin, begin anew, begin, end, release"
    assert parent == "begin, end, release"


def test_an_exporter_that_was_shut_down_remains_so_in_a_forked_child(run_python, request) -> None:
    before = "exporter.gate.open(); exporter.shutdown(Context.background()); exporter.gate = Latch()"
    child, parent = run_python(FORK.format(before=before, after=""), str(request.path.parent)).splitlines()
    assert child == "begin, end, release, begin anew, ExporterShutdownError"
    assert parent == "begin, end, release"


FORKING_EXPORT = """
import os
from exporter_core import Context
from exporter_core.authoring import SerialExporter

class Forks(SerialExporter):
    def deliver(self, context, metrics):
        self.child = os.fork()

exporter = Forks(Forks.config_model())
exporter.export(Context.background(), None)
child = exporter.child
if child:
    os.waitpid(child, 0)
exporter.export(Context.with_timeout(10), None)
if not exporter.child:
    os._exit(0)
os.waitpid(exporter.child, 0)
print("parent" if child else "child", "exported twice", flush=True)
if not child:
    os._exit(0)
"""


def test_an_export_that_forks_ends_in_both_processes(run_python) -> None:
    assert run_python(FORKING_EXPORT).splitlines() == ["child exported twice", "parent exported twice"]
