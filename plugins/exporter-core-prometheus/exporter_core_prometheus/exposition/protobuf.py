"""The protobuf format: delimited messages ``io.prometheus.client.MetricFamily``, the one that has native histograms.

Source: https://github.com/prometheus/client_model, ``io/prometheus/client/metrics.proto``.
"""

from __future__ import annotations

import struct
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Final

from exporter_core.otlp import VARINTS, field
from exporter_core_prometheus.translation import (
    HISTOGRAMS,
    Kind,
    cumulative_counts,
    float_of,
    native_histogram,
    scraped_exemplars,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.metrics import Exemplar

    from exporter_core_prometheus.translation import Family, Group, LabelMaker, Labels, Series, Translation

_COUNTER, _GAUGE, _HISTOGRAM = 0, 1, 4
_TYPES: Final = {
    Kind.COUNTER: _COUNTER,
    Kind.GAUGE: _GAUGE,
    Kind.HISTOGRAM: _HISTOGRAM,
    Kind.NATIVE_HISTOGRAM: _HISTOGRAM,
    Kind.INFO: _GAUGE,
}
_double = struct.Struct("<d").pack
_DOUBLE_FIELD: Final = 9  # bytes: a tag and a number
_EXEMPLAR_TAG: Final = {Kind.COUNTER: 2, Kind.HISTOGRAM: 3}


def encode_protobuf(translation: Translation, label_maker: LabelMaker) -> tuple[bytes, list[str]]:
    """Return a translation as delimited messages, and what has no form in them.

    Args:
        translation: the families.
        label_maker: makes the labels of exemplars.
    """
    parts: list[bytes] = []
    problems: list[str] = []
    for family in translation.families:
        body = [_head(family)]
        for group in family.groups:
            try:
                body.append(_metrics(family, group, label_maker))
            except (TypeError, ValueError) as error:  # of a value that is no number, or a TranslationError
                problems.append(f"{family.name}: {error}")
        message = b"".join(body)
        parts += [VARINTS[len(message)], message]
    return b"".join(parts), problems


def _head(family: Family) -> bytes:
    has_unit = family.unit and family.name.removesuffix("_total").endswith(family.unit)
    unit = field(5, family.unit.encode()) if has_unit else b""
    about = field(2, family.help.encode()) if family.help else b""
    return field(1, family.name.encode()) + about + b"\x18" + VARINTS[_TYPES[family.kind]] + unit


def _metrics(family: Family, group: Group, label_maker: LabelMaker) -> bytes:
    """Return the field `metric` of each series of a group."""
    points = group.points
    if family.kind in HISTOGRAMS:
        encode = _classic if family.kind is Kind.HISTOGRAM else _native
        pairs = zip(group.series, points, strict=True)
        return b"".join(
            [field(4, _kept_labels(series) + field(7, encode(point, label_maker))) for series, point in pairs]
        )
    prefixes = [series.protobuf for series in group.series]
    if not all(prefixes):
        prefixes = [_number_prefix(family.kind, series) for series in group.series]
    parts = [b""] * (2 * len(prefixes))
    parts[0::2] = prefixes
    parts[1::2] = [_packed(point.value) for point in points]
    if family.kind is Kind.COUNTER and any(point.exemplars for point in points):
        for place, (series, point) in enumerate(zip(group.series, points, strict=True)):
            if point.exemplars:
                number = field(3, _counter(point, label_maker))
                parts[2 * place : 2 * place + 2] = field(4, _labels(series.labels) + number), b""
    return b"".join(parts)


def _number_prefix(kind: Kind, series: Series) -> bytes:
    """Return the field `metric` of a counter or gauge up to its number, which is always as long."""
    prefix: bytes | None = series.protobuf
    if prefix is None:
        start = (
            _labels(series.labels) + (b"\x1a" if kind is Kind.COUNTER else b"\x12") + VARINTS[_DOUBLE_FIELD] + b"\x09"
        )
        prefix = series.protobuf = b"\x22" + VARINTS[len(start) + _DOUBLE_FIELD - 1] + start
    return prefix


def _kept_labels(series: Series) -> bytes:
    labels: bytes | None = series.protobuf
    if labels is None:
        labels = series.protobuf = _labels(series.labels)
    return labels


def _labels(labels: Labels) -> bytes:
    return b"".join([field(1, field(1, name.encode()) + field(2, value.encode())) for name, value in labels])


def _packed(value: float) -> bytes:
    return _double(float_of(value))


def _counter(point: Any, label_maker: LabelMaker) -> bytes:  # Any: a NumberDataPoint
    exemplar = scraped_exemplars(Kind.COUNTER, point)[0]
    return b"\x09" + _packed(point.value) + field(2, _exemplar(exemplar, label_maker))


def _classic(point: Any, label_maker: LabelMaker) -> bytes:  # Any: a HistogramDataPoint
    bounds: Sequence[float] = point.explicit_bounds
    marks = scraped_exemplars(Kind.HISTOGRAM, point)
    parts = _start(point)
    shown = [*bounds, inf] if not bounds or isfinite(bounds[-1]) else bounds
    for place, (bound, count) in enumerate(zip(shown, cumulative_counts(point), strict=True)):
        mark = field(3, _exemplar(marks[place], label_maker)) if place in marks else b""
        parts.append(field(3, b"\x08" + VARINTS[count] + b"\x11" + _packed(bound) + mark))
    return b"".join(parts)


def _native(point: Any, label_maker: LabelMaker) -> bytes:  # Any: an ExponentialHistogramDataPoint
    native = native_histogram(point)
    parts = [
        *_start(point),
        b"\x28" + _zigzag(native.schema),
        b"\x31" + _double(native.zero_threshold),
        b"\x38" + VARINTS[native.zero_count],
        *_buckets(9, native.negative_spans, native.negative_deltas),
        *_buckets(12, native.positive_spans, native.positive_deltas),
    ]
    if not (native.positive_spans or native.negative_spans):
        parts.append(field(12, b"\x08\x00\x10\x00"))  # an empty span: how a scraper tells it from a classic histogram
    parts += [field(16, _exemplar(one, label_maker)) for one in sorted(point.exemplars or (), key=_time)]
    return b"".join(parts)


def _start(point: Any) -> list[bytes]:  # Any: a data point of a histogram
    total = [] if point.sum is None else [b"\x11" + _packed(point.sum)]
    return [b"\x08" + VARINTS[point.count], *total]


def _buckets(number: int, spans: list[tuple[int, int]], deltas: list[int]) -> list[bytes]:
    """Return spans, and the deltas of the buckets' counts, in the field after theirs."""
    fields = [field(number, b"\x08" + _zigzag(offset) + b"\x10" + VARINTS[length]) for offset, length in spans]
    return [*fields, field(number + 1, b"".join(map(_zigzag, deltas)))] if deltas else fields


def _zigzag(value: int) -> bytes:
    return VARINTS[value * 2 if value >= 0 else -value * 2 - 1]


def _time(exemplar: Exemplar) -> int:
    return exemplar.time_unix_nano


def _exemplar(exemplar: Exemplar, label_maker: LabelMaker) -> bytes:
    seconds, nanoseconds = divmod(exemplar.time_unix_nano, 1_000_000_000)
    time = b"\x08" + VARINTS[seconds] + (b"\x10" + VARINTS[nanoseconds] if nanoseconds else b"")
    return _labels(label_maker.exemplar(exemplar)) + b"\x11" + _packed(exemplar.value) + field(3, time)
