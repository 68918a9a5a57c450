"""OTLP JSON: what is sent, beside OpenTelemetry's own encoders, and what malformed text leads to."""

import base64
import json
import math
from dataclasses import replace
from http import HTTPStatus
from unittest import mock

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings, strategies as st
from opentelemetry.exporter.otlp.json.common.metrics_encoder import encode_metrics as official_json
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
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
)

from exporter_core.otlp import DecodeError, JsonEncoder, decode_json, encode_json, json_decoder

relaxed = settings(suppress_health_check=list(HealthCheck), deadline=None)


def with_base64_ids(value):
    """OTLP JSON as protobuf's own JSON mapping has it."""
    if isinstance(value, list):
        return [with_base64_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(bytes.fromhex(item)).decode() if key in {"traceId", "spanId"} else with_base64_ids(item)
        for key, item in value.items()
    }


def message_of(text):
    return json_format.ParseDict(with_base64_ids(json.loads(text)), ExportMetricsServiceRequest())


@relaxed
@given(data=st.data())
def test_any_metrics_parse_to_the_message_of_the_official_encoder(data, metrics_data, official):
    metrics = data.draw(metrics_data)
    assert str(message_of(encode_json(metrics))) == str(official(metrics))


@relaxed
@given(data=st.data())
def test_encoded_metrics_decode_to_what_they_were(data, metrics_data, content):
    metrics = data.draw(metrics_data)
    assert content(decode_json(encode_json(metrics))) == content(metrics)


@relaxed
@given(data=st.data())
def test_what_the_official_json_encoder_sends_decodes_too(data, metrics_data, content):
    metrics = data.draw(metrics_data)
    assert content(decode_json(official_json(metrics).to_json())) == content(metrics)


@relaxed
@given(data=st.data())
def test_one_encoder_used_again_and_again_sends_what_a_fresh_one_would(data, metrics_data):
    encoder = JsonEncoder()
    for metrics in data.draw(st.lists(metrics_data, max_size=3)):
        first = encoder.encode(metrics)
        assert not first.dropped
        assert first.data == encoder.encode(metrics).data == encode_json(metrics)


def test_ids_are_hexadecimal_enums_numbers_and_64_bit_integers_strings(build):
    point = build.point({"k": b"\xfb\xff"}, 2**63 - 1)
    point.exemplars.append(Exemplar({}, 1.5, 2**64 - 1, 0xAB, 0xCD))
    (metric,) = json.loads(encode_json(build.data(build.counter(point))))["resourceMetrics"][0]["scopeMetrics"][0][
        "metrics"
    ]
    assert metric["sum"] == {
        "dataPoints": [
            {
                "attributes": [{"key": "k", "value": {"bytesValue": "+/8="}}],
                "startTimeUnixNano": "1000",
                "timeUnixNano": "2000",
                "asInt": "9223372036854775807",
                "exemplars": [
                    {
                        "timeUnixNano": "18446744073709551615",
                        "asDouble": 1.5,
                        "spanId": "00000000000000ab",
                        "traceId": "000000000000000000000000000000cd",
                    }
                ],
            }
        ],
        "aggregationTemporality": 2,
        "isMonotonic": True,
    }


def test_what_json_has_no_number_for_is_a_string(build):
    points = [build.point({}, value) for value in (math.nan, math.inf, -math.inf, -0.0, 1.0)]
    (metric,) = json.loads(encode_json(build.data(Metric("g", "", "", Gauge(points)))))["resourceMetrics"][0][
        "scopeMetrics"
    ][0]["metrics"]
    sent = [point["asDouble"] for point in metric["gauge"]["dataPoints"]]
    assert repr(sent) == "['NaN', 'Infinity', '-Infinity', -0.0, 1.0]"


def request(point):
    metric = {"name": "m", "gauge": {"dataPoints": [{}, point]}}
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]})


def test_unknown_fields_nulls_and_other_spellings_of_numbers_are_understood():
    point = {
        "timeUnixNano": 5,
        "startTimeUnixNano": "7",
        "asDouble": "1.5e3",
        "unknown": [{}],
        "exemplars": None,
        "attributes": [
            {"key": "a", "value": {"intValue": -3.0}},
            {"key": "b", "value": {"bytesValue": "-_8"}},
            {"key": "c", "value": {"doubleValue": "-Infinity"}},
            {"key": "d"},
        ],
    }
    (metric,) = decode_json(request(point)).resource_metrics[0].scope_metrics[0].metrics
    decoded = metric.data.data_points[1]
    assert (decoded.time_unix_nano, decoded.start_time_unix_nano, decoded.value) == (5, 7, 1500.0)
    assert decoded.attributes == {"a": -3, "b": b"\xfb\xff", "c": -math.inf, "d": None}


NESTED: dict = {"intValue": "1"}
for _ in range(70):
    NESTED = {"arrayValue": {"values": [NESTED]}}


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ([], ": expected an object, not []"),
        ({"asInt": "1.5"}, ".asInt: expected a signed 64-bit integer, not '1.5'"),
        ({"asInt": str(2**63)}, ".asInt: expected a signed 64-bit integer, not '9223372036854775808'"),
        ({"asInt": True}, ".asInt: expected a signed 64-bit integer, not True"),
        ({"asInt": "٣"}, ".asInt: expected a signed 64-bit integer, not '٣'"),
        ({"timeUnixNano": -1}, ".timeUnixNano: expected an unsigned 64-bit integer, not -1"),
        ({"asDouble": "nan"}, ".asDouble: expected a double, not 'nan'"),
        ({"asDouble": 10**400}, ".asDouble: expected a double, not an integer of 1329 bits"),
        ({"asDouble": "1e999"}, ".asDouble: expected a double, not '1e999'"),
        ({"exemplars": {}}, ".exemplars: expected an array, not {}"),
        ({"exemplars": [{"traceId": "abcd"}]}, ".exemplars[0].traceId: expected 32 hexadecimal digits, not 'abcd'"),
        ({"attributes": [{"key": 1}]}, ".attributes[0].key: expected a string, not 1"),
        ({"attributes": [{"key": "\ud800"}]}, "key: expected Unicode text without lone surrogates, not '\\ud800'"),
        ({"attributes": [{"value": {"boolValue": 1}}]}, ".value.boolValue: expected true or false, not 1"),
        ({"attributes": [{"value": {"bytesValue": "é"}}]}, ".value.bytesValue: expected base64, not 'é'"),
        ({"attributes": [{"value": NESTED}]}, "attribute values are nested deeper than 64 levels"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(point, said):
    with pytest.raises(DecodeError) as caught:
        decode_json(request(point))
    assert str(caught.value).startswith(
        "malformed OTLP JSON: resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[1]"
    )
    assert str(caught.value).endswith(said)


@pytest.mark.parametrize("text", ["", "{", b"\xff", "[" * 100_000, "[]", '{"resourceMetrics": NaN}', "1" * 5000])
def test_what_is_no_json_request_raises_one_error(text):
    with pytest.raises(DecodeError, match="malformed OTLP JSON"):
        decode_json(text)


@relaxed
@given(data=st.data())
def test_damaged_requests_decode_or_raise_one_error(data, metrics_data):
    damaged = bytearray(encode_json(data.draw(metrics_data)))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.sampled_from(b'"{}[]:,0-e\xff'))
    try:
        decode_json(bytes(damaged))
    except DecodeError:
        pass


@pytest.mark.parametrize("count", [True, 5000, 2**64 - 1, 1.0, -1, 2**64, "1"])
def test_a_bucket_count_is_an_unsigned_integer_also_where_another_is_equal(build, count):
    def encoded(count):
        buckets = Buckets(0, (1, count))
        point = ExponentialHistogramDataPoint({}, 1, 2, 3, 4.0, 5, 0, buckets, buckets, 0, 0.0, 1.0)
        histogram = ExponentialHistogram([point], AggregationTemporality.CUMULATIVE)
        return JsonEncoder().encode(build.data(Metric("m", "", "", histogram)))

    encoded(1)  # what has been met is remembered
    if isinstance(count, int) and 0 <= count < 2**64:
        assert f'"bucketCounts":["1","{int(count)}"]'.encode() in encoded(count).data
    else:
        assert "bucketCounts" in encoded(count).dropped[0].reason


def _outcome(text, content):
    try:
        return content(decode_json(text))
    except DecodeError as error:
        return str(error)


def _value_by_value(text, content):
    with mock.patch.object(json_decoder, "LONG", len(text) + 1):
        return _outcome(text, content)


_FIELDS = [
    '"attributes": [{"key": "a", "value": {"stringValue": "b"}}, {"key": "n", "value": {"intValue": "-7"}}]',
    '"attributes": [{"key": "a", "value": {"stringValue": "]}, {"}}]',
    '"attributes": [{"key": "a", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"boolValue": true}]}}}]',
    '"attributes": [{"key": "m", "value": {"kvlistValue": {"values": [{"key": "a"}, {"key": "b"}]}}}, {"key": "c"}]',
    '"attributes": [{"key": "\\ud800", "value": {"stringValue": "\\u00e9"}}]',
    '"attributes": []',
    '"attributes": null',
    '"startTimeUnixNano": "7"',
    '"timeUnixNano": "18446744073709551615"',
    '"timeUnixNano": "99999999999999999999"',
    '"timeUnixNano": 5',
    '"asInt": "3"',
    '"asInt": "-0"',
    '"asDouble": 1.5e3',
    '"asDouble": 1e999',
    '"asDouble": "-Infinity"',
    '"asDouble": -Infinity',
    '"asDouble": 01.5',
    '"count": "4", "sum": 2',
    '"bucketCounts": ["1", "0", "12345"], "explicitBounds": [1.0, 2]',
    '"bucketCounts": ["1", ""]',
    '"bucketCounts": ["1, 2"]',
    '"bucketCounts": [], "explicitBounds": ["NaN", null]',
    '"min": -1, "max": 1.25',
    '"scale": -3, "zeroCount": "2", "flags": 1',
    '"positive": {"offset": 3, "bucketCounts": ["1", "2"]}',
    '"positive": {"bucketCounts": ["5"]}',
    '"negative": {"bucketCounts": []}, "flags": 00',
    '"exemplars": [{"timeUnixNano": "1", "asInt": "1", "spanId": "00000000000000ff"}, {"asDouble": 2.5}]',
    '"exemplars": [{"filteredAttributes": [{"key": "a", "value": {"stringValue": "b"}}]}]',
    '"exemplars": []',
    '"unknown": [{}]',
]
_SETTINGS = st.sampled_from(["", '"aggregationTemporality": 2, ', '"isMonotonic": true, "aggregationTemporality": 1, '])
_POINTS = st.lists(st.lists(st.sampled_from(_FIELDS), max_size=5).map(", ".join), max_size=3)


_KINDS = st.sampled_from(["gauge", "sum", "histogram", "exponentialHistogram", "summary"])


@relaxed
@given(kind=_KINDS, points=_POINTS, settings=_SETTINGS, other=_POINTS, compact=st.booleans())
def test_points_read_alike_whatever_their_fields(kind, points, settings, other, compact, content):
    arrays = [", ".join(f"{{{fields}}}" for fields in each) for each in (points, other)]
    metrics = ", ".join(
        f'{{"name": "\\t{number}", "{kind}": {{{settings}"dataPoints": [{array}]}}}}'
        for number, array in enumerate(arrays)
    )
    text = f'{{"resourceMetrics": [{{"scopeMetrics": [{{"metrics": [{metrics}]}}]}}]}}'
    if compact:
        text = text.replace(", ", ",").replace(": ", ":")
    assert _outcome(text, content) == _value_by_value(text, content)


@relaxed
@given(data=st.data(), official=st.booleans())
def test_damaged_requests_read_alike(data, official, metrics_data, content):
    metrics = data.draw(metrics_data)
    damaged = list(official_json(metrics).to_json() if official else encode_json(metrics).decode())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.sampled_from(['"', *"{}[]:,0-e \\", ""]))
    text = "".join(damaged)
    assert _outcome(text, content) == _value_by_value(text, content)


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("sum", '"attributes":[{"key":"a",]', '"attributes":[{"key":"a"}]'),
        ("histogram", '"explicitBounds":[1.0,]', '"explicitBounds":[1.0]'),
        ("histogram", '"bucketCounts":["1"",]', '"bucketCounts":["1"]'),
        ("exponentialHistogram", '"positive":{"bucketCounts":["1"",]}', '"positive":{"bucketCounts":["1"]}'),
        ("gauge", '"exemplars":[{"filteredAttributes":[{"key":]}]', '"exemplars":[{"asInt":"1"}]'),
        ("gauge", '"exemplars":[{"filteredAttributes":[{"key":],"filteredAttributes":[]}]', '"asInt":"1"'),
    ],
)
def test_a_field_that_is_there_twice_hides_no_malformed_text(kind, first, second):
    text = f'{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"{kind}":{{"dataPoints":[{{%s}}]}}}}]}}]}}]}}'
    decode_json(text % second)
    with pytest.raises(DecodeError, match="malformed OTLP JSON"):
        decode_json(text % f"{first},{second}")


def test_a_mapping_in_attributes_belongs_to_one_point():
    attribute = '{"key":"m","value":{"kvlistValue":{"values":[{"key":"a","value":{"intValue":"1"}}]}}}'
    point = f'{{"attributes":[{attribute}],"asInt":"1"}}'
    for text in (point, point.replace("kvlist", r"kvlis\u0074")):
        metrics = f'[{{"gauge":{{"dataPoints":[{text},{text}]}}}}]'
        request = f'{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":{metrics}}}]}}]}}'
        (metric,) = decode_json(request).resource_metrics[0].scope_metrics[0].metrics
        one, other = metric.data.data_points
        one.attributes["m"]["a"] = 2
        assert other.attributes == {"m": {"a": 1}}


def _with_integer(digits):
    attributes = [{"key": "a", "value": {"stringValue": "b"}}, {"key": "n", "value": {"intValue": digits}}]
    return json.dumps({"resourceMetrics": [{"resource": {"attributes": attributes}}]})


@pytest.mark.parametrize("digits", ["0", "007", "-1", "9" * 18, str(2**63 - 1)])
def test_an_integer_attribute_has_up_to_64_bits(digits):
    resource = decode_json(_with_integer(digits)).resource_metrics[0].resource
    assert resource.attributes["n"] == int(digits)


@pytest.mark.parametrize("digits", [str(2**63), "9" * 19, "", " 1", "\u0661"])
def test_an_integer_attribute_of_anything_else_is_refused(digits):
    with pytest.raises(DecodeError, match=r"resourceMetrics\[0\]\.resource\.attributes\[1\]\.value\.intValue"):
        decode_json(_with_integer(digits))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("count", 2**64, "count: an integer of 65 bits does not fit an unsigned 64-bit integer"),
        ("time_unix_nano", -1, "timeUnixNano: -1 does not fit an unsigned 64-bit integer"),
        ("sum", "x", "sum: 'x' does not fit a double"),
        ("max", 10**400, "max: an integer of 1329 bits does not fit a double"),
        ("bucket_counts", (1, -1), "bucketCounts: -1 does not fit an unsigned 64-bit integer"),
        ("bucket_counts", [1.0], "bucketCounts: expected an integer, not float"),
        ("explicit_bounds", (1.0, "x"), "explicitBounds: 'x' does not fit a double"),
    ],
)
def test_what_does_not_fit_in_a_histogram_is_named(build, field, value, said):
    point = replace(HistogramDataPoint({}, 1, 2, 3, 4.0, (1, 2), (0.5,), 1.0, 3.0), **{field: value})
    metrics = build.data(Metric("m", "", "", Histogram([point], AggregationTemporality.CUMULATIVE)))
    assert [dropped.reason for dropped in JsonEncoder().encode(metrics).dropped] == [said]


@pytest.mark.parametrize("bounds", [(0.0, 1), (-0.0, True), (0, 1.0), (-math.inf, math.nan)])
def test_equal_bounds_are_written_as_they_are(build, bounds):
    point = HistogramDataPoint({}, 1, 2, 3, None, (1, 1, 1), bounds, None, 3)
    metrics = build.data(Metric("m", "", "", Histogram([point], AggregationTemporality.CUMULATIVE)))
    (metric,) = decode_json(encode_json(metrics)).resource_metrics[0].scope_metrics[0].metrics
    decoded = metric.data.data_points[0]
    assert repr(decoded.explicit_bounds) == repr(tuple(map(float, bounds)))
    assert repr((decoded.sum, decoded.min, decoded.max)) == "(None, None, 3.0)"


def _histogram(**fields):
    metric = {"name": "m", "histogram": {"dataPoints": [fields], "aggregationTemporality": 2}}
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]})


def test_bucket_counts_are_read_in_every_spelling():
    spellings = [["1", "0020", str(2**64 - 1)], [1, 20, 2**64 - 1], [1.0, "20", 2**64 - 1], ["1", 20.0, str(2**64 - 1)]]
    for counts in spellings:
        (metric,) = decode_json(_histogram(bucketCounts=counts)).resource_metrics[0].scope_metrics[0].metrics
        found = metric.data.data_points[0].bucket_counts
        assert repr(found) == f"(1, 20, {2**64 - 1})"


@pytest.mark.parametrize("count", ["-1", "", "x", "٣", "1.5", str(2**64), -1, True, None, [], {}])
def test_a_wrong_bucket_count_is_named_with_its_place(count):
    with pytest.raises(DecodeError, match=r"dataPoints\[0\]\.bucketCounts\[1\]: expected an unsigned 64-bit"):
        decode_json(_histogram(bucketCounts=["1", count]))


def test_members_of_enumerations_are_the_integers_that_they_are(build):
    metrics = build.data(
        build.counter(build.point({"status": HTTPStatus.OK, "retries": (HTTPStatus.OK,)}, HTTPStatus.OK))
    )
    (resource,) = json.loads(encode_json(metrics))["resourceMetrics"]
    (point,) = resource["scopeMetrics"][0]["metrics"][0]["sum"]["dataPoints"]
    integer = {"intValue": "200"}
    assert [each["value"] for each in point["attributes"]] == [integer, {"arrayValue": {"values": [integer]}}]
    assert point["asInt"] == "200"


def test_bucket_counts_of_another_class_of_integers_are_digits(build):
    point = HistogramDataPoint({}, 1, 2, 201, 3.0, [True, HTTPStatus.OK], (1.0,), 0.0, 2.0)
    metrics = build.data(Metric("m", "", "", Histogram([point], AggregationTemporality.CUMULATIVE)))
    assert b'"bucketCounts":["1","200"]' in encode_json(metrics)
