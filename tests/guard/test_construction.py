"""Construction: the factory is bounded, the two look-ups are asked once for every kind, their answers validated."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import DefaultAggregation, SumAggregation

from exporter_core.contract import InstrumentKind
from exporter_core.errors import ContractError, PluginLoadError
from exporter_core.exporter import Destination, Exporter, ExporterConfig
from exporter_core.guard import GuardedExporter
from exporter_core.masking import Masker
from exporter_core.testing import FakeExporter

runners = pytest.mark.parametrize("runner", ["thread", "inline"])


def raising(error: BaseException):
    def factory():
        raise error

    return factory


@runners
def test_the_look_ups_are_asked_once_for_every_kind(guarded, runner):
    asked = []

    def temporality(kind):
        asked.append(kind)
        return AggregationTemporality.DELTA if kind is InstrumentKind.COUNTER else AggregationTemporality.CUMULATIVE

    sums = {kind: SumAggregation() for kind in InstrumentKind}
    guard = guarded(FakeExporter(on_temporality=temporality, on_aggregation=sums.__getitem__), runner=runner)
    assert guard.temporality(InstrumentKind.COUNTER) is AggregationTemporality.DELTA
    assert guard.temporality("gauge") is AggregationTemporality.CUMULATIVE
    assert [guard.aggregation(kind) for kind in InstrumentKind] == list(sums.values())
    assert asked == list(InstrumentKind)


@runners
def test_an_unknown_kind_is_an_error_that_lists_the_kinds(guarded, runner):
    guard = guarded(runner=runner)
    for look_up in (guard.temporality, guard.aggregation):
        with pytest.raises(ValueError, match="'timer' is not an instrument kind; the kinds are counter, up_down_"):
            look_up("timer")


@runners
@pytest.mark.parametrize("answer", [None, AggregationTemporality.UNSPECIFIED, True, "delta", 7, object()])
def test_a_temporality_that_is_none_does_not_fit(answer, runner):
    with pytest.raises(ContractError, match=r"FakeExporter\.temporality\(counter\) answered .* must be Aggregation"):
        GuardedExporter(FakeExporter(on_temporality=lambda kind: answer), name="fake", runner=runner)


@runners
@pytest.mark.parametrize("answer", [None, DefaultAggregation, "sum", object()])
def test_an_aggregation_that_is_none_does_not_fit(answer, runner):
    with pytest.raises(ContractError, match=r"FakeExporter\.aggregation\(counter\) answered .* must be an Aggregation"):
        GuardedExporter(FakeExporter(on_aggregation=lambda kind: answer), name="fake", runner=runner)


def test_the_kind_that_got_no_answer_is_named():
    def temporality(kind):
        return None if kind is InstrumentKind.OBSERVABLE_GAUGE else AggregationTemporality.DELTA

    with pytest.raises(ContractError, match=r"temporality\(observable_gauge\) answered None"):
        GuardedExporter(FakeExporter(on_temporality=temporality), name="fake")


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_a_look_up_that_raises_cannot_be_built(error):
    with pytest.raises(PluginLoadError, match="exporter 'fake' cannot be built") as caught:
        GuardedExporter(FakeExporter(on_aggregation=lambda kind: raising(error)()), name="fake")
    assert caught.value.__cause__ is error


@runners
@pytest.mark.parametrize("error", [OSError("no such host"), GeneratorExit(), ContractError("mine"), AssertionError()])
def test_a_factory_that_raises_is_a_load_error_that_names_the_exporter_and_the_cause(error, runner):
    with pytest.raises(PluginLoadError) as caught:
        GuardedExporter(factory=raising(error), name="fake", origin="example 1.2", runner=runner)
    assert str(caught.value).startswith("exporter 'fake' (example 1.2) cannot be built: ")
    assert str(error) in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_a_factory_that_would_end_the_host_does_not(error):
    with pytest.raises(PluginLoadError) as caught:
        GuardedExporter(factory=raising(error), name="fake")
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_inline_on_the_main_thread_it_may_be_the_hosts_own(error):
    with pytest.raises(type(error)):
        GuardedExporter(factory=raising(error), name="fake", runner="inline")


class Awaiting(Exporter[ExporterConfig]):
    async def export(self, context, metrics):
        pass


@pytest.mark.parametrize("make", [FakeExporter, lambda: Awaiting(ExporterConfig())])
def test_where_no_thread_can_be_started_it_says_so_and_leaves_none(monkeypatch, make):
    started = []
    really = threading.Thread.start

    def start(thread):
        if len(started) == allowed[0]:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        really(thread)

    allowed = [0]
    monkeypatch.setattr(threading.Thread, "start", start)
    for allowed[0] in range(3):
        with pytest.raises(PluginLoadError, match=r"^exporter 'fake' cannot be built: can't start new thread$"):
            GuardedExporter(make(), name="fake")
        for thread in started:
            thread.join(30)
            assert not thread.is_alive()
        started.clear()


def test_secrets_in_a_factorys_error_are_masked():
    with pytest.raises(PluginLoadError) as caught:
        GuardedExporter(factory=raising(OSError("bad key hunter2")), name="fake", masker=Masker(["hunter2"]))
    assert "hunter2" not in str(caught.value)


def test_secrets_in_a_set_up_error_of_the_plugins_own_are_masked():
    with pytest.raises(PluginLoadError) as caught:
        GuardedExporter(factory=raising(ContractError("bad key hunter2")), name="fake", masker=Masker(["hunter2"]))
    assert "hunter2" not in str(caught.value)


def test_a_factory_that_hangs_is_given_up(gate, until):
    def factory():
        gate.hold()
        return FakeExporter()

    with pytest.raises(PluginLoadError, match="exporter 'fake' was not built in time"):
        GuardedExporter(factory=factory, name="fake", timeout=0.02)
    gate.open()
    until(lambda: not any(thread.name == "exporter-core-fake-export" for thread in threading.enumerate()))


def test_a_look_up_that_hangs_is_given_up(gate):
    with pytest.raises(PluginLoadError, match="its constructor or its first answers take too long"):
        GuardedExporter(FakeExporter(on_temporality=gate.hold), name="fake", timeout=0.02)
    gate.open()


@runners
def test_a_class_that_does_not_fit_is_not_guarded(runner):
    with pytest.raises(ContractError, match="has no operation 'export'"):
        GuardedExporter(object(), name="fake", runner=runner)


@runners
def test_an_exporter_whose_operations_pluggy_does_not_see_is_not_guarded(runner):
    class Hidden(FakeExporter):
        def __dir__(self):
            return [name for name in super().__dir__() if name != "export"]

    with pytest.raises(ContractError, match=r"Hidden.* hides its operation 'export'"):
        GuardedExporter(Hidden(), name="fake", runner=runner)


def test_inline_refuses_an_async_exporter():
    class Asynchronous(FakeExporter):
        async def export(self, context, metrics): ...

    with pytest.raises(ContractError, match="export is async, which the inline runner cannot run; use runner 'thread'"):
        GuardedExporter(Asynchronous(), name="fake", runner="inline")


def test_a_failed_construction_leaves_no_thread(until):
    for exporter in (object(), FakeExporter(on_temporality=lambda kind: None)):
        with pytest.raises(ContractError):
            GuardedExporter(exporter, name="leaves-nothing")
    until(lambda: not any("leaves-nothing" in thread.name for thread in threading.enumerate()))


def test_a_failure_after_the_exporter_was_built_leaves_no_thread(monkeypatch, until):
    class Asynchronous(FakeExporter):
        async def shutdown(self, context): ...

    monkeypatch.setattr(
        "exporter_core.guard.runners.loop.asyncio.new_event_loop", raising(OSError("too many open files"))
    )
    with pytest.raises(OSError, match="too many"):
        GuardedExporter(Asynchronous(), name="half-way")
    until(lambda: not any("half-way" in thread.name for thread in threading.enumerate()))


def test_it_takes_an_exporter_or_a_factory():
    for arguments in ({}, {"exporter": FakeExporter(), "factory": FakeExporter}):
        with pytest.raises(TypeError, match="an exporter or a factory, and not both"):
            GuardedExporter(**arguments, name="fake")


def test_an_unknown_runner_is_refused():
    with pytest.raises(ValueError, match="runner: expected 'thread' or 'inline', not 'process'"):
        GuardedExporter(FakeExporter(), name="fake", runner="process")


@runners
def test_what_it_is_can_be_asked(guarded, runner):
    guard = guarded(name="files", runner=runner)
    assert (guard.name, guard.runner, guard.state, guard.busy) == ("files", runner, "active", False)
    assert repr(guard) == f"<GuardedExporter 'files' active, runner {runner}>"
    assert guard.destination is None


def test_the_destination_is_what_the_exporter_says(guarded):
    class Placed(FakeExporter):
        def destination(self):
            return Destination("metrics.db", "sqlite3 metrics.db")

    assert guarded(Placed(ExporterConfig())).destination == Destination("metrics.db", "sqlite3 metrics.db")


def test_a_destination_may_be_shown_whatever_it_is_made_of(guarded):
    class Placed(FakeExporter):
        def destination(self):
            return Destination(Path("/data/s3cr3t-bucket"), "read --from http://me:pass@host --key s3cr3t")

    guard = guarded(Placed(), masker=Masker(["s3cr3t"]))
    assert guard.destination == Destination("/data/***-bucket", "read --from http://***@host --key ***")


def test_a_destination_is_plain_text_whatever_class_of_text_the_exporter_gives(guarded):
    class Unprintable(str):
        __slots__ = ()

        def isprintable(self):
            return True

        def __str__(self):
            return self

    class Placed(FakeExporter):
        def destination(self):
            return Destination(Unprintable("\x1b[2J"), Unprintable("cat \x1b"))

    destination = guarded(Placed()).destination
    assert destination == Destination("\x1b[2J", "cat \x1b")
    assert [type(text) for text in destination] == [str, str]


def test_a_destination_of_another_type_is_none(guarded):
    class Placed(FakeExporter):
        def destination(self):
            return "metrics.db"

    assert guarded(Placed()).destination is None
