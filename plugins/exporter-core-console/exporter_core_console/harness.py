"""How the conformance checker of exporter-core sees what the console exporter writes, and holds it up.

Standard output is a file, or, while the gate is shut, a pipe that is full already and that nobody reads.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core.conformance import Capabilities, Harness, flatten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from exporter_core.conformance import Point

_FULL = b"\n" * 65536


class ConsoleHarness(Harness):
    """JSON Lines on a standard output of each run's own."""

    capabilities = Capabilities.without_answers("a stream")
    gated = True
    faults = frozenset({"refuse"})

    def setup(self, directory: Path, stamp: Callable[[str, str], object]) -> None:  # noqa: ARG002 - a stream tells nothing
        """Put a file in the place of standard output."""
        self._stdout = sys.stdout
        self._path = directory / "stdout"
        self._file: TextIO = self._path.open("w", encoding="utf-8")
        self._pipe: tuple[int, TextIO] | None = None
        sys.stdout = self._file

    def config(self) -> Mapping[str, Any]:
        """JSON Lines."""
        return {"format": "json"}

    def read_back(self) -> Iterable[Point]:
        """What has been written."""
        self._drain()
        self._file.flush()
        for line in self._path.read_bytes().splitlines():
            if line:
                yield from flatten(_metrics_data(json.loads(line)))

    def fault(self, *steps: str) -> None:
        """Close standard output, for the one fault that it can do."""
        if steps == ("refuse",):
            closed = self._path.open("a", encoding="utf-8")
            closed.close()
            sys.stdout = closed

    def after_fork(self) -> None:
        """Put the file back: the parent's pipe is the parent's to read."""
        sys.stdout = self._file

    def shut(self) -> None:
        """Put a full pipe in the place of standard output."""
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, len(_FULL))
        os.set_blocking(reading, False)
        os.write(writing, _FULL)
        self._pipe = reading, os.fdopen(writing, "w", encoding="utf-8")
        sys.stdout = self._pipe[1]

    def open(self) -> None:
        """Make room in the pipe, and put the file back for what comes next."""
        sys.stdout = self._file
        self._drain()

    def teardown(self) -> None:
        """Put standard output back."""
        sys.stdout = self._stdout
        self._drain()
        if self._pipe is not None:
            self._pipe[1].close()
            os.close(self._pipe[0])
            self._pipe = None
        self._file.close()

    def _drain(self) -> None:
        """Move what is in the pipe to the file."""
        if self._pipe is None:
            return
        try:
            while data := os.read(self._pipe[0], len(_FULL)):
                self._file.write(data.decode().lstrip("\n"))
        except BlockingIOError:
            pass  # it is empty


def _metrics_data(line: dict[str, Any]) -> MetricsData:
    """The SDK's objects for a line, which has one point."""
    scope, resource = line["scope"], line["resource"]
    metric = Metric(line["metric"], line["description"], line["unit"], _data(line))
    about = InstrumentationScope(scope["name"], scope["version"], "", scope["attributes"])
    of_scope = ScopeMetrics(about, [metric], scope["schema_url"])
    return MetricsData([ResourceMetrics(Resource(resource["attributes"]), [of_scope], resource["schema_url"])])


def _data(line: dict[str, Any]) -> Gauge | Sum | Histogram | ExponentialHistogram:
    kind = line["kind"]
    common: dict[str, Any] = {  # Any: the fields differ in type
        "attributes": line["attributes"],
        "start_time_unix_nano": _nanoseconds(line["start_time"]),
        "time_unix_nano": _nanoseconds(line["time"]),
        "exemplars": list(_exemplars(line)),
    }
    if kind == "gauge":
        return Gauge([NumberDataPoint(**common, value=_number(line["value"]))])
    temporality = AggregationTemporality[line["temporality"].upper()]
    if kind == "sum":
        return Sum([NumberDataPoint(**common, value=_number(line["value"]))], temporality, line["monotonic"])
    summary: dict[str, Any] = {name: _number(line[name]) for name in ("count", "sum", "min", "max")}
    if kind == "histogram":
        bounds = [_number(bound) for bound in line["bounds"]]
        point = HistogramDataPoint(**common, **summary, bucket_counts=line["bucket_counts"], explicit_bounds=bounds)
        return Histogram([point], temporality)
    buckets: dict[str, Any] = {name: Buckets(**line[name]) for name in ("positive", "negative")}
    numbers: dict[str, Any] = {name: line[name] for name in ("scale", "zero_count", "flags")}
    return ExponentialHistogram([ExponentialHistogramDataPoint(**common, **summary, **buckets, **numbers)], temporality)


def _exemplars(line: dict[str, Any]) -> Iterator[Exemplar]:
    for one in line["exemplars"]:
        yield Exemplar(
            one["attributes"],
            _number(one["value"]),
            _nanoseconds(one["time"]),
            None if one["span_id"] is None else int(one["span_id"], 16),
            None if one["trace_id"] is None else int(one["trace_id"], 16),
        )


def _number(value: float | str) -> float:
    return float(value) if isinstance(value, str) else value


def _nanoseconds(time: str) -> int:
    seconds, _, fraction = time.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * 10**9 + int(fraction)
