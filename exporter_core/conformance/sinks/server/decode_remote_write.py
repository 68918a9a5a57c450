"""Prometheus remote write 1.0 to points.

The message classes are made here, in a descriptor pool of their own: published packages carry gogoproto descriptors
that collide in one process. Source: prometheus/prompb/remote.proto and types.proto.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

from exporter_core.conformance.sinks.records import Point
from exporter_core.conformance.sinks.server.extras import extra

_descriptor: Any = extra("google.protobuf.descriptor_pb2")  # made from an import that may fail, like all below
_decode_error: type[Exception] = extra("google.protobuf.message").DecodeError

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


def _write_request() -> Any:  # a message class
    file = _descriptor.FileDescriptorProto(name="exporter_core/remote_write.proto", package=_PACKAGE, syntax="proto3")
    field_proto = _descriptor.FieldDescriptorProto
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind in fields:
            plain = kind.removesuffix("[]")
            field = described.field.add(name=name, number=number)
            field.label = field_proto.LABEL_REPEATED if plain != kind else field_proto.LABEL_OPTIONAL
            if plain in _MESSAGES:
                field.type = field_proto.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{plain}"
            else:
                field.type = getattr(field_proto, f"TYPE_{plain.upper()}")
    pool = extra("google.protobuf.descriptor_pool").DescriptorPool()
    pool.Add(file)
    return extra("google.protobuf.message_factory").GetMessageClass(
        pool.FindMessageTypeByName(f"{_PACKAGE}.WriteRequest")
    )


WriteRequest: Final = _write_request()


def parse(body: bytes) -> Any:  # a message
    """A WriteRequest; ValueError if the body is none."""
    try:
        return WriteRequest.FromString(body)
    except _decode_error as error:
        raise ValueError(str(error)) from None


def problems(request: Any) -> list[str]:
    """What breaks the rules on labels: sorted, unique, never empty, a metric's name among them."""
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


def points(request: Any) -> list[Point]:
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
        found.extend(
            Point(
                kind="sample",
                value=item.value,
                time_unix_nano=item.timestamp * 1_000_000,
                exemplars=exemplars,
                **common,
            )
            for item in series.samples
        )
        found.extend(
            Point(
                kind="native_histogram",
                value=_histogram(item),
                time_unix_nano=item.timestamp * 1_000_000,
                exemplars=exemplars,
                **common,
            )
            for item in series.histograms
        )
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
