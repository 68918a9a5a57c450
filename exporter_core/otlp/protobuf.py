"""The protobuf encoding: frames of messages in a serialized `ExportMetricsServiceRequest`.

Source: opentelemetry-proto, `opentelemetry/proto/metrics/v1/metrics.proto`. Where the official Python encoder loses
information (a gauge's start time, the kind of a metric without points), this one sends it.
"""

from typing import Any

from opentelemetry.sdk.metrics.export import ExponentialHistogram, Gauge, Histogram, Metric, Sum

from exporter_core.otlp import points
from exporter_core.otlp.formats import Kind
from exporter_core.otlp.protobuf_values import attribute_writer
from exporter_core.otlp.request import Frame
from exporter_core.otlp.wire import HEADS, LENGTH, VARINTS, field, text_field

_NEVER = -1, b""
_TAGS = {
    kind: VARINTS[number << 3 | LENGTH]
    for kind, number in ((Gauge, 5), (Sum, 7), (Histogram, 9), (ExponentialHistogram, 10))
}


class _Bare:
    """No frame at all: a serialized message is not framed."""

    closing = b""

    @staticmethod
    def opening(_size: int) -> bytes:
        return b""


class _Message:
    """A length-delimited field: what stands before and after the content belongs to it."""

    def __init__(self, number: int, before: bytes, after: bytes) -> None:
        self._tag, self._before, self.closing = VARINTS[number << 3 | LENGTH], before, after

    def opening(self, size: int) -> bytes:
        return self._tag + VARINTS[len(self._before) + size + len(self.closing)] + self._before


class _Metric:
    """A `Metric` around its data; remembers the last opening, which mostly stays the same."""

    __slots__ = ("_header", "_last", "closing")

    def __init__(self, header: bytes, settings: bytes) -> None:
        self._header, self.closing = header, settings
        self._last = _NEVER

    def opening(self, size: int) -> bytes:
        last, opening = self._last
        if last != size:
            inner = size + len(self.closing)
            before = self._header + VARINTS[inner]
            opening = b"\x12" + VARINTS[len(before) + inner] + before
            self._last = size, opening
        return opening


class Protobuf:
    """Metrics as a serialized `ExportMetricsServiceRequest`."""

    separator = b""
    request: Frame = _Bare()

    def __init__(self) -> None:
        self.resource_attributes = attribute_writer(1)
        self.scope_attributes = attribute_writer(3)
        self.exemplar_attributes = attribute_writer(7)
        number = Kind(self.exemplar_attributes, points.number_shape, points.number_rest, points.number_exemplars)
        self.kinds = {
            Gauge: number,
            Sum: number,
            Histogram: Kind(
                attribute_writer(9), points.histogram_shape, points.histogram_rest, points.histogram_exemplars
            ),
            ExponentialHistogram: Kind(
                self.resource_attributes,  # a field of the same number
                lambda _point: None,
                points.exponential_rest,
                points.exponential_exemplars,
            ),
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
        data: Any = metric.data  # of any kind
        kind: Any = type(data)
        settings = b"" if kind is Gauge else b"\x10" + VARINTS[int(data.aggregation_temporality)]
        if kind is Sum and data.is_monotonic:
            settings += b"\x18\x01"
        header = text_field(1, metric.name) + text_field(2, metric.description) + text_field(3, metric.unit)
        return _Metric(header + _TAGS[kind], settings)

    def point(self, body: bytes, rest: bytes) -> bytes:
        """A data point as a field of the metric's data."""
        return HEADS[len(body) + len(rest)] + body + rest
