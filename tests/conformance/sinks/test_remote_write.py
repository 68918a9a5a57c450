"""The remote write sink with requests built byte by byte, and that its descriptors collide with nobody's."""

from __future__ import annotations

import math
import struct

import cramjam
import pytest
import requests

from exporter_core.conformance.sinks import RemoteWriteSink

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
V2 = {
    "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    "X-Prometheus-Remote-Write-Version": "2.0.0",
}


@pytest.fixture(scope="module")
def running():
    with RemoteWriteSink() as sink:
        yield sink


@pytest.fixture
def sink(running):
    running.script()
    running.clear()
    return running


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def nested(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def double(field: int, value: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", value)


def labels(**values: str) -> bytes:
    return b"".join(nested(1, nested(1, key.encode()) + nested(2, value.encode())) for key, value in values.items())


def send(sink, body: bytes, **headers: str):
    compressed = bytes(cramjam.snappy.compress_raw(body))
    return requests.post(sink.endpoint, compressed, headers=HEADERS | headers, timeout=30)


def test_samples_arrive_with_labels_values_and_times(sink):
    sample = nested(2, double(1, math.nan) + number(2, -5)) + nested(2, double(1, 2.0) + number(2, 1_700_000_000_123))
    exemplar = nested(3, labels(trace_id="abc") + double(2, 0.25) + number(3, 9))
    series = nested(1, labels(__name__="up_total", job="x") + sample + exemplar)
    metadata = nested(3, number(1, 1) + nested(2, b"up_total") + nested(4, b"Is it up") + nested(5, b"1"))
    assert send(sink, series + metadata).status_code == 204
    first, second = sink.points()
    assert (first.metric, first.kind, first.attributes) == ("up_total", "sample", {"job": "x"})
    assert math.isnan(first.value)
    assert first.time_unix_nano == -5_000_000
    assert (second.value, second.time_unix_nano) == (2.0, 1_700_000_000_123_000_000)
    assert (first.description, first.unit) == ("Is it up", "1")
    assert first.exemplars == ({"value": 0.25, "time_unix_nano": 9_000_000, "labels": {"trace_id": "abc"}},)
    assert first.identity != second.identity
    assert sink.requests()[0].problems == ()


def test_native_histograms_arrive(sink):
    span = nested(11, number(1, 3) + number(2, 2))  # offset -2, which zigzag writes as 3
    deltas = nested(12, varint(2) + varint(1))  # 1, -1
    histogram = nested(4, number(1, 3) + double(3, 4.5) + number(4, 2) + span + deltas + number(15, 7))
    assert send(sink, nested(1, labels(__name__="h") + histogram)).status_code == 204
    (point,) = sink.points()
    assert (point.kind, point.time_unix_nano) == ("native_histogram", 7_000_000)
    assert (point.value["count_int"], point.value["sum"], point.value["schema"]) == (3, 4.5, 1)
    assert (point.value["positive_spans"], point.value["positive_deltas"]) == ([[-2, 2]], [1, -1])


@pytest.mark.parametrize(
    ("series", "problem"),
    [
        (labels(job="x"), "no label __name__"),
        (labels(__name__="m", job=""), "an empty label name or value"),
        (labels(__name__="m", z="1", a="1"), "labels are not sorted and unique"),
        (labels(__name__="m", a="1") + labels(a="2"), "labels are not sorted and unique"),
    ],
)
def test_labels_that_break_the_rules_are_refused(sink, series, problem):
    answer = send(sink, nested(1, series + nested(2, double(1, 1.0) + number(2, 1))))
    assert (answer.status_code, problem in answer.text) == (400, True)
    assert problem in sink.requests()[0].problems[0]
    assert sink.points() == []


def symbols(*texts: str) -> bytes:
    return b"".join(nested(4, text.encode()) for text in texts)


def references(*numbers: int) -> bytes:
    return nested(1, bytes(numbers))


def test_samples_of_2_0_arrive_and_are_counted_in_the_answer(sink):
    sample = nested(2, double(1, 2.5) + number(2, 7) + number(3, 5))
    exemplar = nested(4, references(5, 6) + double(2, 0.25) + number(3, 9))
    first = references(1, 2) + sample + exemplar + nested(5, number(1, 1) + number(3, 3) + number(4, 4))
    second = references(1, 2) + nested(3, number(1, 3) + double(3, 4.5) + number(15, 7))
    texts = symbols("", "__name__", "up", "Is it up", "seconds", "trace_id", "abc")
    answer = send(sink, texts + nested(5, first) + nested(5, second), **V2)
    assert answer.status_code == 204
    written = {name: value for name, value in answer.headers.items() if name.endswith("Written")}
    assert {name.split("-")[4]: value for name, value in written.items()} == {
        "Samples": "1",
        "Histograms": "1",
        "Exemplars": "1",
    }
    point, native = sink.points()
    assert (point.metric, point.value, point.unit, point.description) == ("up", 2.5, "seconds", "Is it up")
    assert (point.time_unix_nano, point.start_time_unix_nano) == (7_000_000, 5_000_000)
    assert point.exemplars == ({"value": 0.25, "time_unix_nano": 9_000_000, "labels": {"trace_id": "abc"}},)
    assert (native.kind, native.value["sum"]) == ("native_histogram", 4.5)
    assert sink.requests()[0].problems == ()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (symbols("__name__", "up"), "the first symbol is not the empty text"),
        (symbols("", "a", "a"), "a symbol stands there twice"),
        (symbols("") + nested(5, references(1, 2)), "a reference to a symbol that is not there"),
        (symbols("", "a") + nested(5, references(1)), "a label without a value"),
        (symbols("", "__name__", "m") + nested(5, references(1, 2)), "with neither samples nor histograms"),
        (symbols("", "m") + nested(5, references(1, 1) + nested(2, double(1, 1.0))), "no label __name__"),
    ],
)
def test_requests_of_2_0_that_break_the_rules_are_refused(sink, body, problem):
    answer = send(sink, body, **V2)
    assert (answer.status_code, problem in "".join(sink.requests()[0].problems)) == (400, True)
    assert sink.points() == []


def test_the_marker_of_an_ended_series_is_told_from_other_values(sink):
    stale = nested(2, b"\x09" + bytes.fromhex("020000000000f07f") + number(2, 7))
    nan = nested(2, double(1, math.nan) + number(2, 6))
    assert send(sink, nested(1, labels(__name__="m") + nan + stale)).status_code == 204
    assert [point.kind for point in sink.points()] == ["sample", "stale"]


@pytest.mark.parametrize(
    ("headers", "status", "problem"),
    [
        ({"Content-Encoding": "gzip"}, 400, "is not snappy"),
        ({"Content-Type": "application/json"}, 415, "is not remote write's"),
        (
            {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"},
            415,
            "is not remote write's",
        ),
        ({"X-Prometheus-Remote-Write-Version": "2.0.0"}, 204, "is not 0.1.0"),
        ({"Content-Type": V2["Content-Type"]}, 400, "is not 2.0.0"),
        ({"User-Agent": ""}, 204, "there is no User-Agent"),
    ],
)
def test_headers_are_looked_at(sink, headers, status, problem):
    assert send(sink, b"", **headers).status_code == status
    assert problem in sink.requests()[0].problems[0]


@pytest.mark.parametrize("body", [b"\xff\xff no snappy", bytes(cramjam.snappy.compress_raw(b"\xff\xff"))])
def test_what_cannot_be_decoded_is_refused(sink, body):
    assert requests.post(sink.endpoint, body, headers=HEADERS, timeout=30).status_code == 400
    assert "not a snappy-compressed WriteRequest" in sink.requests()[0].problems[0]


def test_the_script_decides_before_the_backend_does(sink):
    sink.script("status:500", "retry-after:3:429")
    first, second = send(sink, b""), send(sink, b"")
    assert (first.status_code, first.text) == (500, "scripted\n")
    assert (second.status_code, second.headers["Retry-After"]) == (429, "3")
    with pytest.raises(ValueError, match="this sink knows"):
        sink.script("partial:1")


def test_the_message_classes_are_registered_nowhere_else():
    from google.protobuf import descriptor_pool

    from exporter_core.conformance.sinks.server.remote_write import WriteRequest

    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName(WriteRequest.DESCRIPTOR.full_name)
