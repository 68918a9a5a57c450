"""The protobuf encoding: frames of messages in a serialized `ExportMetricsServiceRequest`.

Source: opentelemetry-proto, `opentelemetry/proto/metrics/v1/metrics.proto`. Where the official Python encoder loses
information (a gauge's start time, the kind of a metric without points), this one sends it.
"""

from typing import Any

from opentelemetry.sdk.metrics.export import ExponentialHistogram, Gauge, Histogram, Metric, Sum

from exporter_core.otlp.formats import Kind
from exporter_core.otlp.points import exponential_tail, histogram_tail, histogram_tails, number_tail, number_tails
from exporter_core.otlp.protobuf_values import attribute_writer
from exporter_core.otlp.request import Frame
from exporter_core.otlp.wire import HEADS, field, text_field, varint

_NUMBERS = {Gauge: 5, Sum: 7, Histogram: 9, ExponentialHistogram: 10}


class _Bare:
    """No frame at all: a serialized message is not framed."""

    closing = b""

    @staticmethod
    def opening(_size: int) -> bytes:
        return b""


class _Message:
    """A length-delimited field: what stands before and after the content belongs to it."""

    def __init__(self, number: int, before: bytes, after: bytes) -> None:
        self._tag, self._before, self.closing = varint(number << 3 | 2), before, after

    def opening(self, size: int) -> bytes:
        return self._tag + varint(len(self._before) + size + len(self.closing)) + self._before


class _Nested:
    """A message as the last field of another."""

    def __init__(self, outer: _Message, inner: _Message) -> None:
        self._outer, self._inner, self.closing = outer, inner, inner.closing

    def opening(self, size: int) -> bytes:
        opening = self._inner.opening(size)
        return self._outer.opening(len(opening) + size + len(self.closing)) + opening


class Protobuf:
    """Metrics as a serialized `ExportMetricsServiceRequest`."""

    separator = b""
    request: Frame = _Bare()

    def __init__(self) -> None:
        self.resource_attributes = attribute_writer(1)
        self.scope_attributes = attribute_writer(3)
        self.exemplar_attributes = attribute_writer(7)
        number = Kind(attribute_writer(7), number_tail, number_tails)
        self.kinds = {
            Gauge: number,
            Sum: number,
            Histogram: Kind(attribute_writer(9), histogram_tail, histogram_tails),
            ExponentialHistogram: Kind(attribute_writer(1), exponential_tail, lambda _points: None),
        }

    def resource(self, attributes: bytes, url: str) -> Frame:
        """A `ResourceMetrics`."""
        return _Message(1, field(1, attributes), text_field(3, url))

    def scope(self, scope: tuple[str, str, bytes] | None, url: str) -> Frame:
        """A `ScopeMetrics`."""
        header = b""
        if scope is not None:
            name, version, attributes = scope
            header = field(1, text_field(1, name) + text_field(2, version) + attributes)
        return _Message(2, header, text_field(3, url))

    def metric(self, metric: Metric) -> Frame:
        """A `Metric` and its data."""
        header = text_field(1, metric.name) + text_field(2, metric.description) + text_field(3, metric.unit)
        return _Nested(_Message(2, header, b""), _Message(_NUMBERS[type(metric.data)], b"", _settings(metric.data)))

    def point(self, body: bytes, tail: bytes) -> bytes:
        """A data point as a field of the metric's data."""
        return HEADS[len(body) + len(tail)] + body + tail


def _settings(data: Any) -> bytes:  # the data of any kind of metric
    parts = b""
    if not isinstance(data, Gauge):
        parts = b"\x10" + varint(int(data.aggregation_temporality))
    if isinstance(data, Sum) and data.is_monotonic:
        parts += b"\x18\x01"
    return parts
