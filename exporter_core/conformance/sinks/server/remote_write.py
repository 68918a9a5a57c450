"""The Prometheus remote write 1.0 sink.

The message classes are made here, in a descriptor pool of their own: published packages carry gogoproto descriptors
that collide in one process. Source: prometheus/prompb/remote.proto and types.proto.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import cramjam
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from exporter_core.conformance.sinks.records import Point
from exporter_core.conformance.sinks.server.http import Answer, HttpServer, RefusedError, media_type, misdirected

if TYPE_CHECKING:
    from exporter_core.conformance.sinks.server.core import Entry

_PACKAGE: Final = "exporter_core.conformance.remote_write"

# Message, and its fields: name, number, type, with "[]" if repeated. The types are protobuf's, or a message's name.
_MESSAGES: Final[dict[str, tuple[tuple[str, int, str], ...]]] = {
    "WriteRequest": (("timeseries", 1, "TimeSeries[]"), ("metadata", 3, "MetricMetadata[]")),
    "MetricMetadata": (
        ("type", 1, "int32"),
        ("metric_family_name", 2, "string"),
        ("help", 4, "string"),
        ("unit", 5, "string"),
    ),
    "TimeSeries": (
        ("labels", 1, "Label[]"),
        ("samples", 2, "Sample[]"),
        ("exemplars", 3, "Exemplar[]"),
        ("histograms", 4, "Histogram[]"),
    ),
    "Label": (("name", 1, "string"), ("value", 2, "string")),
    "Sample": (("value", 1, "double"), ("timestamp", 2, "int64")),
    "Exemplar": (("labels", 1, "Label[]"), ("value", 2, "double"), ("timestamp", 3, "int64")),
    "BucketSpan": (("offset", 1, "sint32"), ("length", 2, "uint32")),
    "Histogram": (
        ("count_int", 1, "uint64"),
        ("count_float", 2, "double"),
        ("sum", 3, "double"),
        ("schema", 4, "sint32"),
        ("zero_threshold", 5, "double"),
        ("zero_count_int", 6, "uint64"),
        ("zero_count_float", 7, "double"),
        ("negative_spans", 8, "BucketSpan[]"),
        ("negative_deltas", 9, "sint64[]"),
        ("negative_counts", 10, "double[]"),
        ("positive_spans", 11, "BucketSpan[]"),
        ("positive_deltas", 12, "sint64[]"),
        ("positive_counts", 13, "double[]"),
        ("reset_hint", 14, "int32"),
        ("timestamp", 15, "int64"),
        ("custom_values", 16, "double[]"),
    ),
}


def _write_request() -> Any:  # Any: a message class made while running has no type
    file = FileDescriptorProto(name="exporter_core/remote_write.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind in fields:
            plain = kind.removesuffix("[]")
            field = described.field.add(name=name, number=number)
            field.label = FieldDescriptorProto.LABEL_REPEATED if plain != kind else FieldDescriptorProto.LABEL_OPTIONAL
            if plain in _MESSAGES:
                field.type = FieldDescriptorProto.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{plain}"
            else:
                field.type = getattr(FieldDescriptorProto, f"TYPE_{plain.upper()}")
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.WriteRequest"))


WriteRequest: Final = _write_request()


class RemoteWriteServer(HttpServer):
    """A sink for Prometheus remote write 1.0."""

    def expects(self, entry: Entry) -> Answer | None:
        """``POST /api/v1/write``."""
        return misdirected(entry, "/api/v1/write")

    def read(self, entry: Entry) -> None:
        """Decompress, decode, and note violations of the specification."""
        content_type, encoding = entry.header("content-type"), entry.header("content-encoding")
        if media_type(entry) != "application/x-protobuf" or "io.prometheus.write.v2" in content_type:
            raise RefusedError(f"Content-Type {content_type!r} is not remote write 1.0's", status=415)
        if encoding.lower() != "snappy":
            raise RefusedError(f"Content-Encoding {encoding!r} is not snappy")
        if entry.header("x-prometheus-remote-write-version") != "0.1.0":
            entry.problem("X-Prometheus-Remote-Write-Version is not 0.1.0")
        try:
            entry.update(body=bytes(cramjam.snappy.decompress_raw(entry.request.body)))
            message = WriteRequest.FromString(entry.request.body)
        except (DecodeError, cramjam.DecompressionError) as error:
            raise RefusedError(f"not a snappy-compressed WriteRequest: {error}") from None
        entry.decode = lambda: _points(message)
        if problems := _problems(message):
            raise RefusedError(*problems)

    def success(self, entry: Entry, rejected: int | None = None) -> Answer:  # noqa: ARG002 - it knows no partial success
        """No content, as Prometheus answers."""
        return Answer(204)


def _problems(request: Any) -> list[str]:
    """Violations of the rules on labels: sorted, unique, never empty, a metric's name among them."""
    found: list[str] = []
    for series in request.timeseries:
        names = [label.name for label in series.labels]
        labels = {label.name: label.value for label in series.labels}
        what = f"series {labels!r}"
        if "__name__" not in names:
            found.append(f"{what}: no label __name__")
        if not all(label.name and label.value for label in series.labels):
            found.append(f"{what}: an empty label name or value")
        if any(first >= second for first, second in pairwise(names)):
            found.append(f"{what}: labels are not sorted and unique")
    return found


def _points(request: Any) -> list[Point]:
    """Every sample, exemplar and native histogram, with the series' labels as attributes and times in nanoseconds."""
    metadata = {item.metric_family_name: item for item in request.metadata}
    found: list[Point] = []
    for series in request.timeseries:
        labels = {label.name: label.value for label in series.labels}
        name = labels.pop("__name__", "")
        family = metadata.get(name)
        common = {
            "metric": name,
            "attributes": labels,
            "unit": family.unit if family else "",
            "description": family.help if family else "",
        }
        exemplars = tuple(
            {
                "value": item.value,
                "time_unix_nano": item.timestamp * 1_000_000,
                "labels": {label.name: label.value for label in item.labels},
            }
            for item in series.exemplars
        )
        values = [("sample", item, item.value) for item in series.samples]
        values += [("native_histogram", item, _histogram(item)) for item in series.histograms]
        found += [
            Point(kind=kind, value=value, time_unix_nano=item.timestamp * 1_000_000, exemplars=exemplars, **common)
            for kind, item, value in values
        ]
    return found


def _histogram(item: Any) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, _, kind in _MESSAGES["Histogram"]:
        if name != "timestamp":
            content = getattr(item, name)
            if kind == "BucketSpan[]":
                content = [[span.offset, span.length] for span in content]
            value[name] = list(content) if kind.endswith("[]") else content
    return value
