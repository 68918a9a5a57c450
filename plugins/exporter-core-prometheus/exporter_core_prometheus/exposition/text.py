"""The text formats: Prometheus' own, version 0.0.4, and OpenMetrics 1.0.

Lines of samples are the same in both, but for exemplars, so they are kept for both. What has not changed since the last
scrape is not made again.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics specification, version 1.0.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from decimal import Decimal
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any, Final

from exporter_core_prometheus.exposition.kept import kept_at
from exporter_core_prometheus.translation import Kind, cumulative_counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.sdk.metrics import Exemplar

    from exporter_core_prometheus.translation import Family, Group, LabelMaker, Labels, Series, Translation

_PLAIN_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_PLAIN_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_TYPES: Final = {
    Kind.COUNTER: "counter",
    Kind.GAUGE: "gauge",
    Kind.HISTOGRAM: "histogram",
    Kind.NATIVE_HISTOGRAM: "histogram",
    Kind.INFO: "gauge",
}
_HISTOGRAMS: Final = (Kind.HISTOGRAM, Kind.NATIVE_HISTOGRAM)
_SHORT_EXPONENTS: Final = range(-4, 6)  # of numbers that Go writes without an exponent


def encode_text(translation: Translation, label_maker: LabelMaker, *, openmetrics: bool) -> bytes:
    """Return a translation as text.

    Args:
        translation: the families.
        label_maker: makes the labels of exemplars.
        openmetrics: write OpenMetrics 1.0 instead of text 0.0.4.
    """
    parts: list[str] = []
    names = {family.name for family in translation.families}
    for family in translation.families:
        parts.append(_openmetrics_head(family, names) if openmetrics else _head(family))
        for group in family.groups:
            if openmetrics and (family.kind is Kind.COUNTER or family.kind in _HISTOGRAMS):
                parts.append(_with_exemplars(family, group, label_maker))
            else:
                parts.append(_lines(family, group))
    if openmetrics:
        parts.append("# EOF\n")
    return "".join(parts).encode()


# --- families ---------------------------------------------------------------------------------------------------------


def _head(family: Family) -> str:
    name = _metric_name(family.name)
    text = _escaped(family.help)
    about = f"# HELP {name} {text}\n" if text else ""
    return f"{about}# TYPE {name} {_TYPES[family.kind]}\n"


def _openmetrics_head(family: Family, names: set[str]) -> str:
    """Return the head of a family, which OpenMetrics calls without the suffix of its samples.

    A counter without that suffix, or whose shorter name is another family's, is of the type `unknown`: its name counts.
    """
    kind, suffix = _TYPES[family.kind], {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(family.kind, "")
    name = family.name
    if suffix:
        kind = "unknown"
        if name.endswith(suffix) and name != suffix and name.removesuffix(suffix) not in names:
            name, kind = name.removesuffix(suffix), family.kind.value
    shown = _metric_name(name)
    lines = [f"# TYPE {shown} {kind}\n"]
    if family.unit and name.endswith(f"_{family.unit}") and _PLAIN_NAME.fullmatch(family.unit):
        lines.append(f"# UNIT {shown} {family.unit}\n")
    if family.help:
        quoted = _escaped(family.help).replace('"', '\\"')
        lines.append(f"# HELP {shown} {quoted}\n")
    return "".join(lines)


# --- samples ----------------------------------------------------------------------------------------------------------


class _Lines:
    """The lines of some samples, as the last scrape had them.

    Attributes:
        parts: three for each line: what stands before the number, the number, the end of the line.
        values: what the numbers were made of.
        text: the parts, joined.
    """

    __slots__ = ("parts", "text", "values")

    def __init__(self, prefixes: list[str]) -> None:
        self.parts = [part for prefix in prefixes for part in (prefix, "", "\n")]
        self.values: list[Any] | None = None  # Any: numbers
        self.text = ""

    def renew(self, values: list[Any], numbers: list[Any]) -> None:
        """Write other numbers."""
        self.values = values
        self.parts[1::3] = _numbers(numbers)
        self.text = "".join(self.parts)


class _HistogramLines(_Lines):
    """The lines of one histogram, of these bounds, with or without a sum."""

    __slots__ = ("bounds", "has_sum")

    def __init__(self, name: str, labels: Labels, bounds: Sequence[float], *, has_sum: bool) -> None:
        self.bounds, self.has_sum = bounds, has_sum
        texts = [*map(_canonical, bounds), *(["+Inf"] if not bounds or isfinite(bounds[-1]) else [])]
        prefixes = [_prefix(f"{name}_bucket", (*labels, ("le", text))) for text in texts]
        suffixes = ("_sum", "_count") if has_sum else ("_count",)
        super().__init__([*prefixes, *(_prefix(name + suffix, labels) for suffix in suffixes)])


def _lines(family: Family, group: Group) -> str:
    if family.kind in _HISTOGRAMS:
        return "".join([_histogram(family.name, *pair) for pair in zip(group.series, group.points, strict=True)])
    kept = kept_at(group.set)
    lines: _Lines | None = kept.text
    if lines is None:
        lines = kept.text = _Lines([_series_prefix(family.name, series) for series in group.series])
    values = [point.value for point in group.points]
    if values != lines.values:
        lines.renew(values, values)
    return lines.text


def _series_prefix(name: str, series: Series) -> str:
    kept = kept_at(series)
    if kept.text is None:
        kept.text = _prefix(name, series.labels)
    return str(kept.text)


def _histogram(name: str, series: Series, point: Any) -> str:  # Any: a data point of a histogram, here and below
    lines = _histogram_lines(name, series, point)
    values = [*getattr(point, "bucket_counts", ()), point.sum, point.count]
    if values != lines.values:
        lines.renew(values, _histogram_values(point))
    return lines.text


def _histogram_lines(name: str, series: Series, point: Any) -> _HistogramLines:
    kept = kept_at(series)
    lines: _HistogramLines | None = kept.text
    bounds, has_sum = _bounds(point), point.sum is not None
    is_same = lines is not None and lines.has_sum is has_sum
    if lines is None or not is_same or (lines.bounds is not bounds and tuple(lines.bounds) != tuple(bounds)):
        lines = kept.text = _HistogramLines(name, series.labels, bounds, has_sum=has_sum)
    return lines


def _bounds(point: Any) -> Sequence[float]:
    """Return the bounds of the buckets; those of a native histogram only the protobuf format can hold."""
    bounds: Sequence[float] = getattr(point, "explicit_bounds", ())
    return bounds


def _histogram_values(point: Any) -> list[Any]:  # Any: numbers
    counts = cumulative_counts(point) if hasattr(point, "explicit_bounds") else [point.count]
    return [*counts, *([] if point.sum is None else [point.sum]), point.count]


def _with_exemplars(family: Family, group: Group, label_maker: LabelMaker) -> str:
    """Return the lines of counters or histograms; those of points that have exemplars are not kept."""
    if not any(point.exemplars for point in group.points):
        return _lines(family, group)
    parts: list[str] = []
    for series, point in zip(group.series, group.points, strict=True):
        lines: _Lines
        if family.kind is Kind.COUNTER:
            marks = {0: max(point.exemplars, key=_time)} if point.exemplars else {}
            lines, values = _Lines([_series_prefix(family.name, series)]), [point.value]
        else:
            bounds = _bounds(point)
            marks = {bisect_left(bounds, one.value): one for one in sorted(point.exemplars, key=_time)}
            lines, values = _histogram_lines(family.name, series, point), _histogram_values(point)
        marked = lines.parts.copy()
        marked[1::3] = _numbers(values)
        for place, mark in marks.items():
            marked[3 * place + 1] += _exemplar(mark, label_maker)
        parts += marked
    return "".join(parts)


def _time(exemplar: Exemplar) -> int:
    return exemplar.time_unix_nano


def _exemplar(exemplar: Exemplar, label_maker: LabelMaker) -> str:
    labels = ",".join([f'{name}="{_escaped_value(value)}"' for name, value in label_maker.exemplar(exemplar)])
    return f" # {{{labels}}} {_number(exemplar.value)} {exemplar.time_unix_nano / 1e9:.3f}"


# --- names, labels and numbers ----------------------------------------------------------------------------------------


def _prefix(name: str, labels: Labels) -> str:
    """Return the line of a sample up to its value. A name of other than the classic characters stands in the braces."""
    pairs = [f'{_label_name(label)}="{_escaped_value(value)}"' for label, value in labels]
    if not _PLAIN_NAME.fullmatch(name):
        return f"{{{','.join([_quoted(name), *pairs])}}} "
    return f"{name}{{{','.join(pairs)}}} " if pairs else f"{name} "


def _metric_name(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else _quoted(name)


def _label_name(name: str) -> str:
    return name if _PLAIN_LABEL.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    return f'"{_escaped_value(text)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _escaped_value(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


def _numbers(values: list[Any]) -> Iterable[str]:  # Any: numbers
    """Return numbers as text; quickly if all are finite."""
    if _NUMBERS.issuperset(map(type, values)):
        try:
            if isfinite(sum(values)):
                return map(repr, values)
        except OverflowError:
            pass  # an integer beyond the range of floats
    return map(_number, values)


_NUMBERS: Final = frozenset({int, float})


def _number(value: float) -> str:
    """Return a number as text: `NaN`, `+Inf` and `-Inf` as Prometheus spells them."""
    try:
        number = float(value)
    except OverflowError:
        number = float("inf") if value > 0 else float("-inf")
    if isfinite(number):
        return repr(value if type(value) is int else number)
    return "NaN" if isnan(number) else "+Inf" if number > 0 else "-Inf"


def _canonical(bound: float) -> str:
    """Return a bound as OpenMetrics wants it in `le`, and as Prometheus writes it for protobuf: 1.0, 1e+06, +Inf."""
    number = float(bound)
    if not isfinite(number):
        return _number(number)
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - for the type checker; a finite number has one
    scale = exponent + len(digits) - 1
    if number == 0 or scale in _SHORT_EXPONENTS:
        return repr(number) if "e" not in repr(number) else f"{number:.{-exponent}f}"
    fraction = "".join(map(str, digits[1:]))
    return f"{'-' * sign}{digits[0]}{'.' * bool(fraction)}{fraction}e{scale:+03d}"
