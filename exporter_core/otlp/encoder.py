"""Metrics data to OTLP requests, again and again, with a cache of what stays the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter_core.otlp.few import FewPoints, has_few_points
from exporter_core.otlp.kept import NOT_ALIKE, Kept
from exporter_core.otlp.planning import DroppedPoint, Plan
from exporter_core.otlp.protobuf import Protobuf
from exporter_core.otlp.request import Cutter, Layout
from exporter_core.otlp.trust import is_trusted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.otlp.formats import Format
    from exporter_core.otlp.request import Numbers


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded request.

    Attributes:
        data: the bytes of an `ExportMetricsServiceRequest`.
        points: the number of data points inside.
        dropped: the points that the format cannot hold.
        omitted: resource and scope attributes that it cannot hold, a line each; their points were sent.
    """

    data: bytes
    points: int
    dropped: tuple[DroppedPoint, ...] = ()
    omitted: tuple[str, ...] = ()


class Requests:
    """Metrics as requests within limits. Each is written when the iteration comes to it.

    Attributes:
        points: the number of data points in all of them.
        dropped: the points that the format cannot hold, or that even alone make a request too long.
        omitted: resource and scope attributes that the format cannot hold, a line each; their points are sent.
    """

    def __init__(
        self,
        layouts: Sequence[Layout | FewPoints],
        numbers: Sequence[Numbers],
        dropped: Sequence[DroppedPoint],
        omitted: Sequence[str],
    ) -> None:
        self._layouts, self._numbers = layouts, numbers
        self.points = sum(layout.points for layout in layouts)
        self.dropped = tuple(dropped)
        self.omitted = tuple(omitted)

    def __len__(self) -> int:
        return len(self._layouts)

    def __iter__(self) -> Iterator[Encoded]:
        """Each request; what was dropped or omitted stands with the whole."""
        for layout in self._layouts:
            yield Encoded(layout.write(self._numbers), layout.points)


class Encoder:
    """Encodes metrics to protobuf again and again; what it encoded last time is reused where the data is unchanged.

    Safe to use from many threads at once. A series that an export does not contain is forgotten with it; where most
    series were new, all but the first of each metric are, as those of the next export mostly are new again.

    Args:
        trusted: recognise an attribute mapping by identity, and trust that it has not changed, as those of the SDK
            never do. The default compares keys and values at every export, but for batches that carry the mark of
            `mark_trusted`.
        max_series: of how many series the attributes are kept.
    """

    _format: Callable[[], Format] = Protobuf

    def __init__(self, *, trusted: bool = False, max_series: int = 100_000) -> None:
        self._trusted = trusted
        self._max_series = max_series
        self._form = self._format()
        # Replaced as a whole by every encoding, never changed: threads need no lock, and what one export does not
        # contain is gone.
        self._kept = Kept()

    @property
    def cached_series(self) -> int:
        """The number of series whose attributes are kept."""
        return len(self._kept.sources)

    def encode(self, metrics: MetricsData) -> Encoded:
        """Metrics as one request, and what the format could not hold."""
        plan = self._plan(metrics)
        data = plan.layout.write(plan.numbers)
        return Encoded(data, plan.layout.points, tuple(plan.dropped), tuple(plan.omitted))

    def split(self, metrics: MetricsData, *, max_points: int | None = None, max_bytes: int | None = None) -> Requests:
        """Metrics as requests within limits, each with at least one data point; nothing is encoded twice.

        Resource, scope and metric are repeated in every request that has points of them.

        Args:
            metrics: the data.
            max_points: the most data points of one request.
            max_bytes: the most bytes of one request, not compressed. A point that even alone makes a longer one is
                dropped.

        Raises:
            ValueError: when a limit is below 1.
        """
        for name, limit in (("max_points", max_points), ("max_bytes", max_bytes)):
            if limit is not None and limit < 1:
                raise ValueError(f"{name} is at least 1, not {limit}")
        plan = self._plan(metrics)
        whole, numbers = plan.layout, plan.numbers
        if not whole.points:
            return Requests([], numbers, plan.dropped, plan.omitted)
        size = whole.size(numbers)
        if whole.points <= (max_points or whole.points) and size <= (max_bytes or size):
            return Requests([whole], numbers, plan.dropped, plan.omitted)
        if isinstance(plan, FewPoints):
            plan = self._plan_in_full(metrics)
            numbers = plan.numbers
        frame, separator = self._form.request, self._form.separator
        cutter = Cutter(frame, plan.request(), plan.names, separator, numbers, max_points, max_bytes)
        for name, size in cutter.dropped:
            reason = f"a point of {size} bytes does not fit a request of at most {max_bytes} bytes"
            plan.dropped.append(DroppedPoint(name, reason))
        layouts = [Layout(frame, request, separator) for request in cutter.requests]
        return Requests(layouts, numbers, plan.dropped, plan.omitted)

    def _plan(self, metrics: MetricsData) -> Plan | FewPoints:
        if has_few_points(metrics, self._kept, self._max_series):
            try:
                few = FewPoints(metrics, self._form, self._kept, trusted=self._trusted or is_trusted(metrics))
            except NOT_ALIKE:
                pass  # a plan leaves out what has no place in the format
            else:
                self._kept = few.kept
                return few
        return self._plan_in_full(metrics)

    def _plan_in_full(self, metrics: MetricsData) -> Plan:
        trusted = self._trusted or is_trusted(metrics)
        plan = Plan(metrics, self._form, self._kept, trusted=trusted, room=self._max_series)
        self._kept = plan.kept
        return plan


class JsonEncoder(Encoder):
    """An `Encoder` of OTLP JSON (UTF-8)."""

    @staticmethod
    def _format() -> Format:
        from exporter_core.otlp.json_format import Json  # noqa: PLC0415 - a third of the codec, which few need

        return Json()


def encode(metrics: MetricsData) -> bytes:
    """Metrics as a serialized `ExportMetricsServiceRequest`. What the format cannot hold is left out.

    Use an `Encoder` to encode more than once, and to learn what was left out.
    """
    return Encoder().encode(metrics).data


def encode_json(metrics: MetricsData) -> bytes:
    """Metrics as an `ExportMetricsServiceRequest` in OTLP JSON, UTF-8. What the format cannot hold is left out.

    Use a `JsonEncoder` to encode more than once, and to learn what was left out.
    """
    return JsonEncoder().encode(metrics).data
