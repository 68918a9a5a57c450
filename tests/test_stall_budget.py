"""The budget of stalls: no other thread of the host waits 100 ms, whatever a server, a file or an option brings."""

from __future__ import annotations

import gc
import json
import threading
import time
from typing import TYPE_CHECKING

import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics.export import Gauge, Metric, MetricsData, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core import Context, ExporterError, ExporterRegistry, PartialSuccessError
from exporter_core.config import load_config, parse_config
from exporter_core.errors import ConfigError
from exporter_core.masking import Masker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUDGET = 0.1
"""Seconds that another thread may wait."""
TRIES = 5
MIB = 1024 * 1024
MOST = 4 * MIB  # bytes of an answer that are received


@pytest.fixture(autouse=True)
def _little_to_look_through() -> Iterator[None]:
    """Keep what tests have left in this process from being looked through for garbage: that takes longer than work."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def longest_pause(work: Callable[[], object]) -> float:
    """The longest time for which another thread did not run while the work was done, in seconds.

    Work that keeps the interpreter to itself uses the processor meanwhile. So no more of a pause counts than this
    process has used the processor for; the rest is that of other processes, on a busy machine.
    """
    ended, longest = threading.Event(), 0.0

    def beat() -> None:
        nonlocal longest
        last, used = time.perf_counter(), time.process_time()
        while not ended.is_set():
            time.sleep(0.002)
            before, used_before = last, used
            last, used = time.perf_counter(), time.process_time()
            longest = max(longest, min(last - before, used - used_before))

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        work()
    finally:
        ended.set()
        beating.join()
    return longest


def stall(work: Callable[[], object]) -> float:
    """The pause that the work makes, in seconds: the least of several tries, since what it makes is there each time."""
    least = float("inf")
    for _ in range(TRIES):
        least = min(least, longest_pause(work))
        if least < BUDGET:
            break
    return least


def test_a_stall_is_seen():
    assert longest_pause(lambda: time.sleep(0.3)) < BUDGET
    assert longest_pause(lambda: (b"\xff" * 30_000_000).decode(errors="replace")) > BUDGET


def filled(piece: bytes, size: int = MOST) -> bytes:
    return piece * (size // len(piece))


def answer(status: str, body: bytes, content_type: str = "text/plain", *more: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", f"Content-Type: {content_type}", *more]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def partial(message: str) -> ExportMetricsServiceResponse:
    return ExportMetricsServiceResponse(
        partial_success=ExportMetricsPartialSuccess(rejected_data_points=1, error_message=message)
    )


PROTOBUF, JSON = "application/x-protobuf", "application/json"
HARD = ["://", "://a:", "x-", "password='", "'token': \"", "token", "cookie:", "bearer a", "a.", "\xff"]
ANSWERS = {
    **{f"400 {piece}": answer("400 Bad Request", filled(piece.encode("latin-1"))) for piece in HARD},
    "status-message": answer("400 Bad", Status(message="://" * 400_000).SerializeToString(), PROTOBUF),
    "status-details": answer("400 Bad", filled(Status(details=[Any()]).SerializeToString()), PROTOBUF),
    "status-lists": answer("400 Bad", b"[" + filled(b"[],", MOST - 4) + b"[]]", JSON),
    "status-strings": answer("400 Bad", b"[" + filled(b'"",', MOST - 4) + b'""]', JSON),
    "response-lists": answer("200 OK", b"[" + filled(b"[],", MOST - 4) + b"[]]", JSON),
    "response-numbers": answer("200 OK", b"[" + filled(b"1e300,", MOST - 4) + b"1]", JSON),
    "reason": answer(f"400 {'://' * 5000}", b""),
    "location": answer("302 Found", b"", "text/plain", f"Location: {'://' * 5000}"),
    "retry-after": answer("400 Bad", b"", "text/plain", f"Retry-After: {'1 ' * 7500}"),
    "content-type": answer("200 OK", b"x", "://" * 5000),
}


@pytest.fixture
def metrics() -> MetricsData:
    """One point."""
    points = [NumberDataPoint({}, None, time.time_ns(), 1)]  # type: ignore[arg-type]  # the SDK's own gauges have no start
    scope = ScopeMetrics(InstrumentationScope("scope"), [Metric("metric", "", "", Gauge(points))], "")
    return MetricsData([ResourceMetrics(Resource({}), [scope], "")])


@pytest.fixture
def export(serve, metrics, no_proxy_of_the_machine) -> Callable[[bytes], Exception]:
    """Exports to a server that gives this answer, and returns the error."""

    def run(answering: bytes) -> Exception:
        server = serve(answers=[answering])
        endpoint = f"http://alice:hunter22@127.0.0.1:{server.port}/v1/metrics"
        exporter = ExporterRegistry().load("otlp_http", {"endpoint": endpoint, "retry": {"enabled": False}})
        with pytest.raises(ExporterError) as caught:
            exporter.export(Context.with_timeout(30.0), metrics)
        exporter.shutdown(Context.with_timeout(30.0))
        return caught.value

    return run


# Searches of one kind: what stalls one of them stalls the first of it.
ALIKE = [f"400 {piece}" for piece in ("://a:", "x-", "'token': \"", "token", "bearer a", "a.")]


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.nightly] * (one in ALIKE)) for one in ANSWERS])
def test_no_answer_of_a_server_stalls_the_host(export, name):
    def work() -> None:
        error = export(ANSWERS[name])
        assert "/v1/metrics " in str(error)
        assert len(str(error)) < 1300
        assert "hunter22" not in str(error)

    assert stall(work) < BUDGET


def test_a_partial_success_with_a_long_message_is_reported_in_time(export):
    body = partial("://" * 400_000).SerializeToString()

    def work() -> None:
        error = export(answer("200 OK", body, PROTOBUF))
        assert isinstance(error, PartialSuccessError)
        assert error.rejected_points == 1
        assert "1 of 1 points were not taken: ://" in str(error)

    assert stall(work) < BUDGET


def test_a_status_with_many_details_still_tells_its_words(export):
    error = export(answer("400 Bad", Status(message="why", details=[Any()] * 1000).SerializeToString(), PROTOBUF))
    assert str(error).endswith("400 Bad: why")


OPTIONS = {
    "endpoint": {"endpoint": "http://localhost/" + "://" * 11_000},
    "user part": {"endpoint": "http://a:" + "p:" * 16_000 + "@localhost/"},
    "hosts": {"endpoint": "http://" + "a:b," * 8_000 + "@localhost/"},
    "query": {"endpoint": "http://localhost/?" + "key=%41bcdef&" * 3_000},
    "no URL": {"endpoint": "://" * 11_000},
    "host": {"endpoint": "http://" + "ä" * 32_000},
    "secret": {"headers": [{"name": "a", "value": "%41+/" * 100_000}]},
    "headers": {"headers": [{"name": f"a{number}", "value": f"+secret{number}"} for number in range(5_000)]},
    "headers list": {"headers_list": ",".join(f"a{number}=%41bcd{number}" for number in range(5_000))},
    "unknown": {"headers-" * 10_000 + "!": {"a": "b"}},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_no_option_stalls_the_host(name, tmp_path):
    document = {
        "file_format": "1.1",
        "meter_provider": {"readers": [{"periodic": {"exporter": {"otlp_http": OPTIONS[name]}}}]},
    }
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(document))  # which is YAML

    def work() -> None:
        try:
            config = load_config(path)
        except ConfigError as error:
            str(error)
            return
        options = config.readers[0].config
        ExporterRegistry().load("otlp_http", options).shutdown(Context.with_timeout(30.0))

    assert stall(work) < BUDGET


FILES = {
    "references": "a: " + "${A" * 300_000,
    "quotes": "'" * 900_000,
    "brackets": "[" * 900_000,
    "items": "- a\n" * 90_000,
    "digits": "1" * 900_000,
    "URLs": "a: " + "://" * 300_000,
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_no_file_stalls_the_host(text, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text)

    def work() -> None:
        with pytest.raises(ConfigError):
            load_config(path)

    assert stall(work) < BUDGET


@pytest.mark.parametrize("piece", ["a", "ab", "%41", "é", "a\n"])
def test_no_long_secret_stalls_the_host(piece):
    secret = piece * (500_000 // len(piece))

    def work() -> None:
        masker = Masker([secret])
        masker(secret * 8)

    assert stall(work) < BUDGET


def test_no_options_of_a_mapping_stall_the_host():
    reader = {"periodic": {"exporter": {"otlp_http": OPTIONS["endpoint"]}}}
    config = {"file_format": "1.1", "meter_provider": {"readers": [reader] * 10}}
    assert stall(lambda: repr(parse_config(config))) < BUDGET
