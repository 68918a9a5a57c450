"""What the bridge makes of an exporter's answers, and what the exporter is given."""

from __future__ import annotations

import logging
import threading

import pytest
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult
from opentelemetry.sdk.metrics.view import DefaultAggregation, ExponentialBucketHistogramAggregation

from exporter_core.bridge.inbound import InboundExporter
from exporter_core.context import Context
from exporter_core.contract import InstrumentKind
from exporter_core.errors import (
    ContextCancelledError,
    ContractError,
    DeadlineExceededError,
    ExporterBusyError,
    ExporterError,
    ExporterShutdownError,
    PluginLoadError,
)
from exporter_core.guard import GuardedExporter, verify
from exporter_core.masking import Masker
from exporter_core.testing import FakeClock

logger = logging.getLogger(__name__)  # the one of this module's exporters


class Logging:
    """Logs, and fails."""

    def __init__(self, *records, of=logger):
        self.records, self.of = records, of

    def export(self, metrics_data, timeout_millis=10_000):
        for level, *record in self.records:
            self.of.log(level, *record)
        return MetricExportResult.FAILURE

    def force_flush(self, timeout_millis=10_000):
        self.export(None)
        return False

    def shutdown(self, timeout_millis=10_000):
        self.export(None)
        return False


def failure(operation, *arguments):
    with pytest.raises(ExporterError) as caught:
        operation(*arguments)
    assert type(caught.value) is ExporterError
    return str(caught.value)


# --- temporality and aggregation -------------------------------------------------------------------------------------


def test_an_exporter_without_preferences_is_cumulative_with_default_aggregations(alike):
    bridged = InboundExporter(alike())
    for kind in InstrumentKind:
        assert bridged.temporality(kind) is AggregationTemporality.CUMULATIVE
        assert isinstance(bridged.aggregation(kind), DefaultAggregation)


CLASSES = {
    InstrumentKind.COUNTER: sdk.Counter,
    InstrumentKind.UP_DOWN_COUNTER: sdk.UpDownCounter,
    InstrumentKind.HISTOGRAM: sdk.Histogram,
    InstrumentKind.GAUGE: sdk._Gauge,
    InstrumentKind.OBSERVABLE_COUNTER: sdk.ObservableCounter,
    InstrumentKind.OBSERVABLE_UP_DOWN_COUNTER: sdk.ObservableUpDownCounter,
    InstrumentKind.OBSERVABLE_GAUGE: sdk.ObservableGauge,
}


@pytest.mark.parametrize("kind", InstrumentKind)
def test_a_preference_for_an_instrument_class_is_that_of_its_kind_alone(alike, kind):
    exporter, buckets = alike(), ExponentialBucketHistogramAggregation()
    exporter._preferred_temporality = {CLASSES[kind]: AggregationTemporality.DELTA}
    exporter._preferred_aggregation = {CLASSES[kind]: buckets}
    bridged = InboundExporter(exporter)
    assert [one for one in InstrumentKind if bridged.temporality(one) is AggregationTemporality.DELTA] == [kind]
    assert [one for one in InstrumentKind if bridged.aggregation(one) is buckets] == [kind]


def test_preferences_are_read_once(alike):
    exporter = alike()
    exporter._preferred_temporality = {sdk.Counter: AggregationTemporality.DELTA}
    bridged = InboundExporter(exporter)
    exporter._preferred_temporality.clear()
    del exporter._preferred_temporality
    assert bridged.temporality(InstrumentKind.COUNTER) is AggregationTemporality.DELTA


def test_a_preference_for_what_is_no_instrument_is_an_error(alike):
    exporter = alike()
    exporter._preferred_aggregation = {int: DefaultAggregation()}
    with pytest.raises(ContractError, match=r"Alike\._preferred_aggregation has int, which is no instrument class"):
        InboundExporter(exporter)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_success_is_done(alike, context, metrics):
    exporter = alike()
    InboundExporter(exporter).export(context, metrics)
    assert [operation for operation, _ in exporter.calls] == ["export"]


def test_the_exporter_is_handed_the_very_metrics(alike, context, metrics):
    class Keeping(alike):
        def export(self, metrics_data, timeout_millis=0):
            self.kept = metrics_data
            return MetricExportResult.SUCCESS

    exporter = Keeping()
    InboundExporter(exporter).export(context, metrics)
    assert exporter.kept is metrics


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (MetricExportResult.FAILURE, "it returned MetricExportResult.FAILURE and logged no reason"),
        (None, "it returned None; expected MetricExportResult.SUCCESS or FAILURE"),
        (True, "it returned True; expected MetricExportResult.SUCCESS or FAILURE"),
        (0, "it returned an object of type int; expected MetricExportResult.SUCCESS or FAILURE"),
    ],
)
def test_any_other_answer_to_an_export_is_a_failure(alike, context, metrics, answer, says):
    assert failure(InboundExporter(alike(export=answer)).export, context, metrics) == says


@pytest.mark.parametrize("operation", ["force_flush", "shutdown"])
@pytest.mark.parametrize("answer", [True, None, MetricExportResult.SUCCESS])
def test_true_and_none_are_done(alike, context, operation, answer):
    exporter = alike(**{operation: answer})
    getattr(InboundExporter(exporter), operation)(context)
    assert [called for called, _ in exporter.calls] == [operation]


@pytest.mark.parametrize("operation", ["force_flush", "shutdown"])
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (False, "it returned False and logged no reason"),
        (MetricExportResult.FAILURE, "it returned MetricExportResult.FAILURE and logged no reason"),
        (0, "it returned an object of type int; expected True or False"),
    ],
)
def test_false_and_what_is_no_answer_are_failures(alike, context, operation, answer, says):
    assert failure(getattr(InboundExporter(alike(**{operation: answer})), operation), context) == says


@pytest.mark.parametrize("operation", ["export", "force_flush", "shutdown"])
def test_exceptions_pass_through(alike, context, metrics, operation):
    broken = OSError("disk")
    bridged = InboundExporter(alike(**{operation: broken}))
    with pytest.raises(OSError, match="disk") as caught:
        getattr(bridged, operation)(*([context, metrics] if operation == "export" else [context]))
    assert caught.value is broken


# --- what it logged --------------------------------------------------------------------------------------------------


def test_the_last_warnings_and_errors_are_the_reason(context, metrics):
    exporter = Logging(
        (logging.WARNING, "attempt %d", 1),
        (logging.WARNING, "attempt %d", 2),
        (logging.INFO, "thinking"),
        (logging.ERROR, "gave\nup"),
    )
    assert failure(InboundExporter(exporter).export, context, metrics) == (
        "it returned MetricExportResult.FAILURE and logged: attempt 2; gave up"
    )
    for operation in ("force_flush", "shutdown"):
        text = failure(getattr(InboundExporter(exporter), operation), context)
        assert text == "it returned False and logged: attempt 2; gave up"


def test_a_logged_exception_is_part_of_the_reason(context, metrics):
    class Raising(Logging):
        def export(self, metrics_data, timeout_millis=10_000):
            try:
                {}["no route"]
            except KeyError:
                logger.exception("cannot send")
            return MetricExportResult.FAILURE

    text = failure(InboundExporter(Raising()).export, context, metrics)
    assert text.endswith("logged: cannot send: KeyError: 'no route'")


def test_a_base_class_may_log_in_its_own_module(alike, context, metrics):
    class Derived(alike, Logging):
        pass

    exporter = Derived(export=lambda: Logging.export(exporter, None))
    exporter.records, exporter.of = [(logging.ERROR, "from below")], logging.getLogger(alike.__module__)
    Derived.__module__ = "somewhere.else"
    assert failure(InboundExporter(exporter).export, context, metrics).endswith("logged: from below")


def test_records_of_other_threads_and_other_loggers_are_no_reason(context, metrics):
    class Elsewhere(Logging):
        def export(self, metrics_data, timeout_millis=10_000):
            logging.getLogger("unrelated").error("not mine")
            other = threading.Thread(target=logger.error, args=["not this call's"])
            other.start()
            other.join()
            return MetricExportResult.FAILURE

    assert failure(InboundExporter(Elsewhere()).export, context, metrics).endswith("and logged no reason")


def test_each_failure_has_its_own_reason(context, metrics):
    exporter = Logging((logging.ERROR, "the first"))
    bridged = InboundExporter(exporter)
    failure(bridged.export, context, metrics)
    exporter.records = []
    assert failure(bridged.export, context, metrics).endswith("and logged no reason")


def test_records_still_go_where_they_went(context, metrics, caplog):
    failure(InboundExporter(Logging((logging.ERROR, "heard by both"))).export, context, metrics)
    assert caplog.messages == ["heard by both"]


def test_a_program_without_logging_still_shows_the_records_on_standard_error(run_python):
    code = """if True:
        import contextlib, io, logging
        from opentelemetry.sdk.metrics.export import MetricExportResult
        from exporter_core import Context, ExporterError
        from exporter_core.bridge.inbound import InboundExporter

        class Exporter:
            def export(self, metrics_data):
                logging.getLogger(__name__).error("out of paper")
                return MetricExportResult.FAILURE
            def force_flush(self): return True
            def shutdown(self): pass

        shown = io.StringIO()
        with contextlib.redirect_stderr(shown):
            try:
                InboundExporter(Exporter()).export(Context.with_timeout(30), None)
            except ExporterError as error:
                print(error)
        print(shown.getvalue())
    """
    assert run_python(code).splitlines()[:2] == [
        "it returned MetricExportResult.FAILURE and logged: out of paper",
        "out of paper",
    ]


def test_a_record_that_cannot_be_put_into_words_is_left_out(context, metrics, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    exporter = Logging((logging.ERROR, "%d", "seven"))
    assert failure(InboundExporter(exporter).export, context, metrics).endswith("and logged no reason")


def test_secrets_are_masked_in_what_was_logged_before_it_is_cut(context, metrics):
    text = "x" * 393 + " hunter2 and https://me:hunter3@example.org/ " + "y" * 500
    bridged = InboundExporter(Logging((logging.ERROR, text)), masker=Masker(["hunter2"]))
    message = failure(bridged.export, context, metrics)
    assert "hunt" not in message
    assert message.endswith(f"{'x' * 393} *** an...")


def test_a_logger_gets_one_listener_however_many_exporters_there_are(context, metrics):
    for _ in range(3):
        failure(InboundExporter(Logging()).export, context, metrics)
    assert len([one for one in logger.filters if type(one).__module__ == "exporter_core.bridge.logs"]) == 1


# --- deadlines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["export", "force_flush", "shutdown"])
def test_what_remains_is_the_timeout_in_milliseconds(alike, metrics, operation):
    exporter = alike()
    context = FakeClock().context(timeout=2.5)
    getattr(InboundExporter(exporter), operation)(*([context, metrics] if operation == "export" else [context]))
    assert exporter.calls == [(operation, 2500.0)]


def test_without_a_deadline_the_default_of_the_exporter_holds(alike, metrics):
    exporter = alike()
    bridged = InboundExporter(exporter)
    bridged.export(Context.background(), metrics)
    bridged.force_flush(Context.background())
    bridged.shutdown(Context.background())
    assert exporter.calls == [("export", 10_000), ("force_flush", 10_000), ("shutdown", 30_000)]


def test_an_endless_deadline_is_none(alike, metrics):
    exporter = alike()
    InboundExporter(exporter).export(Context.with_timeout(float("inf")), metrics)
    assert exporter.calls == [("export", 10_000)]


def test_a_done_context_ends_exports_and_flushes_before_the_exporter_is_called(alike, metrics):
    exporter = alike()
    bridged = InboundExporter(exporter)
    cancelled = Context.background()
    cancelled.cancel("enough")
    for context, error in ((Context.with_timeout(0), DeadlineExceededError), (cancelled, ContextCancelledError)):
        with pytest.raises(error):
            bridged.export(context, metrics)
        with pytest.raises(error):
            bridged.force_flush(context)
    assert exporter.calls == []


def test_shutdown_calls_the_exporter_though_the_context_is_done(alike):
    exporter = alike()
    with pytest.raises(DeadlineExceededError):
        InboundExporter(exporter).shutdown(Context.with_timeout(0))
    assert exporter.calls == [("shutdown", 1.0)]


def test_exporters_without_the_timeout_are_called_without_it(context, metrics):
    class Old:
        called = ()

        def export(self, metrics_data):
            self.called += ("export",)
            return MetricExportResult.SUCCESS

        def force_flush(self):
            self.called += ("force_flush",)

        def shutdown(self):
            self.called += ("shutdown",)

    exporter = Old()
    bridged = InboundExporter(exporter)
    bridged.export(context, metrics)
    bridged.force_flush(context)
    bridged.shutdown(context)
    assert exporter.called == ("export", "force_flush", "shutdown")


def test_a_type_error_inside_the_exporter_is_its_own_and_no_reason_to_call_it_again(alike, context, metrics):
    exporter = alike(export=TypeError("unexpected keyword argument 'timeout_millis'"))
    with pytest.raises(TypeError):
        InboundExporter(exporter).export(context, metrics)
    assert len(exporter.calls) == 1


# --- after shutdown --------------------------------------------------------------------------------------------------


def test_after_shutdown_nothing_reaches_the_exporter(alike, context, metrics):
    exporter = alike()
    bridged = InboundExporter(exporter)
    bridged.shutdown(context)
    with pytest.raises(ExporterShutdownError):
        bridged.export(context, metrics)
    with pytest.raises(ExporterShutdownError):
        bridged.export(Context.with_timeout(0), metrics)
    with pytest.raises(ExporterShutdownError):
        bridged.shutdown(context)
    bridged.force_flush(context)
    bridged.force_flush(Context.with_timeout(0))
    assert [operation for operation, _ in exporter.calls] == ["shutdown"]
    assert bridged.temporality(InstrumentKind.COUNTER) is AggregationTemporality.CUMULATIVE


def test_a_shutdown_that_fails_is_final_too(alike, context, metrics):
    bridged = InboundExporter(alike(shutdown=OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        bridged.shutdown(context)
    with pytest.raises(ExporterShutdownError):
        bridged.export(context, metrics)
    with pytest.raises(ExporterShutdownError):
        bridged.shutdown(context)


def test_of_shutdowns_side_by_side_one_reaches_the_exporter(alike, context):
    exporter, start, outcomes = alike(), threading.Barrier(8), []

    def shut_down():
        start.wait(30)
        try:
            bridged.shutdown(context)
            outcomes.append("done")
        except ExporterShutdownError:
            outcomes.append("shut down already")

    bridged = InboundExporter(exporter)
    threads = [threading.Thread(target=shut_down) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["done", *["shut down already"] * 7]
    assert len(exporter.calls) == 1


# --- what is no exporter ---------------------------------------------------------------------------------------------


def _without_force_flush(exporter):
    exporter.force_flush = None


def _async(exporter):
    async def export(metrics_data, timeout_millis=0):
        return MetricExportResult.SUCCESS

    exporter.export = export


def _greedy(exporter):
    exporter.shutdown = lambda timeout_millis, reason: None


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            _without_force_flush,
            "Alike.force_flush is missing; a MetricExporter has the methods export, force_flush, shutdown",
        ),
        (_async, "Alike.export is async; the methods of a MetricExporter are plain ones"),
        (_greedy, "Alike.shutdown takes (timeout_millis, reason); expected what a MetricExporter takes, (timeout_mil"),
    ],
)
def test_what_is_no_exporter_is_refused_in_one_line(alike, spoil, says):
    exporter = alike()
    spoil(exporter)
    with pytest.raises(ContractError) as caught:
        InboundExporter(exporter)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


# --- behind the guard ------------------------------------------------------------------------------------------------


def test_it_fits_the_contract():
    assert verify(InboundExporter) is InboundExporter


@pytest.mark.parametrize("runner", ["thread", "inline"])
def test_a_guard_gives_a_failure_its_name_and_reason(context, metrics, runner):
    bridged = InboundExporter(Logging((logging.ERROR, "no ink")))
    with GuardedExporter(bridged, name="printer", runner=runner, masker=Masker(["ink"])) as guarded:
        text = failure(guarded.export, context, metrics)
        assert text == ("exporter 'printer': export failed: it returned MetricExportResult.FAILURE and logged: no ***")
        bridged._exporter.shutdown = lambda timeout_millis=0: None


def test_a_guard_keeps_the_deadline_of_an_exporter_that_hangs(alike, metrics):
    release, clock = threading.Event(), FakeClock()

    def hang() -> MetricExportResult:
        clock.advance(1)
        return release.wait(30) and MetricExportResult.SUCCESS

    exporter = alike(export=hang)
    with GuardedExporter(InboundExporter(exporter), name="stuck") as guarded:
        try:
            with pytest.raises(DeadlineExceededError):
                guarded.export(clock.context(timeout=1), metrics)
            with pytest.raises(ExporterBusyError):
                guarded.export(Context.with_timeout(30), metrics)
            guarded.force_flush(Context.with_timeout(30))
        finally:
            release.set()
    assert [operation for operation, _ in exporter.calls] == ["export", "force_flush", "shutdown"]


def test_a_guard_refuses_a_temporality_that_is_none(alike):
    exporter = alike()
    exporter._preferred_temporality = {sdk.Counter: "delta"}
    with pytest.raises(ContractError, match="counter"):
        GuardedExporter(InboundExporter(exporter), name="odd")


def test_an_exporter_that_does_not_fit_cannot_be_built_behind_a_guard(alike):
    with pytest.raises(PluginLoadError, match=r"cannot be built: .*export is missing"):
        GuardedExporter(factory=lambda: InboundExporter(object()), name="odd")


def test_a_subclass_of_the_sdks_own_base_is_an_exporter(context, metrics):
    class Mine(MetricExporter):
        def export(self, metrics_data, timeout_millis=10_000, **kwargs):
            self.got = metrics_data
            return MetricExportResult.SUCCESS

        def force_flush(self, timeout_millis=10_000):
            return True

        def shutdown(self, timeout_millis=30_000, **kwargs):
            pass

    exporter = Mine(preferred_temporality={sdk.Counter: AggregationTemporality.DELTA})
    with GuardedExporter(InboundExporter(exporter), name="mine") as guarded:
        guarded.export(context, metrics)
        assert guarded.temporality(InstrumentKind.COUNTER) is AggregationTemporality.DELTA
    assert exporter.got is metrics
