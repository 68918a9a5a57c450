"""The Prometheus remote write sink, of 1.0 and 2.0 (2.0-rc.4), which a request tells by its Content-Type.

The message classes are made here, in a descriptor pool of their own: published packages carry gogoproto descriptors
that collide in one process. Source: prometheus/prompb/remote.proto, types.proto and io/prometheus/write/v2/types.proto.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import cramjam
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from exporter_core.conformance.sinks.records import Point
from exporter_core.conformance.sinks.server.core import identity_in
from exporter_core.conformance.sinks.server.http import Answer, HttpServer, RefusedError, media_type, misdirected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exporter_core.conformance.sinks.faults import Fault
    from exporter_core.conformance.sinks.server.core import Entry

_STALE: Final = bytes.fromhex("020000000000f07f")
"""The double that marks the end of a series."""
_V2: Final = "io.prometheus.write.v2.Request"
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
        ("start_timestamp", 17, "int64"),
    ),
    "Request2": (("symbols", 4, "string[]"), ("timeseries", 5, "TimeSeries2[]")),
    "TimeSeries2": (
        ("labels_refs", 1, "uint32[]"),
        ("samples", 2, "Sample2[]"),
        ("histograms", 3, "Histogram[]"),
        ("exemplars", 4, "Exemplar2[]"),
        ("metadata", 5, "Metadata2"),
    ),
    "Sample2": (("value", 1, "double"), ("timestamp", 2, "int64"), ("start_timestamp", 3, "int64")),
    "Exemplar2": (("labels_refs", 1, "uint32[]"), ("value", 2, "double"), ("timestamp", 3, "int64")),
    "Metadata2": (("type", 1, "int32"), ("help_ref", 3, "uint32"), ("unit_ref", 4, "uint32")),
}


def _messages() -> tuple[Any, Any]:  # Any: a message class made while running has no type
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
    one, two = (pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in ("WriteRequest", "Request2"))
    return GetMessageClass(one), GetMessageClass(two)


WriteRequest, Request2 = _messages()


class RemoteWriteServer(HttpServer):
    """A sink for Prometheus remote write 1.0 and 2.0."""

    def expects(self, entry: Entry) -> Answer | None:
        """``POST /api/v1/write``."""
        return misdirected(entry, "/api/v1/write")

    def read(self, entry: Entry) -> None:
        """Decompress, decode, and note violations of the specification."""
        content_type, encoding = entry.header("content-type"), entry.header("content-encoding")
        parameter = content_type.partition(";")[2].strip()
        if media_type(entry) != "application/x-protobuf" or parameter not in {"", *(f"proto={one}" for one in _PROTOS)}:
            raise RefusedError(f"Content-Type {content_type!r} is not remote write's", status=415)
        is_v2 = parameter == f"proto={_V2}"
        if encoding.lower() != "snappy":
            raise RefusedError(f"Content-Encoding {encoding!r} is not snappy")
        version = "2.0.0" if is_v2 else "0.1.0"
        if entry.header("x-prometheus-remote-write-version") != version:
            entry.problem(f"X-Prometheus-Remote-Write-Version is not {version}")
        if not entry.header("user-agent"):
            entry.problem("there is no User-Agent")
        try:
            entry.update(body=bytes(cramjam.snappy.decompress_raw(entry.request.body)))
            message = (Request2 if is_v2 else WriteRequest).FromString(entry.request.body)
        except (DecodeError, cramjam.DecompressionError) as error:
            raise RefusedError(f"not a snappy-compressed {'Request' if is_v2 else 'WriteRequest'}: {error}") from None
        problems = _problems_of_symbols(message) if is_v2 else []
        if not problems:
            read = _points_2 if is_v2 else _points
            entry.decode = lambda: read(message)
            problems = _problems(list(map(_labels_2(message), message.timeseries)) if is_v2 else _labels(message))
        if problems:
            raise RefusedError(*problems)

    def identities(self, names: Sequence[str]) -> list[str]:
        """Those of each request once: Prometheus has several samples for one point of a histogram."""
        self._check()
        found: list[str] = []
        for entry in self.entries:
            found += dict.fromkeys(identity_in(point.attributes, names) for point in entry.stored_points())
        return found

    def success(self, entry: Entry, partial: Fault | None = None) -> Answer:  # noqa: ARG002 - it knows no partial success
        """No content, as Prometheus answers; for 2.0 with the numbers of what was stored."""
        if _V2 not in entry.header("content-type"):
            return Answer(204)
        series = Request2.FromString(entry.request.body).timeseries
        written = {what: sum(len(getattr(one, what.lower())) for one in series) for what in _WRITTEN}
        return Answer(204, headers={_HEADER.format(what): str(count) for what, count in written.items()})


_PROTOS: Final = ("prometheus.WriteRequest", _V2)
_WRITTEN: Final = ("Samples", "Histograms", "Exemplars")
_HEADER: Final = "X-Prometheus-Remote-Write-{}-Written"


def _labels(request: Any) -> list[list[tuple[str, str]]]:
    """The labels of each series."""
    return [[(label.name, label.value) for label in series.labels] for series in request.timeseries]


def _labels_2(request: Any) -> Callable[[Any], list[tuple[str, str]]]:
    """Reads the labels of a series or an exemplar of version 2.0."""
    symbols = list(request.symbols)

    def labels(holder: Any) -> list[tuple[str, str]]:
        texts = [symbols[reference] for reference in holder.labels_refs]
        return list(zip(texts[::2], texts[1::2], strict=True))

    return labels


def _problems_of_symbols(request: Any) -> list[str]:
    """Violations of the rules on symbols, and on what a series of version 2.0 has."""
    symbols = list(request.symbols)
    found = [] if symbols[:1] == [""] else ["the first symbol is not the empty text"]
    if len(set(symbols)) < len(symbols):
        found.append("a symbol stands there twice")
    for series in request.timeseries:
        metadata = series.metadata
        references = [*series.labels_refs, metadata.help_ref, metadata.unit_ref]
        references += [one for exemplar in series.exemplars for one in exemplar.labels_refs]
        if any(reference >= len(symbols) for reference in references):
            found.append("a reference to a symbol that is not there")
        if any(len(one.labels_refs) % 2 for one in (series, *series.exemplars)):
            found.append("a label without a value")
        if bool(series.samples) == bool(series.histograms):
            found.append("a series with neither samples nor histograms, or with both")
        if any(not exemplar.timestamp for exemplar in series.exemplars):
            found.append("an exemplar without a timestamp")
    return found


def _problems(series: list[list[tuple[str, str]]]) -> list[str]:
    """Violations of the rules on labels: sorted, unique, never empty, a metric's name among them."""
    found: list[str] = []
    for labels in series:
        names = [name for name, _ in labels]
        what = f"series {dict(labels)!r}"
        if "__name__" not in names:
            found.append(f"{what}: no label __name__")
        if not all(name and value for name, value in labels):
            found.append(f"{what}: an empty label name or value")
        if any(first >= second for first, second in pairwise(names)):
            found.append(f"{what}: labels are not sorted and unique")
    return found


def _points(request: Any) -> list[Point]:
    """Every sample and native histogram, with the series' labels as attributes and times in nanoseconds."""
    metadata = {item.metric_family_name: item for item in request.metadata}
    found: list[Point] = []
    for series, labels in zip(request.timeseries, map(dict, _labels(request)), strict=True):
        family = metadata.get(labels.get("__name__", ""))
        texts = (family.unit, family.help) if family else ("", "")
        found += _series_points(series, labels, texts, lambda one: {label.name: label.value for label in one.labels})
    return found


def _points_2(request: Any) -> list[Point]:
    """The points of a request of version 2.0."""
    read, symbols = _labels_2(request), request.symbols
    found: list[Point] = []
    for series in request.timeseries:
        texts = symbols[series.metadata.unit_ref], symbols[series.metadata.help_ref]
        found += _series_points(series, dict(read(series)), texts, lambda one: dict(read(one)))
    return found


def _series_points(
    series: Any, labels: dict[str, str], texts: tuple[str, str], labels_of: Callable[[Any], dict[str, str]]
) -> list[Point]:
    """The points of one series, each with its exemplars."""
    name = labels.pop("__name__", "")
    exemplars = tuple(
        {"value": item.value, "time_unix_nano": item.timestamp * 1_000_000, "labels": labels_of(item)}
        for item in series.exemplars
    )
    values = [("stale" if _is_stale(item.value) else "sample", item, item.value) for item in series.samples]
    values += [
        ("stale" if _is_stale(item.sum) else "native_histogram", item, _histogram(item)) for item in series.histograms
    ]
    return [
        Point(
            kind=kind,
            metric=name,
            attributes=labels,
            unit=texts[0],
            description=texts[1],
            value=value,
            time_unix_nano=item.timestamp * 1_000_000,
            start_time_unix_nano=getattr(item, "start_timestamp", 0) * 1_000_000,
            exemplars=exemplars,
        )
        for kind, item, value in values
    ]


def _is_stale(value: float) -> bool:
    return struct.pack("<d", value) == _STALE


def _histogram(item: Any) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, _, kind in _MESSAGES["Histogram"]:
        if name not in {"timestamp", "start_timestamp"}:
            content = getattr(item, name)
            if kind == "BucketSpan[]":
                content = [[span.offset, span.length] for span in content]
            value[name] = list(content) if kind.endswith("[]") else content
    return value
