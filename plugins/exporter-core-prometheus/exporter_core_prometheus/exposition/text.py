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
from operator import add
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
            if openmetrics and family.kind in (Kind.COUNTER, Kind.HISTOGRAM):
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
    """The lines of some samples: the parts before the values, the values of the last scrape, and the whole then."""

    __slots__ = ("prefixes", "text", "values")

    def __init__(self, prefixes: list[str]) -> None:
        self.prefixes = prefixes
        self.values: Any = None
        self.text = ""


class _HistogramLines(_Lines):
    """The lines of one histogram; the values are its count and sum, with which all others change."""

    __slots__ = ("bounds",)

    def __init__(self, name: str, labels: Labels, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        texts = [*map(_canonical, bounds), *(["+Inf"] if not bounds or isfinite(bounds[-1]) else [])]
        buckets = [_prefix(f"{name}_bucket", (*labels, ("le", text))) for text in texts]
        super().__init__([*buckets, _prefix(f"{name}_sum", labels), _prefix(f"{name}_count", labels)])


def _lines(family: Family, group: Group) -> str:
    if family.kind is Kind.HISTOGRAM:
        return "".join([_histogram(family.name, *pair) for pair in zip(group.series, group.points, strict=True)])
    if family.kind is Kind.NATIVE_HISTOGRAM:
        return "".join([_native(family.name, *pair) for pair in zip(group.series, group.points, strict=True)])
    kept = kept_at(group.set)
    lines: _Lines | None = kept.text
    if lines is None:
        lines = kept.text = _Lines([_series_prefix(family.name, series) for series in group.series])
    values = [point.value for point in group.points]
    if values != lines.values:
        lines.values = values
        lines.text = "\n".join(map(add, lines.prefixes, _numbers(values))) + "\n"
    return lines.text


def _series_prefix(name: str, series: Series) -> str:
    kept = kept_at(series)
    if kept.text is None:
        kept.text = _prefix(name, series.labels)
    return str(kept.text)


def _histogram(name: str, series: Series, point: Any) -> str:  # Any: a HistogramDataPoint
    lines = _histogram_lines(name, series, point)
    values = (point.count, point.sum)
    if values != lines.values:
        lines.values = values
        lines.text = "\n".join(map(add, _shown_prefixes(lines, point), _numbers(_bucket_values(point)))) + "\n"
    return lines.text


def _histogram_lines(name: str, series: Series, point: Any) -> _HistogramLines:  # Any: as above
    kept = kept_at(series)
    lines: _HistogramLines | None = kept.text
    bounds = point.explicit_bounds
    if lines is None or (lines.bounds is not bounds and tuple(lines.bounds) != tuple(bounds)):
        lines = kept.text = _HistogramLines(name, series.labels, bounds)
    return lines


def _shown_prefixes(lines: _Lines, point: Any) -> list[str]:  # Any: as above
    return lines.prefixes if point.sum is not None else [*lines.prefixes[:-2], lines.prefixes[-1]]


def _bucket_values(point: Any) -> list[Any]:  # Any: as above
    return [*cumulative_counts(point), *([] if point.sum is None else [point.sum]), point.count]


def _native(name: str, series: Series, point: Any) -> str:  # Any: an ExponentialHistogramDataPoint
    """Return the lines of a native histogram, whose buckets only the protobuf format can hold."""
    kept = kept_at(series)
    if kept.text is None:
        bucket = _prefix(f"{name}_bucket", (*series.labels, ("le", "+Inf")))
        kept.text = [bucket, _prefix(f"{name}_sum", series.labels), _prefix(f"{name}_count", series.labels)]
    bucket, total, count = kept.text
    values = _numbers([point.count, point.sum if point.sum is not None else 0, point.count])
    shown = [bucket, total, count] if point.sum is not None else [bucket, "", count]
    return "".join([f"{prefix}{value}\n" for prefix, value in zip(shown, values, strict=True) if prefix])


def _with_exemplars(family: Family, group: Group, label_maker: LabelMaker) -> str:
    """Return the lines of counters or histograms; those of points that have exemplars are not kept."""
    if not any(point.exemplars for point in group.points):
        return _lines(family, group)
    lines: list[str] = []
    for series, point in zip(group.series, group.points, strict=True):
        if family.kind is Kind.COUNTER:
            marks = {0: max(point.exemplars, key=_time)} if point.exemplars else {}
            prefixes, values = [_series_prefix(family.name, series)], [point.value]
        else:
            bounds = point.explicit_bounds
            marks = {bisect_left(bounds, one.value): one for one in sorted(point.exemplars, key=_time)}
            of_series = _histogram_lines(family.name, series, point)
            prefixes, values = _shown_prefixes(of_series, point), _bucket_values(point)
        for place, (prefix, number) in enumerate(zip(prefixes, _numbers(values), strict=True)):
            mark = marks.get(place)
            lines.append(f"{prefix}{number}{_exemplar(mark, label_maker) if mark is not None else ''}\n")
    return "".join(lines)


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
