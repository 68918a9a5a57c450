"""What comes back from encoded metrics, and what malformed bytes lead to."""

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from exporter_core.otlp import DecodeError, decode, encode
from exporter_core.otlp.wire import field

relaxed = settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=40)


@relaxed
@given(data=st.data())
def test_encoded_metrics_decode_to_what_they_were(data, metrics_data, content):
    metrics = data.draw(metrics_data)
    assert content(decode(encode(metrics))) == content(metrics)


@relaxed
@given(data=st.data())
def test_what_the_official_encoder_sends_decodes_too(data, metrics_data, content, official):
    metrics = data.draw(metrics_data)
    assert content(decode(official(metrics).SerializeToString())) == content(metrics)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_decode_or_raise_one_error(data):
    for number in range(3):
        try:
            decode(data)
        except DecodeError:
            pass
        data = field((1, 2, 2)[number], data)


@relaxed
@given(data=st.data())
def test_damaged_requests_decode_or_raise_one_error(data, metrics_data):
    damaged = bytearray(encode(data.draw(metrics_data)))
    for _ in range(data.draw(st.integers(1, 3))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    except DecodeError:
        pass


def test_attribute_values_nested_without_end_are_refused():
    value = b""
    for _ in range(5000):
        value = field(5, field(1, value))
    request = field(1, field(1, field(1, field(1, b"key") + field(2, value))))
    with pytest.raises(DecodeError, match="nested deeper than 64 levels"):
        decode(request)


def test_a_request_cut_short_says_so(build):
    with pytest.raises(DecodeError, match="cut short"):
        decode(encode(build.sums({"a": "b"}))[:-1])
