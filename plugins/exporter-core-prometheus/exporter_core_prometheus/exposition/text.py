"""The text formats: Prometheus' own, version 0.0.4, and OpenMetrics 1.0.

What stands before the number of a sample is the same in both, and kept at its series from one scrape to the next.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics specification, version 1.0.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any, Final

from exporter_core_prometheus.translation import HISTOGRAMS, Kind, cumulative_counts, float_of, scraped_exemplars

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
_SAMPLES: Final = ("_bucket", "_count", "_sum")
_SHORT_EXPONENTS: Final = range(-4, 6)  # of numbers that Go writes without an exponent


def encode_text(translation: Translation, label_maker: LabelMaker, *, openmetrics: bool) -> tuple[bytes, list[str]]:
    """Return a translation as text, and what has no form in it.

    Args:
        translation: the families.
        label_maker: makes the labels of exemplars.
        openmetrics: write OpenMetrics 1.0 instead of text 0.0.4.
    """
    body = io.BytesIO()  # no copy of it all as a string
    problems: list[str] = []
    names = {family.name for family in translation.families}
    names.update(f"{one.name}{end}" for one in translation.families if one.kind in HISTOGRAMS for end in _SAMPLES)
    for family in translation.families:
        body.write((_openmetrics_head(family, names) if openmetrics else _head(family)).encode())
        for group in family.groups:
            has_exemplars = openmetrics and (family.kind is Kind.COUNTER or family.kind in HISTOGRAMS)
            try:
                lines = _with_exemplars(family, group, label_maker) if has_exemplars else _lines(family, group)
                body.write(lines.encode())
            except (TypeError, ValueError) as error:  # of a value that is no number
                problems.append(f"{family.name}: {error}")
    if openmetrics:
        body.write(b"# EOF\n")
    return body.getvalue(), problems


# --- families ---------------------------------------------------------------------------------------------------------


def _head(family: Family) -> str:
    name = _metric_name(family.name)
    text = _escaped(family.help)
    about = f"# HELP {name} {text}\n" if text else ""
    return f"{about}# TYPE {name} {_TYPES[family.kind]}\n"


def _openmetrics_head(family: Family, names: set[str]) -> str:
    """Return the head of a family, which OpenMetrics calls without the suffix of its samples.

    A counter without that suffix, or whose shorter name is taken, is of the type `unknown`: its name counts.
    """
    kind, suffix = _TYPES[family.kind], {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(family.kind, "")
    name = family.name
    if suffix:
        kind = "unknown"
        if name.endswith(suffix) and name != suffix and name.removesuffix(suffix) not in names:
            name, kind = name.removesuffix(suffix), family.kind.value
            names.add(name)
    shown = _metric_name(name)
    lines = [f"# TYPE {shown} {kind}\n"]
    if family.unit and name.endswith(f"_{family.unit}") and _PLAIN_NAME.fullmatch(family.unit):
        lines.append(f"# UNIT {shown} {family.unit}\n")
    if family.help:
        quoted = _escaped(family.help).replace('"', '\\"')
        lines.append(f"# HELP {shown} {quoted}\n")
    return "".join(lines)


# --- samples ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _HistogramPrefixes:
    """The prefixes of one histogram's lines, of these bounds, with or without a sum."""

    bounds: Sequence[float]
    has_sum: bool
    prefixes: list[str]


def _lines(family: Family, group: Group) -> str:
    points = group.points
    if family.kind in HISTOGRAMS:
        pairs = zip(group.series, points, strict=True)
        return "".join([_joined(_prefixes(family, *pair), _numbers(_values(family, pair[1]))) for pair in pairs])
    prefixes = [series.text for series in group.series]
    if not all(prefixes):
        prefixes = [_prefixes(family, *pair)[0] for pair in zip(group.series, points, strict=True)]
    return _joined(prefixes, _numbers([point.value for point in points]))


def _joined(prefixes: list[str], numbers: Iterable[str]) -> str:
    parts = ["\n"] * (3 * len(prefixes))
    parts[0::3] = prefixes
    parts[1::3] = numbers
    return "".join(parts)


def _prefixes(family: Family, series: Series, point: Any) -> list[str]:  # Any: a data point, here and below
    """Return what stands before the numbers of a series, as the last scrape left it if it was there."""
    if family.kind in HISTOGRAMS:
        return _histogram_prefixes(family, series, point)
    kept: str | None = series.text
    if kept is None:
        kept = series.text = _prefix(family.name, series.labels)
    return [kept]


def _histogram_prefixes(family: Family, series: Series, point: Any) -> list[str]:
    kept: _HistogramPrefixes | None = series.text
    bounds, has_sum, name = _bounds(family, point), point.sum is not None, family.name
    if kept is not None and kept.has_sum is has_sum and (kept.bounds is bounds or tuple(kept.bounds) == tuple(bounds)):
        return kept.prefixes
    texts = [*map(_canonical, bounds), *(["+Inf"] if not bounds or isfinite(bounds[-1]) else [])]
    prefixes = [_prefix(f"{name}_bucket", (*series.labels, ("le", text))) for text in texts]
    suffixes = ("_sum", "_count") if has_sum else ("_count",)
    prefixes += [_prefix(name + suffix, series.labels) for suffix in suffixes]
    series.text = _HistogramPrefixes(bounds, has_sum, prefixes)
    return prefixes


def _bounds(family: Family, point: Any) -> Sequence[float]:
    """Return the bounds of the buckets; those of a native histogram only the protobuf format can hold."""
    bounds: Sequence[float] = point.explicit_bounds if family.kind is Kind.HISTOGRAM else ()
    return bounds


def _values(family: Family, point: Any) -> list[Any]:  # Any: numbers, too
    """Return the numbers of a series."""
    if family.kind not in HISTOGRAMS:
        return [point.value]
    counts = cumulative_counts(point) if family.kind is Kind.HISTOGRAM else [point.count]
    return [*counts, *([] if point.sum is None else [point.sum]), point.count]


def _with_exemplars(family: Family, group: Group, label_maker: LabelMaker) -> str:
    """Return the lines of counters or histograms."""
    if not any(point.exemplars for point in group.points):
        return _lines(family, group)
    texts: list[str] = []
    for series, point in zip(group.series, group.points, strict=True):
        numbers = list(_numbers(_values(family, point)))
        for place, exemplar in scraped_exemplars(family.kind, point).items():
            numbers[place] += _exemplar(exemplar, label_maker)
        texts.append(_joined(_prefixes(family, series, point), numbers))
    return "".join(texts)


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
    number = float_of(value)
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
