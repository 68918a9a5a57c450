"""How late an export ends whose deadline is 300 ms, over every fault of the sinks; the official exporters beside it.

Lateness is how long after its deadline a call returns; one that ends before is 0 late. A bare timed wait of the same
length, in turn with the exports, says what the machine can do. The official exporters, given a time-out of 300 ms, run
in a process of their own that is killed when one of their exports has taken 2 s.
"""

from __future__ import annotations

import argparse
import logging
import select
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from _common import Row, arguments, percentile, report
from _metrics import one_metric
from _plot import plot
from exporter_core_otlp import OtlpGrpcConfig, OtlpGrpcExporter, OtlpHttpConfig, OtlpHttpExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as OfficialGrpc
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as OfficialHttp

from exporter_core import Context, ExporterCoreError
from exporter_core.conformance.sinks import OtlpGrpcSink, OtlpHttpSink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

PLOT = Path(__file__).parents[1] / "docs" / "otlp-deadlines.svg"
DEADLINE = 0.3
PATIENCE = 2.0  # seconds from the beginning of an official export until it is killed
ALLOWANCE = 20.0  # milliseconds beyond a bare timed wait
FAULTS = (
    "ok",
    "status:503",
    "retry-after:1",
    "retry-after:3600",
    "partial:1",
    "truncate",
    "garbage",
    "redirect",
    "reset",
    "refuse",
    "hang",
    "drip",
    "blackhole",
)
KINDS = {
    "http": (OtlpHttpSink, OtlpHttpExporter, OtlpHttpConfig),
    "grpc": (OtlpGrpcSink, OtlpGrpcExporter, OtlpGrpcConfig),
}
NONE = 0.1  # per cent, for a plot whose axes have no zero
OFFICIAL_ROUNDS = 2  # most of their exports take until they are killed


def main() -> int:
    parser = arguments(__doc__, rounds=6, of="rounds")
    parser.add_argument(
        "--plot", type=Path, default=PLOT, help="where the plot goes (default: docs/otlp-deadlines.svg)"
    )
    parser.add_argument("--official", metavar="KIND=ENDPOINT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.official is not None:
        return serve_official(*options.official.split("=", 1))
    rows: list[Row] = []
    lines: dict[str, list[tuple[float, float]]] = {}
    for kind in KINDS:
        bare, ours, official = measure(kind, options.rounds)
        late, wait, theirs = (percentile(values, 99) * 1000 for values in (ours, bare, official))
        rows += [
            Row(
                f"otlp_{kind}: lateness, 99th percentile",
                late,
                "ms",
                "a bare timed wait",
                wait,
                late - wait,
                ALLOWANCE,
                "ms more",
            ),
            Row(f"otlp_{kind}: lateness, median", median(ours) * 1000, "ms", "a bare timed wait", median(bare) * 1000),
            Row(
                f"the official exporter, {kind}: 99th percentile",
                theirs,
                "ms",
                note=f"killed {PATIENCE - DEADLINE:g} s late",
            ),
        ]
        for name, values in (
            (f"exporter-core, {kind}", ours),
            (f"official, {kind}", official),
            ("a bare timed wait", bare),
        ):
            lines.setdefault(name, later_than(values))
    title = f"Lateness of exports with a deadline of {DEADLINE * 1000:.0f} ms, over all faults"
    plot(options.plot, title, "milliseconds after the deadline", "% of exports that are later", lines)
    return 0 if report("otlp_deadlines", rows, as_json=options.json, rounds=options.rounds) else 1


def later_than(values: Sequence[float]) -> list[tuple[float, float]]:
    """Milliseconds -> per cent of the exports that were later, up to where none is, which stands at a tenth."""
    points: list[tuple[float, float]] = []
    for milliseconds in (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0):
        share = 100 * sum(value * 1000 > milliseconds for value in values) / len(values)
        points.append((milliseconds, max(share, NONE)))
        if not share:
            break
    return points


def measure(kind: str, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds of lateness of bare waits, of our exports and of official ones."""
    sink_class, exporter_class, config_class = KINDS[kind]
    data = one_metric(100)()
    bare: list[float] = []
    ours: list[float] = []
    official: list[float] = []
    with sink_class() as sink:
        faults = [fault for fault in FAULTS if fault.partition(":")[0] in sink.faults]
        exporter = exporter_class(config_class(endpoint=sink.endpoint, retry={"initial_interval": 50}))
        export(exporter, data)
        with closing(Official(kind, sink.endpoint)) as peer:
            for turn in range(rounds):
                for fault in faults:
                    sink.script(then=adapted(kind, fault))
                    bare.append(lateness(lambda: threading.Event().wait(DEADLINE)))
                    ours.append(lateness(lambda: export(exporter, data)))
                    if turn < OFFICIAL_ROUNDS:
                        official.append(peer.lateness())
        sink.script(then="ok")
        exporter.shutdown(Context.with_timeout(10))
    return bare, ours, official


def adapted(kind: str, fault: str) -> str:
    """The fault as the sink of this kind spells it."""
    return "status:UNAVAILABLE" if kind == "grpc" and fault == "status:503" else fault


def export(exporter: OtlpHttpExporter | OtlpGrpcExporter, data: MetricsData) -> None:
    try:
        exporter.export(Context.with_timeout(DEADLINE), data)
    except ExporterCoreError:
        pass  # what came of it is not the question


def lateness(call: Callable[[], object]) -> float:
    begun = time.monotonic()
    call()
    return max(0.0, time.monotonic() - begun - DEADLINE)


class Official:
    """An official exporter in a process that is started again whenever it had to be killed."""

    def __init__(self, kind: str, endpoint: str) -> None:
        self._command = [sys.executable, __file__, "--official", f"{kind}={endpoint}"]
        self._process: subprocess.Popen[str] | None = None

    def lateness(self) -> float:
        """Of one export; cut off when it is killed."""
        process = self._process = self._process or self._start()
        assert process.stdin  # noqa: S101 - a pipe, as below
        assert process.stdout  # noqa: S101 - as above
        process.stdin.write("\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], PATIENCE)[0]:
            self.close()
            return PATIENCE - DEADLINE
        return float(process.stdout.readline())

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout  # noqa: S101 - it is a pipe
        process.stdout.readline()
        return process

    def close(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def serve_official(kind: str, endpoint: str) -> int:
    """Export once for each line of standard input, and print how late it was."""
    logging.disable()
    data = one_metric(100)()
    exporter = (
        OfficialHttp(endpoint=endpoint, timeout=DEADLINE)
        if kind == "http"
        else OfficialGrpc(endpoint=endpoint, insecure=True, timeout=DEADLINE)  # type: ignore[arg-type] # fractions work
    )
    print("ready", flush=True)
    for _ in sys.stdin:
        print(lateness(lambda: exporter.export(data, timeout_millis=DEADLINE * 1000)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
