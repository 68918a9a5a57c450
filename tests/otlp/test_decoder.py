"""What comes back from encoded metrics, and what malformed bytes lead to."""

import struct
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from exporter_core.otlp import DecodeError, decode, encode
from exporter_core.otlp.wire import VARINTS, field

relaxed = settings(suppress_health_check=list(HealthCheck), deadline=None)


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


_PARTS = [
    b"\x11" + bytes(range(8)),  # start
    b"\x19" + bytes(range(1, 9)),  # time
    b"\x19" + b"\x11" * 8,
    b"\x21" + struct.pack("<d", 1.5),
    b"\x31" + struct.pack("<q", -7),
    b"\x2a\x00",  # an exemplar
    b"\x40\x01",  # flags
    *(field(7, field(1, key) + field(2, field(1, text))) for key, text in ((b"a", b"b"), (b"a", b"c"), (b"\x11", b""))),
    field(7, field(1, b"long") + field(2, field(1, b"x" * 150))),
    b"\x11",
]


@given(parts=st.lists(st.sampled_from(_PARTS), max_size=8), kind=st.sampled_from([5, 7]))
def test_a_number_point_decodes_alike_whatever_the_order_of_its_fields(parts, kind):
    data = field(1, field(2, field(2, field(kind, field(1, b"".join(parts))))))

    def decoded():
        try:
            return repr(decode(data).resource_metrics[0].scope_metrics[0].metrics)
        except DecodeError as error:
            return str(error)

    decoded()  # what has been met is remembered
    with mock.patch("exporter_core.otlp.decoder._plain_number_point", return_value=None):
        slowly = decoded()
    assert decoded() == slowly


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_bucket_counts_of_any_size_decode_to_what_they_were(counts):
    packed = b"".join(VARINTS[count] for count in counts)
    point = field(8, b"\x08\x02" + field(2, packed))
    data = field(1, field(2, field(2, field(10, field(1, point)))))
    metric = decode(data).resource_metrics[0].scope_metrics[0].metrics[0]
    assert metric.data.data_points[0].positive.bucket_counts == tuple(counts)
