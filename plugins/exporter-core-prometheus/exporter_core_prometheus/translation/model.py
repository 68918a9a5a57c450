"""The result of a translation: families of series, beside the SDK's own data points."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Labels = tuple[tuple[str, str], ...]
"""Names and values of labels, sorted by name, without `__name__`; no value is empty."""


class Kind(StrEnum):
    """Prometheus' types of metrics."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    NATIVE_HISTOGRAM = "native_histogram"
    INFO = "info"


HISTOGRAMS: Final = (Kind.HISTOGRAM, Kind.NATIVE_HISTOGRAM)


def float_of(value: float) -> float:
    """Return a number as a float; an integer beyond their range becomes infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


class TranslationError(ValueError):
    """A metric has no form in Prometheus; the text says why."""


class Series:
    """One series: the same object for as long as each translation has it.

    Attributes:
        labels: its labels.
        text, protobuf, written: what the encoders of the text formats, of the protobuf format and of remote write have
            made of it; None at first. The encoders' own.
    """

    __slots__ = ("attributes", "held", "labels", "protobuf", "text", "written")

    def __init__(self, labels: Labels, attributes: Mapping[str, Any]) -> None:
        self.labels: Labels = labels
        self.text: Any = None  # Any: the encoders' own, here and below
        self.protobuf: Any = None
        self.written: Any = None
        self.attributes: Mapping[str, Any] = attributes  # of the points, which are recognised by it
        self.held: tuple[tuple[str, ...], tuple[Any, ...]] | None = None  # its keys and values, if they may change


class SeriesSet:
    """The series of one metric: the same object for as long as they are the same series in the same order.

    It always is that of a family of the same name, kind, unit and help.

    Attributes:
        series: one for each point.
    """

    __slots__ = ("attributes", "places", "series")

    def __init__(self, series: list[Series], attributes: list[Mapping[str, Any]]) -> None:
        self.series: list[Series] = series
        self.attributes: list[Mapping[str, Any]] = attributes  # of all points, also of those that have no series
        self.places: list[int] | None = None  # of the points that have a series; None if all have


@dataclass(slots=True)
class Group:
    """The series of one OpenTelemetry metric, and its data points, which are the SDK's own objects.

    The points are `NumberDataPoint` of counters and gauges, `HistogramDataPoint` of histograms,
    `ExponentialHistogramDataPoint` of native histograms. The group of a family of the kind `info` has one point with
    the value 1.
    """

    set: SeriesSet
    points: Sequence[Any]

    @property
    def series(self) -> list[Series]:
        """The series, one for each point."""
        return self.set.series


@dataclass(slots=True)
class Family:
    """All series of one name.

    Attributes:
        name: the name: a counter's ends in `_total` where the strategy adds suffixes; histograms have it without
            `_bucket`, `_sum` and `_count`; that of the resource is `target_info`.
        kind: the type.
        unit: the unit in words, such as `seconds`; empty for none.
        help: the description.
        groups: one for each OpenTelemetry metric: several where scopes or resources have metrics of one name.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    groups: list[Group] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Problem:
    """Points that have no form in Prometheus: their metric's name as OpenTelemetry has it, how many, and why."""

    metric: str
    points: int
    reason: str


@dataclass(frozen=True, slots=True)
class GoneSeries:
    """Series that the last translation had and this one has not."""

    name: str
    kind: Kind
    series: list[Series]


@dataclass(slots=True)
class Translation:
    """Metrics data as Prometheus has it.

    Attributes:
        families: in the order in which the data has them; `target_info` last.
        problems: what is missing in them, and why.
        gone: the series that have disappeared since the last translation.
    """

    families: list[Family] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    gone: list[GoneSeries] = field(default_factory=list)
