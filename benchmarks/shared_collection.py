"""What further exporters cost the application: a measurement and a tick's collection, with three beside one.

Three exporters that take cumulative data share one collection; beside them, what three readers of their own cost. The
exporters do nothing, on threads of their own. Also what noticing the first measurement of a process costs at each.

Ratios are the median of the rounds' own ratios, in processor time: what else the machine does falls on both sides.
"""

from __future__ import annotations

import gc
import statistics
import time
from typing import TYPE_CHECKING, Any

from _common import Row, arguments, one_cpu, report
from opentelemetry.context import Context as PropagationContext
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider, TraceBasedExemplarFilter
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from exporter_core import Context, Pipeline
from exporter_core.pipeline.recording import FirstMeasurement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.metrics import MeterProvider as ApiMeterProvider
    from opentelemetry.sdk.metrics import ExemplarFilter

CALLS = 2_000
SHAPES = {
    "HTTP server metrics": (3, 300, True),
    "counters, 1,000 series each": (5, 1000, False),
    "a small service, 75 metrics of 4": (75, 4, True),
    "500 metrics of 3 series": (500, 3, False),
    "2,000 metrics of one point": (2000, 1, False),
}
"""Instruments, series of each, and whether they are histograms."""
SIDES = {"one": (1, True), "three": (3, True), "apart": (3, False)}


def main() -> int:
    options = arguments(__doc__, rounds=9).parse_args()
    with one_cpu():
        rows = [*measurements(options.rounds), *ticks(options.rounds), *noticing(options.rounds)]
    return 0 if report("shared collection", rows, as_json=options.json) else 1


def pipeline(count: int, *, share: bool) -> Pipeline:
    """A pipeline of so many exporters that do nothing."""
    readers = [{"periodic": {"interval": 3_600_000, "exporter": {"none": {}}}} for _ in range(count)]
    config = {
        "file_format": "1.1",
        "meter_provider": {"readers": readers},
        "exporter_core": {"share_collection": share},
    }
    return Pipeline.from_config(config)


def rounds_of(sides: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each side measures, interleaved; the first round warms up."""
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, measure in sides.items():
            value = measure()
            if number:
                measured[name].append(value)
    return measured


def ratio(measured: dict[str, list[float]], side: str, peer: str) -> float:
    return statistics.median(a / b for a, b in zip(measured[side], measured[peer], strict=True))


def rows_of(what: str, unit: str, measured: dict[str, list[float]], bound: float) -> Iterator[Row]:
    middle = {name: statistics.median(values) for name, values in measured.items()}
    yield Row(what, middle["three"], unit, "of one exporter", middle["one"], ratio(measured, "three", "one"), bound)
    peer = "three that do not share"
    yield Row(f"  {peer}", middle["apart"], unit, "of one exporter", middle["one"], ratio(measured, "apart", "one"))


def measurements(rounds: int) -> Iterator[Row]:
    """Microseconds of one ``add``."""
    pipelines = {name: pipeline(count, share=share) for name, (count, share) in SIDES.items()}

    def adding(one: Pipeline) -> Callable[[], float]:
        counter = one.meter_provider.get_meter("benchmark").create_counter("requests")
        attributes = {"http.request.method": "GET", "http.route": "/"}

        def measure() -> float:
            begun = time.process_time()
            for _ in range(CALLS):
                counter.add(1, attributes)
            return (time.process_time() - begun) / CALLS * 1e6

        return measure

    measured = rounds_of({name: adding(one) for name, one in pipelines.items()}, rounds)
    yield from rows_of("a measurement, three exporters", "µs", measured, 1.1)
    for one in pipelines.values():
        one.shutdown()


def ticks(rounds: int) -> Iterator[Row]:
    """Milliseconds of what the readers' threads do at one tick: collect, and export to exporters that do nothing."""
    for shape, (instruments, series, histograms) in SHAPES.items():
        pipelines = {name: pipeline(count, share=share) for name, (count, share) in SIDES.items()}
        for one in pipelines.values():
            record(one.meter_provider, instruments, series, histograms=histograms)

        def ticking(one: Pipeline) -> Callable[[], float]:
            def tick() -> float:
                context = Context.with_timeout(600)
                begun, now = time.process_time(), time.monotonic()
                for reader in one.readers:
                    metrics = reader.collection.take(reader, context, now)
                    if metrics is not None:
                        reader.exporter.export(context, metrics)
                return (time.process_time() - begun) * 1e3

            def measure() -> float:
                gc.collect()  # else a round pays for the garbage of those before
                return min(tick() for _ in range(5))

            return measure

        measured = rounds_of({name: ticking(one) for name, one in pipelines.items()}, rounds)
        yield from rows_of(f"a tick, three exporters, {shape}", "ms", measured, 1.1)
        for one in pipelines.values():
            one.shutdown()


def record(provider: ApiMeterProvider, instruments: int, series: int, *, histograms: bool) -> None:
    meter = provider.get_meter("benchmark")
    for number in range(instruments):
        instrument: Any  # Any: a histogram or a counter
        instrument = meter.create_histogram(f"m{number}") if histograms else meter.create_counter(f"m{number}")
        do = instrument.record if histograms else instrument.add
        for one in range(series):
            do(one, {"http.request.method": "GET", "http.route": f"/items/{one}", "http.response.status_code": 200})


def noticing(rounds: int) -> Iterator[Row]:
    """Per cent that the exemplar filter of a pipeline adds to an ``add`` of the SDK's own filter."""
    filters: dict[str, ExemplarFilter] = {
        "trace_based": TraceBasedExemplarFilter(),
        "always_off": AlwaysOffExemplarFilter(),
    }
    for name, inner in filters.items():
        provider = MeterProvider([InMemoryMetricReader()], exemplar_filter=inner, shutdown_on_exit=False)
        counter = provider.get_meter("benchmark").create_counter("requests")
        sides = {
            "bare": asking(inner),
            "ours": asking(FirstMeasurement(inner, lambda: None)),
            "add": lambda counter=counter: per_call(lambda: counter.add(1, {"http.route": "/"})),
        }
        measured = rounds_of(sides, rounds)
        share = statistics.median(
            100 * (ours - bare) / add
            for ours, bare, add in zip(measured["ours"], measured["bare"], measured["add"], strict=True)
        )
        middle = {side: statistics.median(values) for side, values in measured.items()}
        yield Row(
            f"noticing the first measurement, {name}", middle["ours"] - middle["bare"], "µs", "a measurement",
            middle["add"], share, 5.0, "%",
        )  # fmt: skip


def asking(one: ExemplarFilter) -> Callable[[], float]:
    context = PropagationContext()
    return lambda: per_call(lambda: one.should_sample(1, 0, None, context))


def per_call(function: Callable[[], object]) -> float:
    """Microseconds."""
    begun = time.process_time()
    for _ in range(CALLS):
        function()
    return (time.process_time() - begun) / CALLS * 1e6


if __name__ == "__main__":
    raise SystemExit(main())
