"""Requests of few data points, written point by point: building a layout for them costs more than it saves."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from exporter_core.otlp.attributes import are_same, items_of
from exporter_core.otlp.kept import Kept
from exporter_core.otlp.surroundings import surroundings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.sdk.metrics.export import Metric, MetricsData

    from exporter_core.otlp.attributes import AttributeWriter
    from exporter_core.otlp.formats import Format
    from exporter_core.otlp.request import Frame, Numbers

FEW = 16
"""The most metrics and the most points that are few."""


class FewPoints:
    """Metrics of few points as a whole request: the plan of an encoding, its layout, and what is written.

    Args:
        metrics: the data.
        form: the encoding.
        old: what the last encoding left.
        trusted: take an identical attribute mapping to be unchanged.

    Attributes:
        kept: what is left for the next encoding.
        points: the number of data points.
        omitted: resource and scope attributes that the format cannot hold, a line each.

    Raises:
        ValueError, KeyError, OverflowError, TypeError, AttributeError, struct.error: when something in a metric or a
            point has no place in the format.
    """

    numbers: Sequence[Numbers] = ()
    dropped: tuple[()] = ()

    def __init__(self, metrics: MetricsData, form: Format, old: Kept, *, trusted: bool) -> None:
        self._form = form
        self._known, self._trusted = old.few, trusted
        surroundings = surroundings_of(metrics, form, old.surroundings, trusted=trusted)
        self.omitted = surroundings.omitted
        self.kept = Kept(surroundings=surroundings)
        written = iter([self._metric(metric) for metric in _metrics(metrics)])
        scopes = iter([self._framed(each.frame, islice(written, each.count)) for each in surroundings.scopes])
        resources = [self._framed(each.frame, islice(scopes, each.count)) for each in surroundings.resources]
        self._data = self._framed(form.request, resources)
        self.points = len(self.kept.sources)

    @property
    def layout(self) -> FewPoints:
        """The request."""
        return self

    def size(self, _numbers: Sequence[Numbers]) -> int:
        """The bytes of the request."""
        return len(self._data)

    def write(self, _numbers: Sequence[Numbers]) -> bytes:
        """The request."""
        return self._data

    def _framed(self, frame: Frame, siblings: Iterable[bytes]) -> bytes:
        content = self._form.separator.join(siblings)
        return frame.opening(len(content)) + content + frame.closing

    def _metric(self, metric: Metric) -> bytes:
        form, data = self._form, metric.data
        kind = form.kinds[type(data)]
        settings = getattr(data, "aggregation_temporality", None), getattr(data, "is_monotonic", None)
        said = metric.name, metric.description, metric.unit, type(data), *settings
        frame = self._known.frames.get(said) or form.metric(metric)
        self.kept.few.frames[said] = frame
        points = [
            form.point(self._attributes(kind.attributes, point.attributes), kind.rest(point, form.exemplar_attributes))
            for point in data.data_points
        ]
        content = b"".join(points)[len(form.separator) :]
        return frame.opening(len(content)) + content + frame.closing

    def _attributes(self, writer: AttributeWriter, source: Any) -> bytes:  # a mapping, or what stands in its place
        key = writer, id(source)
        known = self._known.bodies.get(key)
        if known is None or not (self._trusted or are_same(source, known[0])):
            copy = items_of(source)
            known = copy, writer.of(copy)
        self.kept.sources.append(source)
        self.kept.few.bodies[key] = known
        return known[1]


def has_few_points(metrics: MetricsData, most: int) -> bool:
    """True if there are no more metrics and points than `FEW`, nor more points than `most`."""
    found: list[Metric] = []
    for resource in metrics.resource_metrics:
        for scope in resource.scope_metrics:
            found += scope.metrics
            if len(found) > FEW:
                return False
    try:
        return sum([len(metric.data.data_points) for metric in found]) <= min(FEW, most)
    except AttributeError:  # data of an unknown kind
        return False


def _metrics(metrics: MetricsData) -> Iterable[Metric]:
    return (
        metric for resource in metrics.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    )
