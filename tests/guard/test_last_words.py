"""The reason of a failure at the deadline, or at a shutdown: the exporter's own words, and its last failed attempt."""

from __future__ import annotations

import pytest

from exporter_core import ContextCancelledError, DeadlineExceededError, ExporterError, ExporterShutdownError
from exporter_core.authoring import RetryableError, Retrying, RetryOptions
from exporter_core.exporter import Destination
from exporter_core.guard.runners import handover
from exporter_core.masking import Masker
from exporter_core.testing import FakeExporter

PLACE = "http://backend:4318/v1/metrics"
QUOTA = f"{PLACE}: 503 Service Unavailable: quota of tenant 7 used up"


@pytest.fixture
def patient(monkeypatch):
    """Let an exporter have all the time that a busy machine may need to end after its deadline."""
    monkeypatch.setattr(handover, "GRACE_SECONDS", 30)
    monkeypatch.setattr(handover, "HEEDED_SECONDS", 30)


class Retries(FakeExporter):
    """Tries again, to a place that it names; each attempt is one of these functions."""

    def __init__(self, *attempts, clock, wait=10) -> None:
        super().__init__(on_export=self.try_again)
        self.attempts = iter(attempts)
        self.retrying = Retrying(
            RetryOptions(initial_interval=1000 * wait, max_interval=1000 * wait),
            uniform=lambda low, high: 1.0,
            monotonic=clock.monotonic,
        )

    def destination(self):
        return Destination(PLACE)

    def try_again(self, context, metrics):
        self.retrying.run(context, lambda: next(self.attempts)(context))


def refused(context):
    raise RetryableError(QUOTA)


def test_a_hung_export_tells_its_last_failed_attempt(guarded, clock, gate, metrics, in_thread):
    exporter = Retries(refused, gate.hold, clock=clock)
    guard = guarded(exporter)
    export = in_thread(guard.export, clock.context(timeout=30), metrics)
    clock.await_sleepers(2)  # the caller, and the pause before the second attempt
    clock.advance(10)
    gate.await_entered()
    clock.advance(20)
    with pytest.raises(DeadlineExceededError) as caught:
        export.result(30)
    assert str(caught.value) == (
        f"exporter 'fake': export to {PLACE} timed out; it still runs in the background; "
        "the last attempt failed: 503 Service Unavailable: quota of tenant 7 used up"
    )
    stats = guard.stats()
    assert (stats.last_error, stats.exports_abandoned) == (str(caught.value), 1)
    assert guard.last_failed_attempt == "503 Service Unavailable: quota of tenant 7 used up"
    assert stats.requests_repeated == 1
    gate.open()


@pytest.mark.usefixtures("patient")
def test_an_exporter_that_keeps_the_deadline_itself_has_the_last_word(guarded, clock, metrics, in_thread):
    def hung(context):
        context.wait(1000)
        raise DeadlineExceededError(f"{PLACE}: timed out while waiting for the answer")

    guard = guarded(Retries(refused, hung, clock=clock))
    export = in_thread(guard.export, clock.context(timeout=30), metrics)
    clock.await_sleepers(2)
    clock.advance(10)
    clock.await_sleepers(2)
    clock.advance(20)
    with pytest.raises(DeadlineExceededError) as caught:
        export.result(30)
    assert str(caught.value) == (
        f"exporter 'fake': export to {PLACE} timed out while waiting for the answer; "
        "the last attempt failed: 503 Service Unavailable: quota of tenant 7 used up"
    )
    assert guard.stats().exports_abandoned == 0
    assert not guard.busy


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("the context's deadline has passed", ""),
        ("the context's deadline has passed; the last attempt failed: no", "; the last attempt failed: no"),
        ("timed out while connecting", " while connecting"),
        ("the backend is slow", ": the backend is slow"),
        ("", ""),
    ],
)
def test_an_exporters_words_follow_on_the_guards(guarded, clock, metrics, in_thread, words, told):
    def export(context, metrics):
        context.wait(1000)
        raise DeadlineExceededError(words)

    guard = guarded(FakeExporter(on_export=export))
    pending = in_thread(guard.export, clock.context(timeout=5), metrics)
    clock.await_sleepers(2)
    clock.advance(5)
    with pytest.raises(DeadlineExceededError) as caught:
        pending.result(30)
    assert str(caught.value) == f"exporter 'fake': export timed out{told}"


@pytest.mark.usefixtures("patient")
def test_an_export_that_succeeds_a_moment_late_is_a_success(guarded, clock, metrics, in_thread):
    def export(context, metrics):
        context.wait(1000)

    guard = guarded(FakeExporter(on_export=export))
    pending = in_thread(guard.export, clock.context(timeout=5), metrics)
    clock.await_sleepers(2)
    clock.advance(5)
    pending.result(30)
    stats = guard.stats()
    assert (stats.exports_ok, stats.exports_abandoned, guard.busy) == (1, 0, False)


def test_a_shutdown_ends_the_wait_between_attempts_and_tells_the_last_failure(guarded, clock, metrics, in_thread):
    exporter = Retries(refused, clock=clock)
    guard = guarded(exporter)
    export = in_thread(guard.export, clock.context(timeout=30), metrics)
    clock.await_sleepers(2)
    guard.shutdown(clock.context(timeout=25))  # no time passes on this clock
    with pytest.raises(ExporterError) as caught:
        export.result(30)
    assert str(caught.value) == (
        f"exporter 'fake': export to {PLACE} failed: 503 Service Unavailable: quota of tenant 7 used up; "
        "not retried: the exporter is being shut down"
    )
    assert exporter.calls == ["export", "shutdown"]


def test_a_shutdown_that_cannot_wait_for_an_attempt_tells_the_failure_before(guarded, clock, gate, metrics, in_thread):
    guard = guarded(Retries(refused, gate.hold, clock=clock))
    export = in_thread(guard.export, clock.context(timeout=30), metrics)
    clock.await_sleepers(2)
    clock.advance(10)
    gate.await_entered()
    with pytest.raises(DeadlineExceededError):
        guard.shutdown(clock.context(timeout=0))
    with pytest.raises(ExporterShutdownError, match="; the last attempt failed: 503 Service Unavailable: quota of"):
        export.result(30)
    gate.open()


@pytest.mark.usefixtures("patient")
def test_a_cancelled_export_tells_the_reason_and_the_last_failure(guarded, clock, metrics, in_thread):
    guard = guarded(Retries(refused, clock=clock))
    context = clock.context(timeout=30)
    export = in_thread(guard.export, context, metrics)
    clock.await_sleepers(2)
    context.cancel("the service ends")
    with pytest.raises(ContextCancelledError) as caught:
        export.result(30)
    assert str(caught.value) == (
        f"exporter 'fake': export to {PLACE} was cancelled: the service ends; "
        "the last attempt failed: 503 Service Unavailable: quota of tenant 7 used up"
    )


def test_secrets_in_the_last_attempt_are_masked(guarded, clock, gate, metrics, in_thread):
    def echoed(context):
        raise RetryableError("403: hunter2 is not known")

    guard = guarded(Retries(echoed, gate.hold, clock=clock), masker=Masker(["hunter2"]))
    export = in_thread(guard.export, clock.context(timeout=30), metrics)
    clock.await_sleepers(2)
    clock.advance(10)
    gate.await_entered()
    clock.advance(20)
    with pytest.raises(DeadlineExceededError, match=r"the last attempt failed: 403: \*\*\* is not known$"):
        export.result(30)
    gate.open()
