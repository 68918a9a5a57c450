"""Histograms as Prometheus has them: cumulative buckets, and exponential histograms as native ones."""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from exporter_core_prometheus.translation.labels import plain_decimal
from exporter_core_prometheus.translation.model import Kind, TranslationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.metrics import Exemplar
    from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint, HistogramDataPoint

STALE_NAN: Final[float] = struct.unpack("<d", bytes.fromhex("020000000000f07f"))[0]
"""Prometheus' marker of a series that has ended; a NaN of its own."""
ZERO_THRESHOLD: Final = 1e-128
MAX_SCHEMA: Final = 8
MIN_SCHEMA: Final = -4
_NO_RECORDED_VALUE: Final = 1
_INT32: Final = 1 << 31


def le_text(bound: float) -> str:
    """Return the value of the label `le` for the upper bound of a bucket."""
    return plain_decimal(bound) if math.isfinite(bound) else "+Inf" if bound > 0 else "-Inf"


def bucket_bounds(bounds: Sequence[float]) -> list[str]:
    """Return the values of `le` of a histogram's buckets; the last is `+Inf`."""
    return [*(le_text(bound) for bound in bounds if bound != math.inf), "+Inf"]


def cumulative_counts(point: HistogramDataPoint) -> list[int]:
    """Return the counts of a histogram's buckets, each with those below; the last is that of all values."""
    counts = list(accumulate(point.bucket_counts))
    bounds = point.explicit_bounds
    if bounds and bounds[-1] == math.inf:
        del counts[-1:]
    counts[-1:] = [point.count]
    return counts


def scraped_exemplars(kind: Kind, point: Any) -> dict[int, Exemplar]:  # Any: a data point of the kind
    """Return the exemplars that a scrape can hold, by their bucket's place: the largest of each; a counter's newest."""
    key = _time if kind is Kind.COUNTER else _value
    bounds = point.explicit_bounds if kind is Kind.HISTOGRAM else ()
    return {bisect_left(bounds, one.value): one for one in sorted(point.exemplars or (), key=key)}


def _time(exemplar: Exemplar) -> float:
    return exemplar.time_unix_nano


def _value(exemplar: Exemplar) -> float:
    return exemplar.value


@dataclass(slots=True)
class NativeHistogram:
    """One point of a native histogram, as remote write and the scrape format have it.

    Spans are offset and length each; the deltas are those of the counts of consecutive buckets.
    """

    schema: int
    count: int
    sum: float
    zero_count: int
    positive_spans: list[tuple[int, int]]
    positive_deltas: list[int]
    negative_spans: list[tuple[int, int]]
    negative_deltas: list[int]
    zero_threshold: float = ZERO_THRESHOLD
    stale: bool = False


def native_histogram(point: ExponentialHistogramDataPoint) -> NativeHistogram:
    """Return an exponential histogram's point as a native histogram.

    Raises:
        TranslationError: its scale is too small.
    """
    if point.scale < MIN_SCHEMA:
        raise TranslationError(f"its scale is {point.scale}; native histograms have at least {MIN_SCHEMA}")
    shift = max(0, point.scale - MAX_SCHEMA)
    positive, negative = (
        _sparse(buckets.offset, buckets.bucket_counts, shift) for buckets in (point.positive, point.negative)
    )
    stale = bool(point.flags & _NO_RECORDED_VALUE)
    total: float | None = point.sum  # None where values may be negative
    return NativeHistogram(
        point.scale - shift,
        point.count,
        STALE_NAN if stale or total is None else total,
        point.zero_count,
        *positive,
        *negative,
        stale=stale,
    )


def _sparse(offset: int, counts: Sequence[int], shift: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Return spans and deltas of dense buckets, which are merged by `shift` powers of two.

    Prometheus numbers a bucket by its upper bound, OpenTelemetry by its lower one: hence the one more.
    """
    if shift:
        merged: dict[int, int] = {}
        for index, count in enumerate(counts, offset):
            merged[index >> shift] = merged.get(index >> shift, 0) + count
        filled = [(index + 1, count) for index, count in merged.items() if count]
    else:
        filled = [(index, count) for index, count in enumerate(counts, offset + 1) if count]
    spans: list[tuple[int, int]] = []
    deltas: list[int] = []
    last_count, following = 0, 0
    for index, count in filled:
        if spans and index == following:
            spans[-1] = spans[-1][0], spans[-1][1] + 1
        else:
            # The offset of a further span counts from the end of the one before.
            spans.append((index - following, 1))
        following = index + 1
        deltas.append(count - last_count)
        last_count = count
    return spans, deltas
