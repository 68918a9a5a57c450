"""The messages of remote write, written by hand: the fields that 1.0 and 2.0 share, and those that differ.

Sources: prometheus/prompb/types.proto and prometheus/prompb/io/prometheus/write/v2/types.proto.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from exporter_core.otlp import VARINTS, field
from exporter_core_prometheus.translation import Kind, float_of, native_histogram

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter_core_prometheus.translation import Labels

_UINT64: Final = 1 << 64
STALE: Final = bytes.fromhex("020000000000f07f")
"""The value of a staleness marker; no other NaN may be it."""
MAX_TIMESTAMP: Final = (1 << 63) - 1
_double = struct.Struct("<d").pack
TYPES: Final = {
    Kind.COUNTER: 1,
    Kind.GAUGE: 2,
    Kind.HISTOGRAM: 3,
    Kind.NATIVE_HISTOGRAM: 3,
    Kind.INFO: 6,
}
"""Numbers of the types of metrics, in both versions."""


def int64(value: int) -> bytes:
    """Return the encoding of a signed integer."""
    return VARINTS[value % _UINT64]


def milliseconds(nanoseconds: int | None) -> int:
    """Return a time in milliseconds; 0 for none."""
    return (nanoseconds or 0) // 1_000_000


def doubles(values: list[Any]) -> bytes:  # what struct takes
    """Return numbers as doubles, one after the other; integers beyond their range become infinite."""
    try:
        return struct.pack(f"<{len(values)}d", *values)
    except (struct.error, OverflowError):
        return b"".join([_double(float_of(value)) for value in values])


def label_fields(labels: Labels) -> bytes:
    """Return labels as version 1.0 has them."""
    return b"".join(map(_LABELS.__getitem__, labels))


class _KeptLabels(dict[tuple[str, str], bytes]):
    """Label -> its encoding in version 1.0. Keeps short ones (bounded)."""

    def __missing__(self, label: tuple[str, str]) -> bytes:
        name, value = label
        encoded = field(1, field(1, name.encode()) + field(2, value.encode()))
        if len(encoded) <= _LONGEST_KEPT:
            if len(self) >= _MOST_KEPT:
                self.clear()
            self[label] = encoded
        return encoded


_LONGEST_KEPT: Final = 128
_MOST_KEPT: Final = 8192
_LABELS: Final = _KeptLabels()


def histogram(point: Any, *, has_start: bool) -> bytes:  # an ExponentialHistogramDataPoint
    """Return an exponential histogram's point as a `Histogram` message.

    Args:
        point: the point.
        has_start: write its start time, as version 2.0 has it.

    Raises:
        TranslationError: it has no form as a native histogram.
    """
    native = native_histogram(point)
    if native.stale:
        return stale_histogram(milliseconds(point.time_unix_nano))
    start = milliseconds(point.start_time_unix_nano) if has_start else 0
    return b"".join(
        (
            b"\x08",
            VARINTS[native.count],
            b"\x19",
            _double(native.sum),
            b"\x20",
            _zigzag(native.schema),
            b"\x29",
            _double(native.zero_threshold),
            b"\x30",
            VARINTS[native.zero_count],
            *_buckets(b"\x42", b"\x4a", native.negative_spans, native.negative_deltas),
            *_buckets(b"\x5a", b"\x62", native.positive_spans, native.positive_deltas),
            b"\x78",
            int64(milliseconds(point.time_unix_nano)),
            b"\x88\x01" + int64(start) if start else b"",
        )
    )


def stale_histogram(timestamp: int) -> bytes:
    """Return the `Histogram` message that marks the end of a native histogram."""
    return b"\x19" + STALE + b"\x78" + int64(timestamp)


def _buckets(spans_tag: bytes, deltas_tag: bytes, spans: list[tuple[int, int]], deltas: list[int]) -> Iterable[bytes]:
    for offset, length in spans:
        span = b"\x08" + _zigzag(offset) + b"\x10" + VARINTS[length]
        yield spans_tag + VARINTS[len(span)] + span
    if deltas:
        packed = b"".join(map(_zigzag, deltas))
        yield deltas_tag + VARINTS[len(packed)] + packed


def _zigzag(value: int) -> bytes:
    return VARINTS[value * 2 if value >= 0 else -value * 2 - 1]
