"""What a plugin raises or returns: an error that names exporter and operation, the cause chained, secrets masked."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import gc
import inspect
import pickle
import threading
import traceback
import types

import pytest

from exporter_core.context import Context
from exporter_core.errors import (
    ContextCancelledError,
    DeadlineExceededError,
    ExporterBusyError,
    ExporterError,
    ExporterReentrancyError,
    ExporterShutdownError,
    PartialSuccessError,
)
from exporter_core.guard import GuardedExporter
from exporter_core.masking import Masker
from exporter_core.testing import FakeExporter

runners = pytest.mark.parametrize("runner", ["thread", "inline"])


class UnshowableError(Exception):
    def __str__(self):
        raise SystemExit("from __str__")


class Oddly(BaseException):
    """Not an Exception."""


def raises(error):
    def operation(*_):
        raise error

    return operation


def call(guard, operation, context, metrics):
    return guard.export(context, metrics) if operation == "export" else getattr(guard, operation)(context)


def failing(operation, error):
    return FakeExporter(**{f"on_{operation}": raises(error)})


EVERYTHING = [
    (OSError(28, "No space left"), "OSError: [Errno 28] No space left"),
    (ValueError(), "ValueError"),
    (ExporterError("the backend answered 503"), "the backend answered 503"),
    (ExporterBusyError("mine"), "mine"),
    (ExporterReentrancyError("mine"), "mine"),
    (Oddly("odd"), "Oddly: odd"),
    (GeneratorExit(), "GeneratorExit"),
    (asyncio.CancelledError(), "CancelledError"),
    (concurrent.futures.CancelledError(), "CancelledError"),
    (DeadlineExceededError("said the plugin"), "said the plugin"),
    (ContextCancelledError("said the plugin"), "said the plugin"),
    (ExporterShutdownError("said the plugin"), "said the plugin"),
    (TimeoutError("read timed out"), "TimeoutError: read timed out"),
    (StopIteration(3), "StopIteration: 3"),
    (RecursionError(), "RecursionError"),
    (MemoryError(), "MemoryError"),
    (UnshowableError(), "UnshowableError: (its message cannot be shown)"),
    (BaseExceptionGroup("two", [OSError("a"), Oddly("b")]), "BaseExceptionGroup: two (2 sub-exceptions)"),
]


@runners
@pytest.mark.parametrize("operation", ["export", "force_flush", "shutdown"])
@pytest.mark.parametrize(("error", "text"), EVERYTHING, ids=lambda value: type(value).__name__)
def test_whatever_is_raised_becomes_an_exporter_error(guarded, runner, operation, error, text, context, metrics):
    guard = guarded(failing(operation, error), runner=runner)
    with pytest.raises(ExporterError) as caught:
        call(guard, operation, context, metrics)
    assert type(caught.value) is ExporterError
    assert str(caught.value) == f"exporter 'fake': {operation} failed: {text}"
    assert (caught.value.exporter, caught.value.operation) == ("fake", operation)
    assert caught.value.__cause__ is error
    assert guard.stats().last_error == str(caught.value)


@pytest.mark.parametrize("operation", ["export", "force_flush", "shutdown"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=lambda value: type(value).__name__)
def test_what_would_end_the_host_does_not(guarded, operation, error, context, metrics):
    guard = guarded(failing(operation, error))
    with pytest.raises(ExporterError, match=f"{operation} failed: {type(error).__name__}") as caught:
        call(guard, operation, context, metrics)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("base", [Exception, PartialSuccessError])
@pytest.mark.parametrize("secret", ["", "hunter2"])
def test_no_code_of_a_plugins_error_runs_in_the_callers_place(guarded, context, metrics, base, secret):
    ran_on = []

    class Meta(type):
        @property
        def __name__(cls):
            ran_on.append(threading.current_thread())
            return "WatchedError"

    class WatchedError(base, metaclass=Meta):
        def __init__(self):
            Exception.__init__(self, f"no route {secret}")

        def __getattribute__(self, name):
            ran_on.append(threading.current_thread())
            return super().__getattribute__(name)

    def export(context, metrics):
        raise WatchedError

    guard, error = guarded(FakeExporter(on_export=export), masker=Masker(["hunter2"])), None
    try:
        guard.export(context, metrics)
    except ExporterError as raised:
        error, ran = str(raised), list(ran_on)
    assert "no route" in error
    assert threading.current_thread() not in ran


def test_the_runner_goes_on_after_a_failure(guarded, context, metrics):
    errors = iter([SystemExit(1), KeyboardInterrupt(), GeneratorExit(), Oddly()])

    def export(context, metrics):
        for error in errors:
            raise error

    guard = guarded(FakeExporter(on_export=export))
    for _ in range(4):
        with pytest.raises(ExporterError):
            guard.export(context, metrics)
    guard.export(context, metrics)
    assert (guard.stats().exports_ok, guard.stats().exports_failed) == (1, 4)


@runners
def test_errors_can_be_copied_and_pickled(guarded, runner, context, metrics):
    guard = guarded(failing("export", PartialSuccessError("old", rejected_points=1)), runner=runner)
    with pytest.raises(PartialSuccessError) as caught:
        guard.export(context, metrics)
    for again in (copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):  # noqa: S301 - our own bytes
        assert (str(again), again.exporter, again.rejected_points) == (str(caught.value), "fake", 1)


# --- the guard's own state agrees, or does not -----------------------------------------------------------------------


@runners
@pytest.mark.parametrize(
    "error", [DeadlineExceededError("mine"), ContextCancelledError("mine"), asyncio.CancelledError()]
)
def test_a_deadline_error_passes_where_the_deadline_has_passed(guarded, runner, error, clock, metrics):
    def export(context, metrics):
        clock.advance(5)
        raise error

    guard = guarded(FakeExporter(on_export=export), runner=runner)
    with pytest.raises(DeadlineExceededError, match="exporter 'fake': export timed out"):
        guard.export(clock.context(timeout=5), metrics)


@runners
@pytest.mark.parametrize("error", [DeadlineExceededError("mine"), ContextCancelledError("mine")])
def test_a_cancellation_passes_where_the_context_was_cancelled(guarded, runner, error, clock, metrics):
    def export(context, metrics):
        caller.cancel(cause)
        raise error

    caller, cause = clock.context(), ValueError("why")
    guard = guarded(FakeExporter(on_export=export), runner=runner)
    with pytest.raises(ContextCancelledError, match="exporter 'fake': export was cancelled"):
        guard.export(caller, metrics)


@runners
def test_another_error_stays_what_it_is_though_the_context_is_done(guarded, runner, clock, metrics, in_thread, gate):
    def export(context, metrics):
        caller.cancel()
        raise OSError("broken pipe")

    caller = clock.context()
    guard = guarded(FakeExporter(on_export=export), runner=runner)
    with pytest.raises((ExporterError, ContextCancelledError)) as caught:
        guard.export(caller, metrics)
    if runner == "inline":  # on a thread the caller may have given up before the error came
        assert "failed: OSError: broken pipe" in str(caught.value)


@runners
def test_a_cancellation_of_the_plugins_own_child_context_is_a_failure(guarded, runner, context, metrics):
    def export(context, metrics):
        child = context.child(timeout=0)
        child.raise_if_done()

    guard = guarded(FakeExporter(on_export=export), runner=runner)
    with pytest.raises(ExporterError, match="failed: the context's deadline has passed"):
        guard.export(context, metrics)


@runners
def test_a_shutdown_error_passes_while_the_guard_shuts_down(guarded, runner, context, gate, metrics, in_thread, until):
    def export(context, metrics):
        gate.hold()
        raise ExporterShutdownError("mine")

    guard = guarded(FakeExporter(on_export=export), runner=runner)
    export = in_thread(guard.export, context, metrics)
    gate.await_entered()
    shutdown = in_thread(guard.shutdown, context)
    until(lambda: guard.state == "shutting_down")
    gate.open()
    with pytest.raises(ExporterShutdownError, match="exporter 'fake': export: the exporter has been shut down"):
        export.result(30)
    shutdown.result(30)


# --- partial success -------------------------------------------------------------------------------------------------


@runners
def test_partial_success_counts_what_was_accepted(guarded, runner, context, batch):
    guard = guarded(failing("export", PartialSuccessError("too old", rejected_points=2)), runner=runner)
    with pytest.raises(PartialSuccessError) as caught:
        guard.export(context, batch(5))
    assert str(caught.value) == "exporter 'fake': export was accepted in part: too old (rejected data points: 2)"
    assert (caught.value.rejected_points, caught.value.exporter, caught.value.operation) == (2, "fake", "export")
    stats = guard.stats()
    assert (stats.exports_failed, stats.points_handed_over, stats.points_accepted) == (1, 5, 3)


@runners
@pytest.mark.parametrize("rejected", [-1, 9, None, "two", 1.5])
def test_a_count_that_cannot_be_is_taken_as_all_rejected(guarded, runner, rejected, context, batch):
    guard = guarded(failing("export", PartialSuccessError("odd", rejected_points=rejected)), runner=runner)
    with pytest.raises(PartialSuccessError) as caught:
        guard.export(context, batch(5))
    assert caught.value.rejected_points == 5
    assert guard.stats().points_accepted == 0


@runners
def test_a_partial_success_without_its_count_is_taken_as_all_rejected(guarded, runner, context, batch):
    class CarelessError(PartialSuccessError):
        def __init__(self):
            Exception.__init__(self, "careless")

    guard = guarded(failing("export", CarelessError()), runner=runner)
    with pytest.raises(PartialSuccessError, match="careless") as caught:
        guard.export(context, batch(5))
    assert caught.value.rejected_points == 5


def test_the_count_is_read_without_a_partial_successs_own_code(guarded, context, batch):
    ran_on = []

    class ActingError(PartialSuccessError):
        @property
        def __dict__(self):
            ran_on.append(threading.current_thread())
            return {"rejected_points": 4}

    guard = guarded(failing("export", ActingError("acting", rejected_points=2)))
    with pytest.raises(PartialSuccessError) as caught:
        guard.export(context, batch(5))
    assert caught.value.rejected_points == 2
    assert threading.current_thread() not in ran_on


def test_a_count_that_is_compared_by_code_of_the_plugins_is_looked_for_on_its_own_thread(guarded, context, batch):
    ran_on = []

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            ran_on.append(threading.current_thread())
            raise SystemExit("from __eq__")

    error = PartialSuccessError("acting", rejected_points=2)
    error.__dict__ = {Name("rejected_points"): 1}
    guard = guarded(failing("export", error))
    with pytest.raises(PartialSuccessError) as caught:
        guard.export(context, batch(5))
    assert caught.value.rejected_points == 5
    assert ran_on
    assert threading.current_thread() not in ran_on


# --- texts -----------------------------------------------------------------------------------------------------------


@runners
def test_a_message_is_one_line(guarded, runner, context, metrics):
    guard = guarded(failing("export", OSError("first\n  second\r\n\tthird")), runner=runner)
    with pytest.raises(ExporterError, match=r"failed: OSError: first second third$"):
        guard.export(context, metrics)


@runners
@pytest.mark.parametrize("length", [5_000, 20_000_000])
def test_a_long_message_is_cut(guarded, runner, length, context, metrics):
    guard = guarded(failing("export", OSError("x" * length)), runner=runner)
    with pytest.raises(ExporterError) as caught:
        guard.export(context, metrics)
    assert 1000 < len(str(caught.value)) < 1100
    assert str(caught.value).endswith("x...")


@runners
def test_secrets_are_masked(guarded, runner, context, metrics, observers, recorder):
    error = OSError("https://me:sesame@host/ refused key hunter2")
    guard = guarded(failing("export", error), runner=runner, masker=Masker(["hunter2"]), observers=observers)
    with pytest.raises(ExporterError) as caught:
        guard.export(context, metrics)
    told = recorder.await_heard(lambda observation: observation.error)
    for text in (str(caught.value), guard.stats().last_error, told.error, guard.describe_error(error)):
        assert "refused key ***" in text
        assert "sesame" not in text


@runners
def test_a_secret_is_masked_where_a_long_message_is_cut(guarded, runner, context, metrics):
    error = OSError("x" * 990 + "hunter2" + "y" * 100)
    guard = guarded(failing("export", error), runner=runner, masker=Masker(["hunter2"]))
    with pytest.raises(ExporterError) as caught:
        guard.export(context, metrics)
    assert "hunt" not in str(caught.value)


# --- wrong answers ---------------------------------------------------------------------------------------------------


def a_future():
    future = concurrent.futures.Future()
    future.set_result(None)
    return future


async def a_coroutine(): ...


@runners
@pytest.mark.parametrize("operation", ["export", "force_flush", "shutdown"])
@pytest.mark.parametrize(
    ("answer", "kind"), [(lambda: True, "bool"), (lambda: 0, "int"), (a_future, "Future"), (a_coroutine, "coroutine")]
)
def test_an_answer_other_than_none_is_a_failure(guarded, runner, operation, answer, kind, context, metrics):
    guard = guarded(FakeExporter(**{f"on_{operation}": lambda *_: answer()}), runner=runner)
    with pytest.raises(ExporterError, match=f"{operation} returned {kind}; it has to return None, or raise"):
        call(guard, operation, context, metrics)
    assert guard.stats().exports_ok == 0
    gc.collect()  # a coroutine that nobody awaited warns, and warnings are errors


@runners
def test_a_coroutine_that_has_begun_is_not_closed_since_that_runs_its_code(guarded, runner, context, metrics):
    @types.coroutine
    def paused():
        yield

    async def waiting():
        await paused()

    def export(*_):
        begun.send(None)
        return begun

    begun = waiting()
    guard = guarded(FakeExporter(on_export=export), runner=runner)
    with pytest.raises(ExporterError, match="export returned coroutine"):
        guard.export(context, metrics)
    assert inspect.getcoroutinestate(begun) == inspect.CORO_SUSPENDED
    begun.close()


# --- observers -------------------------------------------------------------------------------------------------------


@runners
def test_observers_are_told_of_every_operation(guarded, runner, context, metrics, observers, recorder):
    guard = guarded(failing("force_flush", OSError("no route")), runner=runner, observers=observers)
    guard.export(context, metrics)
    with pytest.raises(ExporterError):
        guard.force_flush(context)
    guard.shutdown(context)
    recorder.await_heard(lambda observation: observation.operation == "shutdown")
    heard = [(one.exporter, one.operation, one.points, one.error, one.late) for one in recorder.heard]
    assert heard == [
        ("fake", "export", 3, None, False),
        ("fake", "force_flush", None, "exporter 'fake': force_flush failed: OSError: no route", False),
        ("fake", "shutdown", None, None, False),
    ]
    assert all(one.seconds >= 0 for one in recorder.heard)


def test_no_traceback_of_an_error_shows_a_secret(metrics):
    secret = "hunter" + "-2-hunter"  # in no source line, which a traceback prints too

    def export(context, batch):
        raise RuntimeError("delivery failed") from OSError(f"no route with {secret}")

    guard = GuardedExporter(FakeExporter(on_export=export), name="net", masker=Masker([secret]))
    with guard, pytest.raises(ExporterError) as caught:
        guard.export(Context.with_timeout(30), metrics)
    shown = "".join(traceback.format_exception(caught.value))
    assert secret not in shown
    assert "RuntimeError: delivery failed" in shown
