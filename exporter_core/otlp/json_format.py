"""The OTLP JSON encoding: frames of objects in an `ExportMetricsServiceRequest`.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from typing import Any

from opentelemetry.sdk.metrics.export import ExponentialHistogram, Gauge, Histogram, Metric, Sum

from exporter_core.otlp import json_points as points
from exporter_core.otlp.formats import Kind
from exporter_core.otlp.json_values import attribute_writer, text
from exporter_core.otlp.request import Frame

_NAMES = {Gauge: "gauge", Sum: "sum", Histogram: "histogram", ExponentialHistogram: "exponentialHistogram"}


class _Object:
    """The text before and after the content."""

    def __init__(self, before: str, after: str) -> None:
        self._before, self.closing = before.encode(), after.encode()

    def opening(self, _size: int) -> bytes:
        return self._before


class Json:
    """Metrics as an `ExportMetricsServiceRequest` in OTLP JSON."""

    separator = points.SEPARATOR
    request: Frame = _Object('{"resourceMetrics":[', "]}")

    def __init__(self) -> None:
        inner = attribute_writer(b'"attributes":[', b"]")
        self.resource_attributes = self.scope_attributes = inner
        self.exemplar_attributes = attribute_writer(b'"filteredAttributes":[', b"]")
        # Every point begins with a separator, of which the first of a metric is deprived.
        writer = attribute_writer(b',{"attributes":[', b"],", empty=b",{")
        number = Kind(writer, points.number_shape, points.number_rest, points.write_exemplars)
        histogram = Kind(writer, points.histogram_shape, points.histogram_rest, points.write_exemplars)
        exponential = Kind(writer, lambda _point: None, points.exponential_rest, points.write_exemplars)
        self.kinds = {Gauge: number, Sum: number, Histogram: histogram, ExponentialHistogram: exponential}

    def resource(self, attributes: bytes, url: str) -> Frame:
        """A `ResourceMetrics`."""
        return _Object(f'{{"resource":{{{attributes.decode()}}},"scopeMetrics":[', f"]{_url(url)}}}")

    def scope(self, scope: tuple[str, str, bytes] | None, url: str) -> Frame:
        """A `ScopeMetrics`."""
        header = ""
        if scope is not None:
            name, version, attributes = scope
            fields = _named("name", name) + _named("version", version) + attributes.decode()
            header = f'"scope":{{{fields.rstrip(",")}}},'
        return _Object(f'{{{header}"metrics":[', f"]{_url(url)}}}")

    def metric(self, metric: Metric) -> Frame:
        """A `Metric` and its data."""
        name, description, unit, data = metric.name, metric.description, metric.unit, metric.data
        header = _named("name", name) + _named("description", description) + _named("unit", unit)
        return _Object(f'{{{header}"{_NAMES[type(data)]}":{{"dataPoints":[', f"]{_settings(data)}}}}}")

    def point(self, body: bytes, rest: bytes) -> bytes:
        """A data point."""
        return body + rest


def _named(name: str, value: str | None) -> str:
    """A field and a comma, or nothing."""
    return f'"{name}":{text(value)},' if value is not None and value != "" else ""


def _url(url: str) -> str:
    return f',"schemaUrl":{text(url)}' if url else ""


def _settings(data: Any) -> str:  # the data of any kind of metric
    parts = ""
    if not isinstance(data, Gauge):
        parts = f',"aggregationTemporality":{int(data.aggregation_temporality)}'
    if isinstance(data, Sum) and data.is_monotonic:
        parts += ',"isMonotonic":true'
    return parts
