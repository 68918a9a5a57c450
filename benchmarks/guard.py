"""What the guard costs, and that its deadlines hold: each figure beside the nearest bare thing, in one interleaved run.

Ratios are the median of the rounds' own ratios, so that what else the machine does falls on both sides alike. Calls
are timed on one CPU: where the system places two threads makes a hand-over, bare or guarded, cost five times as much.
"""

from __future__ import annotations

import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from _common import Row, arguments, at_least, one_cpu, percentile, report
from opentelemetry.sdk.metrics.export import (
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core import Context, DeadlineExceededError, Exporter, ExporterConfig, InstrumentKind, Pipeline
from exporter_core.contract import EXPORTER_GROUP
from exporter_core.guard import GuardedExporter
from exporter_core.guard.hooks import bind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 600.0
SHORTEST, LONGEST = 0.020, 0.200  # seconds, of the deadlines
EXPORT_SECONDS = 0.2
READERS = 8


class Nothing(Exporter[ExporterConfig]):
    """Takes every batch and does nothing with it."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        """Do nothing."""


class Hung(Nothing):
    """Never returns from an export."""

    def export(self, context: Context, metrics: MetricsData) -> None:  # noqa: ARG002 - it honours no context
        """Hang."""
        threading.Event().wait()


class Plain:
    """What a look-up costs without anything around it."""

    def __init__(self) -> None:
        self._answer = object()

    def temporality(self, instrument_kind: InstrumentKind) -> object:  # noqa: ARG002 - as the guard's
        """Return it."""
        return self._answer


# What a hung exporter does to a process's exit, and what slow exporters do to a flush, is measured on plugins that are
# installed: this is the distribution.
PLUGIN = f'''
import threading
from exporter_core import Exporter, ExporterConfig

class Slow(Exporter[ExporterConfig]):
    """Takes its time."""
    def export(self, context, metrics):
        context.wait({EXPORT_SECONDS})

class Hung(Exporter[ExporterConfig]):
    """Never returns from an export."""
    def export(self, context, metrics):
        threading.Event().wait()
'''

OURS = """
from exporter_core import Pipeline
pipeline = Pipeline.from_config({
    "file_format": "1.1",
    "meter_provider": {"readers": [{"periodic": {"interval": 10, "timeout": 60000, "exporter": {"hung": {}}}}]},
}, shutdown_timeout=1.0)
pipeline.meter_provider.get_meter("benchmark").create_counter("requests").add(1)
import threading
tick = threading.Event()
while not pipeline.exporters[0].busy:
    tick.wait(0.001)
print("ended", flush=True)
"""

THEIRS = """
import threading
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader

entered = threading.Event()

class Hung(ConsoleMetricExporter):
    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        entered.set()
        threading.Event().wait()

provider = MeterProvider([PeriodicExportingMetricReader(Hung(), export_interval_millis=10)])
provider.get_meter("benchmark").create_counter("requests").add(1)
entered.wait()
print("ended", flush=True)
"""


def main() -> int:
    parser = arguments(__doc__, rounds=41, of="rounds of the call costs")
    deadlines = "exports with a deadline, at least 5 (default: 100)"
    parser.add_argument("--deadlines", type=at_least(5), default=100, help=deadlines)
    parser.add_argument("--exit-bound", type=float, default=40.0, help="seconds the SDK gets to exit (default: 40)")
    parser.add_argument("--quick", action="store_true", help="a smoke run: few rounds, figures that mean little")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.deadlines, options.exit_bound = 5, 5, 3.0
    with tempfile.TemporaryDirectory(prefix="exporter-core-benchmark-") as folder:
        install(Path(folder))
        rows = [
            *call_costs(options.rounds),
            *overshoots(options.deadlines),
            *exits(Path(folder), options.exit_bound),
            flush_of_many(Path(folder)),
        ]
    reached = report("guard", rows, as_json=options.json, quick=options.quick)
    return 0 if reached or options.quick else 1


def install(folder: Path) -> None:
    """Install the distribution whose plugins the benchmark names."""
    (folder / "benchmark_plugins.py").write_text(PLUGIN)
    info = folder / "benchmark_plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: benchmark-plugins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{EXPORTER_GROUP}]\nslow = benchmark_plugins:Slow\nhung = benchmark_plugins:Hung\n"
    )
    os.environ["EXPORTER_CORE_CACHE"] = "off"


def one_point() -> MetricsData:
    gauge = Metric("benchmark", "", "1", Gauge([NumberDataPoint({}, 0, 1, 1)]))
    scope = ScopeMetrics(InstrumentationScope("benchmark"), [gauge], "")
    return MetricsData([ResourceMetrics(Resource({}), [scope], "")])


# --- what a call costs -----------------------------------------------------------------------------------------------


def call_costs(rounds: int) -> Iterator[Row]:
    """Microseconds of one call, guarded and bare."""
    metrics, context, kind = one_point(), Context.with_timeout(PATIENCE), InstrumentKind.COUNTER
    hooks, plain = bind(Nothing(ExporterConfig())), Plain()
    with ExitStack() as stack:
        stack.enter_context(one_cpu())
        inline = stack.enter_context(GuardedExporter(Nothing(ExporterConfig()), name="inline", runner="inline"))
        thread = stack.enter_context(GuardedExporter(Nothing(ExporterConfig()), name="thread"))
        hand_over = stack.enter_context(HandOver())
        sides: dict[str, tuple[int, Callable[[], object]]] = {
            "calibration": (20, additions),
            "plain": (5000, lambda: plain.temporality(kind)),
            "temporality": (5000, lambda: inline.temporality(kind)),
            "hook": (2000, lambda: hooks.export(context=context, metrics=metrics)),
            "inline": (2000, lambda: inline.export(context, metrics)),
            "hand-over": (500, hand_over.go),
            "thread": (500, lambda: thread.export(context, metrics)),
        }
        times: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(rounds + 1):
            for name, (calls, function) in sides.items():
                microseconds = per_call(function, calls)
                if number:  # the first round warms up
                    times[name].append(microseconds)
    middle = {name: statistics.median(values) for name, values in times.items()}

    def row(what: str, own: str, peer_text: str, peer: str, floor: float) -> Row:
        ratio = statistics.median(a / b for a, b in zip(times[own], times[peer], strict=True))
        return Row(what, middle[own], "µs", peer_text, middle[peer], ratio, floor)

    yield Row("calibration: a loop of 1,000 additions", middle["calibration"], "µs")
    yield row("temporality", "temporality", "a plain method call", "plain", 5.0)
    yield row("export of a no-op exporter, inline", "inline", "a bare pluggy hook call", "hook", 2.5)
    yield row("export of a no-op exporter, thread", "thread", "a bare hand-over to a thread", "hand-over", 2.0)


def per_call(function: Callable[[], object], calls: int) -> float:
    begun = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - begun) / calls * 1e6


def additions() -> int:
    total = 0
    for number in range(1000):
        total += number
    return total


class HandOver:
    """A thread that waits for work and says when it is done: SimpleQueue there, Lock back."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[threading.Lock | None] = queue.SimpleQueue()
        self._back = threading.Lock()
        self._back.acquire()
        threading.Thread(target=self._work, daemon=True).start()

    def go(self) -> None:
        """There and back."""
        self._queue.put(self._back)
        self._back.acquire()

    def _work(self) -> None:
        while (back := self._queue.get()) is not None:
            back.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.put(None)


# --- deadlines -------------------------------------------------------------------------------------------------------


def overshoots(count: int, rounds: int = 5, lanes: int = 4) -> Iterator[Row]:
    """Milliseconds by which a caller comes back after its deadline, with an exporter that is hung for ever.

    A few deadlines are waited for at a time, bare and guarded in turn; each round has its own 99th percentiles.
    """
    metrics = one_point()
    deadlines = [SHORTEST + (LONGEST - SHORTEST) * number / (count - 1) for number in range(count)]
    sides: dict[str, list[float]] = {"ours": [], "bare": []}
    with ThreadPoolExecutor(lanes) as pool:
        for _ in range(rounds):
            pairs = list(pool.map(lambda seconds: (overshoot(seconds, metrics), bare_overshoot(seconds)), deadlines))
            for side, values in zip(sides, zip(*pairs, strict=True), strict=True):
                sides[side].append(percentile(values, 99))
    more = statistics.median(ours - bare for ours, bare in zip(sides["ours"], sides["bare"], strict=True))
    value, peer = statistics.median(sides["ours"]), statistics.median(sides["bare"])
    yield Row(
        f"overshoot of {count} deadlines, 99th percentile", value, "ms", "Lock.acquire(timeout=)", peer, more,
        10.0, "ms more",
    )  # fmt: skip
    yield sdk_overshoot(metrics)


def overshoot(seconds: float, metrics: MetricsData) -> float:
    guard = GuardedExporter(Hung(ExporterConfig()), name="hung")
    begun = time.perf_counter()
    try:
        guard.export(Context.with_timeout(seconds), metrics)
    except DeadlineExceededError:
        late = (time.perf_counter() - begun - seconds) * 1000
    else:
        raise SystemExit("an export into a hung exporter returned")
    try:
        guard.shutdown(Context.with_timeout(5))
    except DeadlineExceededError:
        raise SystemExit("a guard did not shut down beside a hung export") from None
    return late


def bare_overshoot(seconds: float) -> float:
    locked = threading.Lock()
    locked.acquire()
    begun = time.perf_counter()
    locked.acquire(timeout=seconds)
    return (time.perf_counter() - begun - seconds) * 1000


def sdk_overshoot(metrics: MetricsData, attempts: int = 5, bound: float = 2.0) -> Row:
    """The SDK's reader with the same deadlines; each is watched for so many seconds."""
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter  # noqa: PLC0415 - for the one row

    class HungSdkExporter(ConsoleMetricExporter):
        def export(self, *_: object, **__: object) -> None:  # type: ignore[override]  # it never returns
            threading.Event().wait()

    returned: list[float] = []

    def export(reader: PeriodicExportingMetricReader, seconds: float) -> None:
        begun = time.perf_counter()
        reader._receive_metrics(metrics, timeout_millis=seconds * 1000)  # what its collect, flush and ticker come to
        returned.append((time.perf_counter() - begun - seconds) * 1000)

    threads = []
    for number in range(attempts):
        seconds = SHORTEST + (LONGEST - SHORTEST) * number / (attempts - 1)
        reader = PeriodicExportingMetricReader(HungSdkExporter(), export_interval_millis=float("inf"))
        threads.append(threading.Thread(target=export, args=(reader, seconds), daemon=True))
        threads[-1].start()
    until = time.perf_counter() + bound
    for thread in threads:
        thread.join(max(0.0, until - time.perf_counter()))
    hung = attempts - len(returned)
    value = bound * 1000 if hung else max(returned)
    note = f"{hung} of {attempts} had not come back when this gave up" if hung else ""
    return Row("  the SDK's reader", value, "ms", note=note)


# --- exit ------------------------------------------------------------------------------------------------------------


def exits(folder: Path, bound: float, rounds: int = 5) -> Iterator[Row]:
    """Seconds from the last statement of a program to the end of its process, an export hung all the while.

    The SDK's processes, which sleep for half a minute, wait for their ends side by side while ours come and go.
    """
    ours: list[float] = []
    with ThreadPoolExecutor(rounds) as pool:
        waiting = []
        for _ in range(rounds):
            waiting.append(pool.submit(exit_seconds, THEIRS, folder, bound))
            seconds = exit_seconds(OURS, folder, PATIENCE)
            if seconds is None:
                raise SystemExit("a process with a hung exporter never exited")
            ours.append(seconds)
        theirs = [future.result() for future in waiting]
    middle = statistics.median(ours)
    yield Row("exit with a hung exporter, shutdown timeout 1 s", middle, "s", "", None, middle, 1.5, "s")
    note = "had not exited when this gave up" if None in theirs else "its shutdown timeout cannot be set"
    yield Row("  the SDK's reader", statistics.median(one or bound for one in theirs), "s", note=note)


def exit_seconds(program: str, folder: Path, bound: float) -> float | None:
    """How long the process takes to exit after it has printed its line; None if it was ended at the bound."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        if process.stdout.readline() != b"ended\n":
            process.kill()
            raise SystemExit("a program of the benchmark failed")
        begun = time.perf_counter()
        try:
            process.wait(bound)
        except subprocess.TimeoutExpired:
            process.kill()
            return None
        return time.perf_counter() - begun


# --- many exporters --------------------------------------------------------------------------------------------------


def flush_of_many(folder: Path, rounds: int = 7) -> Row:
    """Seconds of a flush through slow exporters, one and many."""
    sys.path.insert(0, str(folder))
    times: dict[int, list[float]] = {1: [], READERS: []}
    try:
        with ExitStack() as stack:
            pipelines = {count: stack.enter_context(pipeline_of(count)) for count in times}
            for _ in range(rounds):
                for count, pipeline in pipelines.items():
                    begun = time.perf_counter()
                    report = pipeline.flush(timeout=60)
                    times[count].append(time.perf_counter() - begun)
                    if not report.ok:
                        raise SystemExit(f"a flush failed: {report}")
    finally:
        sys.path.remove(str(folder))
    ratio = statistics.median(many / one for one, many in zip(times[1], times[READERS], strict=True))
    many, one = statistics.median(times[READERS]), statistics.median(times[1])
    return Row(f"flush of {READERS} exporters of {EXPORT_SECONDS} s each", many, "s", "of one", one, ratio, 2.0)


def pipeline_of(count: int) -> Pipeline:
    reader = {"periodic": {"interval": 3_600_000, "timeout": 30_000, "exporter": {"slow": {}}}}
    pipeline = Pipeline.from_config({"file_format": "1.1", "meter_provider": {"readers": [reader] * count}})
    pipeline.meter_provider.get_meter("benchmark").create_counter("requests").add(1)
    return pipeline


if __name__ == "__main__":
    sys.exit(main())
