"""The fields that all points of a metric have in common, so that their numbers can be written at once.

Knows neither encoding: each has its own subclasses, which write.
"""

from collections.abc import Sequence
from itertools import chain
from operator import is_
from typing import Any

from opentelemetry.sdk.metrics.export import HistogramDataPoint, NumberDataPoint

from exporter_core.otlp.request import Numbers

_NUMBERS = {int, float}


class Shape:
    """The form that the points of a metric share.

    Attributes:
        length: the bytes of each point's numbers, if frames have to count them; else 0.
    """

    length = 0

    def constants(self, points: Sequence[Any]) -> Sequence[object]:
        """The constants of the points besides their attributes: one object a point, or nothing at all.

        Raises:
            TypeError: when one can change in place.
        """
        del points
        return ()

    def unchanged(self, points: Sequence[Any], constants: Sequence[Any]) -> bool:
        """True if these are the constants of the points."""
        del points, constants
        return True

    def beginnings(self, bodies: list[bytes], constants: Sequence[Any]) -> list[bytes]:
        """The constant pieces of points.

        Args:
            bodies: the attributes of each.
            constants: what else stays the same, one object a point or nothing at all, of the shape's own type.
        """
        raise NotImplementedError

    def with_exemplars(self, pieces: list[bytes], exemplars: list[bytes]) -> list[bytes]:
        """The constant pieces of points with the encoded exemplars of each; empty for a point that has none."""
        raise NotImplementedError

    def numbers(self, points: Sequence[Any]) -> Numbers:
        """The numbers of the points.

        Raises:
            ValueError, KeyError, OverflowError, TypeError, AttributeError, struct.error: when a point has other fields,
                or a number does not fit.
        """
        raise NotImplementedError


class NumberShape(Shape):
    """Points of sums and gauges, with or without their times."""

    def __init__(self, *present: bool) -> None:
        self.start, self.time = present

    @staticmethod
    def of(point: NumberDataPoint) -> tuple[bool, ...]:
        """The arguments that make the shape of a point."""
        return point.start_time_unix_nano is not None, point.time_unix_nano is not None


class HistogramShape(Shape):
    """Points of histograms of as many buckets, with or without times, sum, min and max."""

    def __init__(self, buckets: int, bounds: int, *present: bool) -> None:
        self.buckets, self.bounds = buckets, bounds
        self.start, self.time, *self.doubles = present

    @staticmethod
    def of(point: HistogramDataPoint) -> tuple[int, ...]:
        """The arguments that make the shape of a point."""
        fields = (point.start_time_unix_nano, point.time_unix_nano, point.sum, point.min, point.max)
        return len(point.bucket_counts), len(point.explicit_bounds), *[value is not None for value in fields]

    def constants(self, points: Sequence[HistogramDataPoint]) -> Sequence[object]:
        """The bounds, if they are tuples of numbers.

        Raises:
            TypeError: when they are not.
        """
        bounds = [point.explicit_bounds for point in points]
        # From a list of boundaries the SDK makes an equal tuple for each series: one of them stands for all.
        different: dict[Any, Any] = {one: one for one in bounds}
        if set(map(type, different)) != {tuple} or not _NUMBERS.issuperset(map(type, chain(*different))):
            raise TypeError("bounds can change in place")
        if set(map(len, different)) != {self.bounds}:
            raise TypeError("points differ in shape")
        return bounds if any(map(_has_zero, different)) else [different[one] for one in bounds]

    def unchanged(self, points: Sequence[HistogramDataPoint], constants: Sequence[Any]) -> bool:
        """True if the bounds are these, or tuples of the same numbers."""
        bounds = [point.explicit_bounds for point in points]
        if all(map(is_, bounds, constants)):
            return True
        if list(map(type, bounds)).count(tuple) != len(bounds):
            return False
        first = constants[0]
        different: Sequence[Any] = constants[:1] if constants.count(first) == len(constants) else constants
        if any(map(_has_zero, different)):
            return list(map(len, bounds)) == list(map(len, constants)) and all(
                map(is_, chain.from_iterable(bounds), chain.from_iterable(constants))
            )
        return bounds == constants


def _has_zero(bounds: tuple[float, ...]) -> bool:
    """True if bounds have a zero: equal numbers are written alike, but for 0.0 and -0.0."""
    return 0 in bounds
