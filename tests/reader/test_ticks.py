"""The schedule at work, on a fake clock; with the inline runner only the reader's thread waits on it."""

import math
import threading
from collections.abc import Callable

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, MetricsData

from exporter_core.context import Context
from exporter_core.contract import InstrumentKind
from exporter_core.errors import DeadlineExceededError, ExporterBusyError, ExporterError
from exporter_core.guard import GuardedExporter
from exporter_core.instruments import NO_CARDINALITY_LIMITS
from exporter_core.reader import PeriodicReader
from exporter_core.testing import FakeClock, FakeExporter

LONG = 30.0

ESCAPES = [KeyboardInterrupt, SystemExit, GeneratorExit, BaseException, RuntimeError]


def pass_time(clock: FakeClock, seconds: float) -> None:
    """Let the time pass, and the reader do what is due."""
    clock.await_sleepers()
    clock.advance(seconds)
    clock.await_sleepers()


def test_the_schedule_does_not_drift_however_long_the_exports_take(clock: FakeClock, rig: Callable) -> None:
    at: list[float] = []

    def export(context: Context, metrics: MetricsData) -> None:
        at.append(clock.monotonic())
        clock.advance(3.5)

    one = rig(interval=10.0, clock=clock, runner="inline", on_export=export)
    one.meter.create_counter("c").add(1)
    for _ in range(4):
        clock.await_sleepers()
        clock.advance(10.0 * (len(at) + 1) - clock.monotonic())
    clock.await_sleepers()
    assert at == [10.0, 20.0, 30.0, 40.0]


def test_a_tick_that_takes_longer_than_the_interval_skips_those_it_missed(clock: FakeClock, rig: Callable) -> None:
    at: list[float] = []

    def export(context: Context, metrics: MetricsData) -> None:
        at.append(clock.monotonic())
        clock.advance(25.0 if len(at) == 1 else 0.0)

    one = rig(interval=10.0, clock=clock, runner="inline", on_export=export)
    one.meter.create_counter("c").add(1)
    pass_time(clock, 10.0)
    assert one.reader.stats().ticks_missed == 2
    pass_time(clock, 5.0)
    pass_time(clock, 10.0)
    assert at == [10.0, 40.0, 50.0]


@pytest.mark.parametrize("escape", ESCAPES)
def test_the_ticker_survives_whatever_an_instruments_callback_raises(
    escape: type[BaseException], clock: FakeClock, rig: Callable
) -> None:
    one = rig(interval=10.0, clock=clock, runner="inline")
    failing = True

    def callback(options: object) -> list[object]:
        if failing:
            raise escape("from a callback")
        return []

    one.meter.create_observable_gauge("g", [callback])
    one.meter.create_counter("c").add(1)
    pass_time(clock, 10.0)
    expected = 0 if issubclass(escape, Exception) else 1  # the SDK itself logs the ordinary ones, and goes on
    assert len(one.reported) == expected
    for error in one.reported:
        assert isinstance(error, ExporterError)
        assert str(error) == f"reader '0:fake': collect failed: {escape.__name__}: from a callback"
        assert type(error.__cause__) is escape
    failing = False
    pass_time(clock, 10.0)
    assert one.values()[-1] == 1
    assert len(one.reported) == expected


@pytest.mark.parametrize("escape", ESCAPES)
def test_the_ticker_survives_whatever_the_exporter_raises(
    escape: type[BaseException], clock: FakeClock, rig: Callable
) -> None:
    accepted: list[MetricsData] = []

    def export(context: Context, metrics: MetricsData) -> None:
        if clock.monotonic() < 15:
            raise escape("from an export")
        accepted.append(metrics)

    one = rig(interval=10.0, clock=clock, runner="inline", on_export=export)
    one.meter.create_counter("c").add(1)
    pass_time(clock, 10.0)
    (error,) = one.reported
    assert isinstance(error, ExporterError)
    assert "from an export" in str(error)
    pass_time(clock, 10.0)
    assert len(accepted) == 1


@pytest.mark.parametrize("escape", ESCAPES)
def test_the_ticker_survives_whatever_the_error_handler_raises_and_logs_the_error(
    escape: type[BaseException], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = FakeExporter(on_export=_fail)

    def handler(error: Exception) -> None:
        raise escape("from the handler")

    reader = PeriodicReader(
        GuardedExporter(exporter, name="fake", runner="inline"), interval=10.0, error_handler=handler, clock=clock
    )
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("test").create_counter("c").add(1)
    pass_time(clock, 10.0)
    (record,) = caplog.records
    assert "the disk is full" in record.getMessage()
    assert f"the error handler raised {escape.__name__}" in record.getMessage()
    pass_time(clock, 10.0)
    assert exporter.calls == ["export", "export"]
    with pytest.raises(ExporterError):
        reader.shutdown()


def _fail(context: Context, metrics: MetricsData) -> None:
    raise OSError("the disk is full")


def test_a_tick_does_not_collect_while_the_exporter_is_busy_so_that_delta_data_is_not_lost(
    rig: Callable, gated: Callable, until: Callable
) -> None:
    entered, gate, accepted = threading.Event(), threading.Event(), []
    clock = FakeClock()
    one = rig(interval=10.0, timeout=4.0, clock=clock, delta=True, gate=gate, on_export=gated(entered, gate, accepted))
    counter = one.meter.create_counter("c")
    counter.add(1)
    clock.await_sleepers()
    clock.advance(10.0)  # the tick begins to export 1 ...
    assert entered.wait(LONG)
    clock.await_sleepers()
    clock.advance(4.0)  # ... and gives it up
    clock.await_sleepers()
    assert one.reader.exporter.busy
    counter.add(2)
    pass_time(clock, 6.0)  # at 20: busy, nothing is collected
    pass_time(clock, 10.0)  # at 30: the same
    assert one.reader.stats().ticks_skipped == 2
    assert one.reader.stats().collections == 1
    assert [type(error) for error in one.reported] == [DeadlineExceededError, ExporterBusyError, ExporterBusyError]
    assert "nothing was collected" in str(one.reported[-1])
    gate.set()
    until(lambda: not one.reader.exporter.busy)  # the abandoned export is on its way out
    assert one.reader.force_flush(LONG * 1000)
    assert [_sum(batch) for batch in accepted] == [1, 2]


def _sum(batch: MetricsData) -> float:
    (metric,) = batch.resource_metrics[0].scope_metrics[0].metrics
    return metric.data.data_points[0].value


@pytest.mark.parametrize(("timeout", "remaining"), [(4.0, 4.0), (None, None), (math.inf, None)])
def test_an_export_gets_the_readers_timeout_as_a_real_deadline(
    timeout: float | None, remaining: float | None, clock: FakeClock, rig: Callable
) -> None:
    seen: list[float | None] = []
    one = rig(
        interval=10.0,
        timeout=timeout,
        clock=clock,
        runner="inline",
        on_export=lambda context, metrics: seen.append(context.remaining()),
    )
    one.meter.create_counter("c").add(1)
    pass_time(clock, 10.0)
    assert seen == [remaining]


def test_collecting_takes_nothing_from_the_time_to_export(clock: FakeClock, rig: Callable) -> None:
    seen: list[float | None] = []
    one = rig(
        interval=10.0,
        timeout=4.0,
        clock=clock,
        runner="inline",
        on_export=lambda context, metrics: seen.append(context.remaining()),
    )
    one.meter.create_counter("c").add(1)
    one.meter.create_observable_gauge("g", [lambda options: clock.advance(3.9) or []])
    pass_time(clock, 10.0)
    assert seen == [pytest.approx(4.0)]


def test_a_reader_without_a_provider_ticks_without_a_word(
    clock: FakeClock, rig: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    one = rig(interval=10.0, clock=clock, runner="inline", attach=False)
    pass_time(clock, 10.0)
    assert one.reader.stats().collections == 0
    assert one.reported == []
    assert caplog.records == []


def test_a_tick_with_nothing_to_export_exports_nothing(clock: FakeClock, rig: Callable) -> None:
    one = rig(interval=10.0, clock=clock, runner="inline")
    pass_time(clock, 10.0)
    assert one.reader.stats().collections == 1
    assert one.exporter.calls == []


def test_an_infinite_interval_exports_on_flush_only(clock: FakeClock, rig: Callable) -> None:
    one = rig(interval=math.inf, clock=clock, runner="inline")
    one.meter.create_counter("c").add(1)
    pass_time(clock, 1e9)
    assert one.exporter.calls == []
    assert one.reader.force_flush()
    assert one.exporter.calls == ["export", "force_flush"]


def test_an_exporter_without_a_guard_is_refused() -> None:
    with pytest.raises(TypeError, match=r"exporter: expected a GuardedExporter or .*, not FakeExporter"):
        PeriodicReader(FakeExporter())


@pytest.mark.parametrize("interval", [0, -1, 0.0009, math.nan, -math.inf])
def test_an_interval_that_is_not_positive_is_refused(interval: float) -> None:
    with (
        GuardedExporter(FakeExporter(), name="fake") as guard,
        pytest.raises(ValueError, match=r"interval: expected at least 0\.001 seconds"),
    ):
        PeriodicReader(guard, interval=interval)


@pytest.mark.parametrize("timeout", [0, -1, math.nan])
def test_a_timeout_that_is_not_positive_is_refused(timeout: float) -> None:
    with (
        GuardedExporter(FakeExporter(), name="fake") as guard,
        pytest.raises(ValueError, match="timeout: expected more than 0 seconds"),
    ):
        PeriodicReader(guard, timeout=timeout)


def test_a_wrong_cardinality_limit_is_refused() -> None:
    message = "does not have it" if NO_CARDINALITY_LIMITS else "positive integer"
    with GuardedExporter(FakeExporter(), name="fake") as guard, pytest.raises(ValueError, match=message):
        PeriodicReader(guard, cardinality_limits={InstrumentKind.COUNTER: 0})


def test_cardinality_limits_that_the_sdk_does_not_have_are_refused(sdk_without_limits: str) -> None:
    message = f"^cardinality_limits: OpenTelemetry SDK {sdk_without_limits} does not have it; 1.45.2 does$"
    with GuardedExporter(FakeExporter(), name="fake") as guard, pytest.raises(ValueError, match=message):
        PeriodicReader(guard, cardinality_limits={InstrumentKind.COUNTER: 5})


@pytest.mark.parametrize("limits", [None, {}])
def test_an_sdk_without_cardinality_limits_is_not_asked_for_them(
    limits: dict | None, sdk_without_limits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = MetricReader.__init__

    def init(
        self: MetricReader,
        preferred_temporality: object = None,
        preferred_aggregation: object = None,
        *,
        otel_component_type: object = None,
    ) -> None:
        whole(self, preferred_temporality, preferred_aggregation, otel_component_type=otel_component_type)

    monkeypatch.setattr(MetricReader, "__init__", init)
    reader = PeriodicReader(GuardedExporter(FakeExporter(), name="fake"), cardinality_limits=limits)
    reader.shutdown()
