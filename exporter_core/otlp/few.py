"""Requests of few data points, written point by point: building a layout for them costs more than it saves."""

from __future__ import annotations

from itertools import chain, islice
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from exporter_core.otlp.attributes import are_same, items_of
from exporter_core.otlp.kept import UNREADABLE, Kept
from exporter_core.otlp.surroundings import surroundings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from opentelemetry.sdk.metrics.export import Metric, MetricsData

    from exporter_core.otlp.attributes import AttributeWriter
    from exporter_core.otlp.formats import Format
    from exporter_core.otlp.request import Frame, Numbers

FEW = 16
"""The most metrics and points that are few."""
_BARE = 4  # times as many are few where no point has attributes: writing each anew takes little there

_attributes_of = attrgetter("attributes")


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
        written = self._written(metrics)
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

    def _written(self, metrics: MetricsData) -> Iterator[bytes]:
        """Yield each metric's bytes, in order."""
        form, old, new, sources = self._form, self._known.frames, self.kept.few.frames, self.kept.sources
        kinds, exemplars, gap = form.kinds, form.exemplar_attributes, len(form.separator)
        for metric in _metrics(metrics):
            data, kind = metric.data, type(metric.data)
            temporality = getattr(data, "aggregation_temporality", None)
            said = metric.name, metric.description, metric.unit, kind, temporality, getattr(data, "is_monotonic", None)
            known = old.get(metric.name)
            if known is None or known[0] != said:
                known = said, form.metric(metric)
            new[metric.name] = known
            frame, way = known[1], kinds[kind]
            content = b""
            for point in data.data_points:
                source = point.attributes
                sources.append(source)
                body = self._attributes(way.attributes, source) if source else way.attributes.empty
                content += form.point(body, way.rest(point, exemplars))
            content = content[gap:]
            yield frame.opening(len(content)) + content + frame.closing

    def _attributes(self, writer: AttributeWriter, source: Any) -> bytes:  # a mapping, or what stands in its place
        key = writer, id(source)
        known = self._known.bodies.get(key)
        if known is None or not (self._trusted or are_same(source, known[0])):
            copy = items_of(source)
            known = copy, writer.of(copy)
        self.kept.few.bodies[key] = known
        return known[1]


def has_few_points(metrics: MetricsData, old: Kept, most: int) -> bool:
    """True if there are no more metrics and points than are few, nor more points than `most`.

    Without attributes any number are few in the first encoding, as a layout pays from the next one on.
    """
    found: list[Metric] = []
    is_first = not old.said[0] and not old.few.frames
    limit = FEW * (inf if is_first else _BARE)
    for resource in metrics.resource_metrics:
        for scope in resource.scope_metrics:
            found += scope.metrics
            if len(found) > limit:
                return False
    try:
        count = sum([len(metric.data.data_points) for metric in found])
        if count > min(limit, most):
            return False
        return max(count, len(found)) <= FEW or not any(
            map(_attributes_of, chain.from_iterable([metric.data.data_points for metric in found]))
        )
    except UNREADABLE:  # data of an unknown kind, or attributes that are no mapping
        return False


def _metrics(metrics: MetricsData) -> Iterable[Metric]:
    return (
        metric for resource in metrics.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    )
