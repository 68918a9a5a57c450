"""Batches of every kind of point, and standard streams that lead where a test wants them."""

import fcntl
import io
import os
import sys

import pytest
from exporter_core_console import ConsoleConfig, ConsoleExporter
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

from exporter_core import Context

CUMULATIVE = AggregationTemporality.CUMULATIVE
DELTA = AggregationTemporality.DELTA
START = 1_763_892_000_000_000_000
TIME = 1_763_892_060_123_456_789


@pytest.fixture
def context():
    return Context.with_timeout(60)


@pytest.fixture
def exporter():
    def make(**options):
        return ConsoleExporter(ConsoleConfig(**options))

    return make


@pytest.fixture
def batch():
    """Makes a batch from metrics, or from (name, value, attributes) of gauges."""

    def make(*metrics, resource=None, scope=None):
        metrics = [
            metric
            if isinstance(metric, Metric)
            else Metric(metric[0], None, "1", Gauge([NumberDataPoint(metric[2], START, TIME, metric[1])]))
            for metric in metrics
        ]
        scope = scope or InstrumentationScope("shop.http", "1.2.0")
        resource = resource or Resource({"host.name": "web-1", "service.name": "checkout"})
        return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, metrics, "")], "")])

    return make


@pytest.fixture
def shop(batch):
    """One metric of each kind."""
    return batch(
        Metric(
            "http.server.requests",
            "Requests served",
            "{request}",
            Sum(
                [
                    NumberDataPoint({"http.request.method": "GET"}, START, TIME, 1234567),
                    NumberDataPoint({"http.request.method": "POST"}, START, TIME, 56),
                ],
                DELTA,
                is_monotonic=True,
            ),
        ),
        Metric("queue.length", None, "", Sum([NumberDataPoint({}, START, TIME, -3)], CUMULATIVE, is_monotonic=False)),
        Metric("cpu.utilization", None, "1", Gauge([NumberDataPoint({"cpu": 0}, START, TIME, 0.123456789)])),
        Metric(
            "http.server.duration",
            None,
            "ms",
            Histogram(
                [
                    HistogramDataPoint(
                        {"http.route": "/cart"}, START, TIME, 9, 512.5, [0, 1, 7, 1], [5, 50, 100], 6, 150
                    )
                ],
                CUMULATIVE,
            ),
        ),
        Metric(
            "http.client.duration",
            None,
            "s",
            ExponentialHistogram(
                [
                    ExponentialHistogramDataPoint(
                        {"server.address": "db"},
                        START,
                        TIME,
                        6,
                        3.5,
                        0,
                        1,
                        Buckets(-1, [1, 3]),
                        Buckets(2, [1]),
                        0,
                        -7,
                        2,
                    )
                ],
                CUMULATIVE,
            ),
        ),
    )


@pytest.fixture
def stdout_to(monkeypatch):
    """Makes an ordinary text file over a descriptor the process's stdout; the descriptor stays the caller's."""
    files = []

    def make(descriptor):
        file = io.open(descriptor, "w", encoding="utf-8", closefd=False)  # noqa: SIM115, UP020 - as the interpreter makes it
        assert type(file) is io.TextIOWrapper
        files.append(file)
        monkeypatch.setattr(sys, "stdout", file)
        return file

    yield make
    for file in files:
        try:
            file.close()
        except OSError:
            pass  # what a test left in the buffer of a closed pipe


class Pipe:
    """A pipe of one page, so that little text fills it."""

    def __init__(self, stdout_to):
        self._stdout_to = stdout_to
        self.read_end, self.write_end = os.pipe()
        self.size = fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, 4096)

    def as_stdout(self):
        """Make the write end the process's stdout; to be called in the test, for the runner sets stdout before it."""
        return self._stdout_to(self.write_end)

    def fill(self):
        os.write(self.write_end, b"x" * (self.size - 1) + b"\n")

    def drain(self):
        """Everything there is at this moment."""
        parts = []
        os.set_blocking(self.read_end, False)
        try:
            while part := os.read(self.read_end, 65536):
                parts.append(part)
        except BlockingIOError:
            pass
        finally:
            os.set_blocking(self.read_end, True)
        return b"".join(parts)

    def read_to_the_end(self):
        """Everything up to the closing of the write end."""
        with open(self.read_end, "rb", closefd=False) as file:
            return file.read()

    def close_reader(self):
        if self.read_end >= 0:
            os.close(self.read_end)
            self.read_end = -1

    def close_writer(self):
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1


@pytest.fixture
def pipe(stdout_to):
    made = Pipe(stdout_to)
    yield made
    made.close_reader()
    made.close_writer()
