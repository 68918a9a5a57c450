"""Numbers, attributes, times and bucket counts as short text for people.

Text from outside cannot act on the terminal: control characters appear as escapes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from exporter_core.authoring import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint
    from opentelemetry.util.types import AnyValue, Attributes

_SIGNIFICANT_DIGITS = 6
_TINY = 1e-4
_HUGE = 1e15
_VAST = 10**4000  # Python refuses to write integers much longer than that in the decimal system

_BLOCKS = "·▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = ".:-=+*#%@"
_SPARKLINE_COLUMNS = 20


def has_decimal_text(value: int) -> bool:
    """Return True if Python writes the integer in the decimal system."""
    return abs(value) < _VAST


def number_text(value: object) -> str:
    """An integer in full, a float to six significant digits, with separators; very large and small ones as 1.5e-09."""
    if isinstance(value, int):
        return f"{value:,}" if has_decimal_text(value) else hex(value)
    if not isinstance(value, float):
        return printable(str(value))
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    size = abs(value)
    if size >= _HUGE or 0 < size < _TINY:
        return f"{value:.{_SIGNIFICANT_DIGITS}g}"
    if value.is_integer():
        return f"{value:,.0f}"
    before_the_point = math.floor(math.log10(size)) + 1  # negative: zeros after the point
    text = f"{value:,.{max(0, _SIGNIFICANT_DIGITS - before_the_point)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def attributes_text(attributes: Attributes) -> str:
    """``key=value`` pairs with a space between; a value that could be misread stands in quotes."""
    return " ".join(f"{printable(str(key))}={_value_text(value)}" for key, value in (attributes or {}).items())


def _value_text(value: AnyValue) -> str:
    if isinstance(value, str):
        plain = value and value.isprintable() and not any(character in value for character in " =\"',[]{}")
        return value if plain else '"' + printable(value).replace('"', '\\"') + '"'
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, bytes | bytearray):
        return "0x" + value.hex()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{printable(str(key))}: {_value_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value_text(item) for item in value) + "]"
    return printable(str(value))


def clock_text(unix_nano: int) -> str:
    """A time to the second, UTC; empty for one that is missing."""
    if not 0 < unix_nano < 1 << 64:
        return ""
    return f"{datetime.fromtimestamp(unix_nano // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def sparkline(counts: Sequence[int], *, unicode: bool = True) -> str:
    """The buckets from the first to the last that has something in it, at most 20 columns; empty when none has."""
    used = [position for position, count in enumerate(counts) if count > 0]
    if not used:
        return ""
    occupied = counts[used[0] : used[-1] + 1]
    buckets_a_column = math.ceil(len(occupied) / _SPARKLINE_COLUMNS)
    columns = [sum(occupied[at : at + buckets_a_column]) for at in range(0, len(occupied), buckets_a_column)]
    levels = _BLOCKS if unicode else _ASCII_BLOCKS
    # Ceiling division: only an empty bucket gets the lowest character.
    return "".join(levels[-(-count * (len(levels) - 1) // max(columns))] for count in columns)


def exponential_counts(point: ExponentialHistogramDataPoint) -> list[int]:
    """The counts of an exponential histogram's buckets from the lowest values to the highest."""
    negative = list(reversed(point.negative.bucket_counts))
    positive = list(point.positive.bucket_counts)
    between = [point.zero_count] if point.zero_count or any(negative) else []
    return [*negative, *between, *positive]
