"""The contract's promises, and the options."""

import gc
import importlib.metadata
import json
import sys
import threading
import weakref
from importlib import resources

import pytest
from exporter_core_console import ConsoleConfig, ConsoleExporter
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import DefaultAggregation, ExponentialBucketHistogramAggregation
from pydantic import ValidationError

from exporter_core import (
    Context,
    ContextCancelledError,
    DeadlineExceededError,
    ExporterShutdownError,
    InstrumentKind,
    load_exporter,
)

CUMULATIVE = AggregationTemporality.CUMULATIVE
DELTA = AggregationTemporality.DELTA
GENEROUS = 20


def done_context():
    context = Context.background()
    context.cancel("enough")
    return context


@pytest.fixture
def gate(monkeypatch):
    """Something for stdout whose writes wait for the gate to open. (The test runner sets stdout after the fixtures.)"""

    class Gate:
        encoding = "utf-8"

        def __init__(self):
            self.entered = threading.Event()
            self.opened = threading.Event()
            self.events = []

        def install(self):
            monkeypatch.setattr(sys, "stdout", self)

        def write(self, text):
            self.entered.set()
            assert self.opened.wait(GENEROUS)
            self.events.append("written")

    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def background():
    threads = []

    def start(function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        thread.start()
        threads.append(thread)
        return thread

    yield start
    for thread in threads:
        thread.join(GENEROUS)
        assert not thread.is_alive()


# --- shutting down ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make_context", [Context.background, done_context])
def test_after_shutdown_exports_and_shutdowns_are_refused_and_flushes_return(
    make_context, exporter, batch, context, capsys
):
    console = exporter()
    console.shutdown(context)
    with pytest.raises(ExporterShutdownError):
        console.export(make_context(), batch(("m", 1, {})))
    with pytest.raises(ExporterShutdownError):
        console.shutdown(make_context())
    console.force_flush(make_context())
    assert console.temporality(InstrumentKind.COUNTER) == CUMULATIVE
    assert capsys.readouterr() == ("", "")


def test_shutdown_leaves_the_stream_open(exporter, batch, context, capsys):
    exporter().shutdown(context)
    exporter().export(context, batch(("m", 1, {})))
    assert json.loads(capsys.readouterr().out)["metric"] == "m"


def test_a_done_context_ends_an_export_before_it_touches_anything(exporter, batch, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(ContextCancelledError, match="enough"):
        exporter().export(done_context(), batch(("m", 1, {})))
    with pytest.raises(DeadlineExceededError):
        exporter().export(Context.with_timeout(0), batch(("m", 1, {})))
    with pytest.raises(ContextCancelledError, match="enough"):
        exporter().force_flush(done_context())


def test_shutdown_with_a_done_context_shuts_down_and_raises_its_error(exporter, batch, context):
    console = exporter()
    with pytest.raises(ContextCancelledError, match="enough"):
        console.shutdown(done_context())
    with pytest.raises(ExporterShutdownError):
        console.export(context, batch(("m", 1, {})))


def test_shutdown_lets_a_running_export_finish(exporter, batch, context, gate, background):
    gate.install()
    console = exporter()
    exporting = background(console.export, context, batch(("m", 1, {})))
    assert gate.entered.wait(GENEROUS)

    def shut_down():
        console.shutdown(context)
        gate.events.append("shut down")

    shutting_down = background(shut_down)
    console.force_flush(context)
    assert console.temporality(InstrumentKind.COUNTER) == CUMULATIVE
    gate.opened.set()
    exporting.join(GENEROUS)
    shutting_down.join(GENEROUS)
    assert gate.events == ["written", "shut down"]


def test_shutdown_cancels_a_running_export_when_its_own_context_ends(exporter, batch, pipe, background):
    pipe.as_stdout()
    console = exporter()
    pipe.fill()
    outcome = []

    def export():
        with pytest.raises(ExporterShutdownError, match="shut down before the export was done") as raised:
            console.export(Context.background(), batch(("m", 1, {})))
        outcome.append(raised.value)

    exporting = background(export)
    while console._running is None:
        exporting.join(0.01)
    with pytest.raises(DeadlineExceededError):
        console.shutdown(Context.with_timeout(0.1))
    exporting.join(GENEROUS)
    assert outcome


def test_an_export_that_waits_for_its_turn_when_shutdown_comes_writes_nothing(
    exporter, batch, context, gate, background
):
    gate.install()
    console = exporter()
    writing = background(console.export, context, batch(("m", 1, {})))
    assert gate.entered.wait(GENEROUS)
    waits = threading.Event()
    outcome = []

    class Noting(Context):
        def remaining(self):
            waits.set()  # what waits asks how long it may
            return super().remaining()

    def export():
        try:
            console.export(Noting(deadline=context.deadline), batch(("late", 1, {})))
        except ExporterShutdownError as error:
            outcome.append(error)

    waiting = background(export)
    assert waits.wait(GENEROUS)
    with pytest.raises(DeadlineExceededError):
        console.shutdown(Context.with_timeout(0.05))
    gate.opened.set()
    writing.join(GENEROUS)
    waiting.join(GENEROUS)
    assert len(outcome) == 1
    assert gate.events == ["written"]


def test_exports_of_several_threads_are_all_written(exporter, batch, context, capsys, background):
    console = exporter()
    start = threading.Barrier(4)

    def export():
        start.wait(GENEROUS)
        for _ in range(20):
            console.export(context, batch(("m", 1, {}), ("n", 2, {})))

    for thread in [background(export) for _ in range(4)]:
        thread.join(GENEROUS)
    names = [json.loads(line)["metric"] for line in capsys.readouterr().out.splitlines()]
    assert names == ["m", "n"] * 80


@pytest.mark.parametrize("form", ["table", "json"])
def test_nothing_that_was_exported_is_kept_or_changed(form, exporter, shop, context, capsys):
    console = exporter(format=form)
    before = shop.to_json()
    console.export(context, shop)
    assert shop.to_json() == before
    (scope,) = shop.resource_metrics[0].scope_metrics
    metric = weakref.ref(scope.metrics.pop())
    gc.collect()
    assert metric() is None
    assert capsys.readouterr().out


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preference", "delta"),
    [
        ("cumulative", set()),
        (None, set()),
        ("delta", {"counter", "observable_counter", "histogram"}),
        ("low_memory", {"counter", "histogram"}),
    ],
)
def test_the_temporality_preference_decides_which_kinds_are_delta(preference, delta, exporter):
    console = exporter(temporality_preference=preference)
    assert {kind for kind in InstrumentKind if console.temporality(kind) == DELTA} == delta
    assert {kind for kind in InstrumentKind if console.temporality(kind) == CUMULATIVE} == set(InstrumentKind) - delta


@pytest.mark.parametrize("choice", ["explicit_bucket_histogram", "base2_exponential_bucket_histogram", None])
def test_only_histograms_may_be_exponential(choice, exporter):
    console = exporter(default_histogram_aggregation=choice)
    for kind in InstrumentKind:
        exponential = kind == "histogram" and choice == "base2_exponential_bucket_histogram"
        expected = ExponentialBucketHistogramAggregation if exponential else DefaultAggregation
        assert type(console.aggregation(kind)) is expected


def test_the_default_is_a_table_or_json_lines_on_stdout(exporter, batch, context, capsys):
    exporter().export(context, batch(("m", 1, {})))
    captured = capsys.readouterr()
    assert json.loads(captured.out)["metric"] == "m"
    assert captured.err == ""


@pytest.mark.parametrize(
    "options", [{"format": "yaml"}, {"stream": "file"}, {"temporality_preference": "Delta"}, {"colour": True}]
)
def test_unknown_options_and_values_are_refused(options):
    with pytest.raises(ValidationError):
        ConsoleConfig(**options)


def test_every_option_is_described():
    assert all(field.description for field in ConsoleConfig.model_fields.values())


def test_the_official_options_take_exactly_the_values_of_the_official_schema():
    schema = json.loads(resources.files("opentelemetry.configuration").joinpath("schema.json").read_text())
    official = schema["$defs"]["ConsoleMetricExporter"]["properties"]
    for name, reference in official.items():
        values = schema["$defs"][reference["$ref"].rpartition("/")[2]]["enum"]
        for value in [*values, None]:
            assert getattr(ConsoleConfig(**{name: value}), name) == value
        ours = ConsoleConfig.model_json_schema()["properties"][name]["anyOf"][0]["enum"]
        assert set(ours) == set(values)


def test_the_exporter_is_registered_by_its_name():
    (entry,) = importlib.metadata.entry_points(group="exporter_core.exporters.v1", name="console")
    assert entry.load() is ConsoleExporter
    assert entry.dist.name == "exporter-core-console"
    assert ConsoleExporter.config_model is ConsoleConfig


def test_it_is_chosen_by_name_and_runs_behind_a_guard(batch, context, capsys):
    with load_exporter("console", {"format": "json", "stream": "stderr"}) as guarded:
        guarded.export(context, batch(("m", 1, {})))
    with pytest.raises(ExporterShutdownError):
        guarded.export(context, batch(("late", 1, {})))
    assert json.loads(capsys.readouterr().err)["metric"] == "m"


def test_behind_a_guard_a_blocked_pipe_is_an_error_on_time_and_the_next_export_succeeds(batch, context, pipe):
    pipe.as_stdout()
    with load_exporter("console") as guarded:
        pipe.fill()
        with pytest.raises(DeadlineExceededError):
            guarded.export(Context.with_timeout(0.1), batch(("lost", 1, {})))
        pipe.drain()
        while guarded.busy:  # the guard gave up at the same moment as the exporter, which may need one more
            assert not context.wait(0.01)
        guarded.export(context, batch(("m", 1, {})))
    assert json.loads(pipe.drain())["metric"] == "m"
