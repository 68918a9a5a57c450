"""The pull reader: one collection for all who ask at the same time, each with a deadline of its own."""

from __future__ import annotations

import threading

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider

from exporter_core.context import Context
from exporter_core.errors import (
    ContextCancelledError,
    DeadlineExceededError,
    ExporterError,
    ExporterReentrancyError,
    ExporterShutdownError,
)
from exporter_core.guard import GuardedExporter
from exporter_core.reader import PullReader, Scrapes, finish
from exporter_core.testing import FakeExporter

LONG = 30.0


class Pulled:
    def __init__(self):
        self.reported = []
        self.exporter = FakeExporter()
        self.scrapes = Scrapes()
        guard = GuardedExporter(self.exporter, name="fake")
        self.reader = PullReader(guard, self.scrapes, name="0:fake", error_handler=self.reported.append)
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.meter = self.provider.get_meter("test")

    def scrape(self, seconds=LONG):
        return self.scrapes(Context.with_timeout(seconds))


@pytest.fixture
def pulled():
    made = Pulled()
    yield made
    job = made.reader.begin_shutdown(Context.with_timeout(LONG))
    if job:
        finish([job])


@pytest.fixture
def gated(pulled):
    """A callback that waits; the events that say it is entered, and that let it go on."""
    entered, gate = threading.Event(), threading.Event()

    def observe(_options):
        entered.set()
        assert gate.wait(LONG)
        return [Observation(1)]

    pulled.meter.create_observable_gauge("slow", [observe])
    yield entered, gate
    gate.set()


def in_thread(function):
    results = []

    def run():
        try:
            results.append(function())
        except Exception as error:  # noqa: BLE001 - it is what the test is about
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def join():
        thread.join(LONG)
        return results[0]

    return join


def until(condition):
    while not condition():
        threading.Event().wait(0.01)  # until the next look


def values_of(metrics):
    scopes = [scope for resource in metrics.resource_metrics for scope in resource.scope_metrics]
    return [point.value for scope in scopes for metric in scope.metrics for point in metric.data.data_points]


def test_each_scrape_collects_anew(pulled):
    counter = pulled.meter.create_counter("c")
    counter.add(1)
    assert values_of(pulled.scrape()) == [1]
    counter.add(1)
    assert values_of(pulled.scrape()) == [2]


def test_scrapes_at_the_same_time_get_the_same_object(pulled, gated):
    entered, gate = gated
    joins = [in_thread(pulled.scrape) for _ in range(4)]
    assert entered.wait(LONG)
    until(lambda: pulled.scrapes._current.waiting == 4)
    gate.set()
    first, *others = [join() for join in joins]
    assert values_of(first) == [1]
    assert all(other is first for other in others)
    assert pulled.reader.stats().collections == 1


def test_a_scrape_without_metrics_is_empty(pulled):
    assert pulled.scrape().resource_metrics == []


def test_each_scrape_ends_at_its_own_deadline_and_the_collection_goes_on(pulled, gated):
    entered, gate = gated
    with pytest.raises(DeadlineExceededError):
        pulled.scrape(0.05)
    context = Context.background()
    cancelled = in_thread(lambda: pulled.scrapes(context))
    assert entered.wait(LONG)
    until(lambda: pulled.scrapes._current.waiting == 1)
    context.cancel("not wanted any more")
    assert isinstance(cancelled(), ContextCancelledError)
    patient = in_thread(pulled.scrape)
    gate.set()
    assert values_of(patient()) == [1]
    assert pulled.reported == []


def test_a_failing_callback_is_raised_to_each_scrape_as_an_error_of_its_own(pulled, gated):
    entered, gate = gated

    def fail(_options):
        raise SystemExit("broken")  # the SDK itself logs an Exception, and goes on

    pulled.meter.create_observable_gauge("broken", [fail])
    joins = [in_thread(pulled.scrape) for _ in range(2)]
    assert entered.wait(LONG)
    until(lambda: pulled.scrapes._current.waiting == 2)
    gate.set()
    errors = [join() for join in joins]
    for error in errors:
        assert isinstance(error, ExporterError)
        assert "reader '0:fake': collect failed" in str(error)
        assert "broken" in str(error)
    assert errors[0] is not errors[1]
    assert pulled.reported == []


def test_a_failure_that_nobody_waits_for_any_more_is_reported(pulled, gated, with_more_time):
    entered, gate = gated

    def fail(_options):
        raise SystemExit("broken")  # the SDK itself logs an Exception, and goes on

    pulled.meter.create_observable_gauge("broken", [fail])

    def attempt(seconds):
        with pytest.raises(DeadlineExceededError):
            pulled.scrape(seconds)
        return entered.is_set()

    with_more_time(attempt)
    gate.set()
    until(lambda: pulled.reported)
    assert "broken" in str(pulled.reported[0])


def test_flush_delivers_nothing_and_is_well(pulled):
    pulled.meter.create_counter("c").add(1)
    assert pulled.reader.force_flush()
    assert pulled.exporter.exported == []
    assert pulled.reader.stats().collections == 0


def test_shutdown_exports_nothing_and_refuses_scrapes(pulled):
    pulled.meter.create_counter("c").add(1)
    pulled.reader.shutdown()
    assert pulled.exporter.exported == []
    with pytest.raises(ExporterShutdownError, match="reader '0:fake': collect: it has been shut down"):
        pulled.scrape()


def test_shutdown_refuses_the_scrape_that_waits_behind_a_hung_one(pulled, gated):
    entered, gate = gated
    hung = in_thread(pulled.scrape)
    assert entered.wait(LONG)
    job = pulled.reader.begin_shutdown(Context.with_timeout(0.3))
    finish([job])
    assert isinstance(job.error, DeadlineExceededError)
    gate.set()
    assert values_of(hung()) == [1]
    until(lambda: pulled.scrapes._closed)
    with pytest.raises(ExporterShutdownError):
        pulled.scrape()


def test_a_scrape_by_a_callback_is_refused(pulled):
    errors = []

    def observe(_options):
        try:
            pulled.scrape()
        except ExporterReentrancyError as error:
            errors.append(error)
        return [Observation(1)]

    pulled.meter.create_observable_gauge("reentrant", [observe])
    assert values_of(pulled.scrape()) == [1]
    assert "on the reader's own thread" in str(errors[0])


def test_a_scrape_before_there_is_a_reader_or_a_provider_is_an_error():
    scrapes = Scrapes()
    with pytest.raises(ExporterError, match="the pipeline is being built"):
        scrapes(Context.with_timeout(LONG))
    scrapes.report(ValueError("nobody hears it"))
    reader = PullReader(GuardedExporter(FakeExporter(), name="fake"), scrapes)
    with pytest.raises(ExporterError, match="no MeterProvider has this reader"):
        scrapes(Context.with_timeout(LONG))
    reader.shutdown()


def test_what_the_exporter_reports_goes_to_the_error_handler(pulled):
    error = ValueError("left out")
    pulled.scrapes.report(error)
    assert pulled.reported == [error]
    assert pulled.reader.stats().last_error == "ValueError: left out"
