"""The fields that all points of a metric have in common, so that their numbers can be written at once.

Knows neither encoding: each has its own subclasses, which write.
"""

from collections.abc import Callable, Sequence
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
    """Points of histograms of as many buckets, with or without a bound of zero, times, sum, min and max."""

    def __init__(self, buckets: int, bounds: int, zero: bool, *present: bool) -> None:
        self.buckets, self.bounds, self.zero = buckets, bounds, zero
        self.start, self.time, *self.doubles = present

    @staticmethod
    def of(point: HistogramDataPoint) -> tuple[int, ...]:
        """The arguments that make the shape of a point."""
        fields = (point.start_time_unix_nano, point.time_unix_nano, point.sum, point.min, point.max)
        bounds = point.explicit_bounds
        return len(point.bucket_counts), len(bounds), 0 in bounds, *[value is not None for value in fields]

    def constants(self, points: Sequence[HistogramDataPoint]) -> Sequence[object]:
        """The bounds, if they are tuples of numbers.

        Raises:
            TypeError: when they are not.
        """
        bounds: list[Any] = [point.explicit_bounds for point in points]
        different = set(bounds)
        if set(map(type, bounds)) != {tuple} or not _NUMBERS.issuperset(map(type, chain(*different))):
            raise TypeError("bounds can change in place")
        if {(len(one), 0 in one) for one in different} != {(self.bounds, self.zero)}:
            raise TypeError("points differ in shape")
        return bounds

    def unchanged(self, points: Sequence[HistogramDataPoint], constants: Sequence[Any]) -> bool:
        """True if the bounds are these, or tuples of the same numbers."""
        bounds = [point.explicit_bounds for point in points]
        if all(map(is_, bounds, constants)):
            return True
        if list(map(type, bounds)).count(tuple) != len(bounds):
            return False
        if self.zero:  # equal numbers are written alike, but for 0.0 and -0.0
            return set(map(len, bounds)) == {self.bounds} and all(
                map(is_, chain.from_iterable(bounds), chain.from_iterable(constants))
            )
        return bounds == constants

    def written(self, constants: Sequence[Any], write: Callable[[Any], bytes]) -> list[bytes]:
        """The encoded bounds of each point.

        Args:
            constants: the bounds: the SDK hands one tuple to many series, or an equal one to each.
            write: encodes bounds; called once for all that are written alike.
        """
        different = {id(bounds): bounds for bounds in constants}
        if len(different) == 1:
            return [write(constants[0])] * len(constants)
        if self.zero:
            encoded = {number: write(bounds) for number, bounds in different.items()}
        else:
            known = {bounds: write(bounds) for bounds in set(different.values())}
            encoded = {number: known[bounds] for number, bounds in different.items()}
        return [encoded[id(bounds)] for bounds in constants]
