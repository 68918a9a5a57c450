"""Exporters that lose or change data in ways of real translators: caches, conversions, conventions of a format."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from third_party.right import LinesExporter, PlainExporter
from third_party.right_more import SplittingExporter
from third_party.transport import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core import Context
    from third_party.transport import HttpConfig, Wire

KINDS = ("gauge", "sum", "histogram", "exponentialHistogram")


def metrics_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every metric of OTLP's JSON."""
    for resource in document.get("resourceMetrics", ()):
        for scope in resource.get("scopeMetrics", ()):
            yield from scope.get("metrics", ())


def points_of(metric: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the points of a metric, to be changed in place."""
    for kind in KINDS:
        if kind in metric:
            return metric[kind].setdefault("dataPoints", [])
    return []


def all_points(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each metric with each of its points."""
    for metric in metrics_of(document):
        for point in points_of(metric):
            yield metric, point


def series_of(metric: dict[str, Any], point: dict[str, Any]) -> str:
    """Return what tells series apart: the name and the attributes."""
    return json.dumps([metric.get("name"), point.get("attributes", [])], sort_keys=True)


class RewritingExporter(PlainExporter):
    """Translate each batch by way of OTLP's JSON."""

    def encode(self, metrics: MetricsData) -> bytes:
        document = json.loads(encode(metrics))
        self.rewrite(document)
        return json.dumps(document).encode()

    def rewrite(self, document: dict[str, Any]) -> None:
        """Change the document in place."""


# --- caches -----------------------------------------------------------------------------------------------------------


class CachesBodiesById(PlainExporter):
    """Keep the last 64 encoded batches by ``id(metrics)``, for callers that try again: a number is given out twice."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.bodies: dict[int, bytes] = {}

    def encode(self, metrics: MetricsData) -> bytes:
        while len(self.bodies) > 64:
            del self.bodies[next(iter(self.bodies))]
        return self.bodies.setdefault(id(metrics), encode(metrics))


class CachesResourcesById(PlainExporter):
    """Encode a resource once for each ``id(resource)``: another one may have the same number later."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.resources: dict[int, Any] = {}

    def encode(self, metrics: MetricsData) -> bytes:
        document = json.loads(encode(metrics))
        for resource, encoded in zip(metrics.resource_metrics, document.get("resourceMetrics", ()), strict=True):
            encoded["resource"] = self.resources.setdefault(id(resource.resource), encoded.get("resource", {}))
        return json.dumps(document).encode()


class DescriptorOfTheFirst(RewritingExporter):
    """Unit and description of a metric are those with which its name came first, in the exporter's life."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.descriptors: dict[str, tuple[str, str]] = {}

    def rewrite(self, document: dict[str, Any]) -> None:
        for metric in metrics_of(document):
            mine = metric.get("unit", ""), metric.get("description", "")
            metric["unit"], metric["description"] = self.descriptors.setdefault(metric.get("name", ""), mine)


class StartTimesByName(RewritingExporter):
    """The start of a series is the one that was seen first: a counter that begins anew seems never to have."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.starts: dict[str, str] = {}

    def rewrite(self, document: dict[str, Any]) -> None:
        for metric, point in all_points(document):
            if "startTimeUnixNano" in point:
                start = point["startTimeUnixNano"]
                point["startTimeUnixNano"] = self.starts.setdefault(series_of(metric, point), start)


class TimesNeverGoBack(RewritingExporter):
    """A point that is older than the last one of its series gets that one's time, so that no sample is out of order."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.last: dict[str, int] = {}

    def rewrite(self, document: dict[str, Any]) -> None:
        for metric, point in all_points(document):
            series = series_of(metric, point)
            time = max(int(point.get("timeUnixNano", 0)), self.last.get(series, 0))
            self.last[series], point["timeUnixNano"] = time, str(time)


class SubtractsTheLast(RewritingExporter):
    """Cumulative sums are sent as differences to the last export, under the same temporality."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.last: dict[str, int] = {}

    def rewrite(self, document: dict[str, Any]) -> None:
        for metric, point in all_points(document):
            if "sum" in metric and metric["sum"].get("aggregationTemporality") == 2 and "asInt" in point:
                series, value = series_of(metric, point), int(point["asInt"])
                point["asInt"] = str(max(-(2**63), min(2**63 - 1, value - self.last.get(series, 0))))
                self.last[series] = value


# --- conversions ------------------------------------------------------------------------------------------------------


class FloatSeconds(RewritingExporter):
    """Times pass through ``float`` seconds, which have no place for the last hundred nanoseconds."""

    def rewrite(self, document: dict[str, Any]) -> None:
        for _, point in all_points(document):
            point["timeUnixNano"] = str(round(int(point.get("timeUnixNano", 0)) / 1e9 * 1e9))


class LocalTimes(RewritingExporter):
    """Times pass through local time without an offset: the hour that comes twice in autumn comes once."""

    zone = ZoneInfo("Europe/Berlin")

    def rewrite(self, document: dict[str, Any]) -> None:
        for _, point in all_points(document):
            seconds, rest = divmod(int(point.get("timeUnixNano", 0)), 10**9)
            if 0 < seconds < 2**33:
                local = dt.datetime.fromtimestamp(seconds, self.zone).replace(fold=0)
                point["timeUnixNano"] = str(int(local.timestamp()) * 10**9 + rest)


class TypeOfTheFirstPoint(RewritingExporter):
    """A metric is of integers or of floats as its first point is; the others are converted."""

    def rewrite(self, document: dict[str, Any]) -> None:
        for metric in metrics_of(document):
            numbers = [point for point in points_of(metric) if "asInt" in point or "asDouble" in point]
            for point in numbers[1:]:
                if "asDouble" in numbers[0] and "asInt" in point:
                    point["asDouble"] = float(point.pop("asInt"))
                elif "asInt" in numbers[0] and "asDouble" in point and math.isfinite(float(point["asDouble"])):
                    value = int(float(point["asDouble"]))
                    if abs(value) < 2**63:
                        del point["asDouble"]
                        point["asInt"] = str(value)


class OneTemporalityForTheBatch(RewritingExporter):
    """The temporality of a batch is that of its first metric that has one."""

    def rewrite(self, document: dict[str, Any]) -> None:
        found = [metric[kind] for metric in metrics_of(document) for kind in KINDS[1:] if kind in metric]
        for data in found:
            data["aggregationTemporality"] = found[0].get("aggregationTemporality", 2)


class TraceIdsAsNumbers(RewritingExporter):
    """Trace and span ids are formatted as numbers and padded at the wrong end: leading zeros move to the end."""

    def rewrite(self, document: dict[str, Any]) -> None:
        for _, point in all_points(document):
            for exemplar in point.get("exemplars", ()):
                for key, digits in (("traceId", 32), ("spanId", 16)):
                    if exemplar.get(key):
                        exemplar[key] = f"{int(exemplar[key], 16):x}".ljust(digits, "0")


class LosesInfiniteExemplars(RewritingExporter):
    """Exemplars whose value is not finite are left out, since the format's JSON has no number for them."""

    def rewrite(self, document: dict[str, Any]) -> None:
        for _, point in all_points(document):
            if "exemplars" in point:
                point["exemplars"] = [one for one in point["exemplars"] if math.isfinite(float(one.get("asDouble", 0)))]


class LastExemplarOnly(RewritingExporter):
    """A point has at most one exemplar: the last one."""

    def rewrite(self, document: dict[str, Any]) -> None:
        for _, point in all_points(document):
            if "exemplars" in point:
                point["exemplars"] = point["exemplars"][-1:]


# --- histograms -------------------------------------------------------------------------------------------------------


class OffsetOfPositive(RewritingExporter):
    """The negative buckets of exponential histograms are written with the offset of the positive ones."""

    def rewrite(self, document: dict[str, Any]) -> None:
        for _, point in all_points(document):
            if point.get("negative", {}).get("bucketCounts"):
                point["negative"]["offset"] = point.get("positive", {}).get("offset", 0)


class TrimsLeadingBuckets(RewritingExporter):
    """Empty buckets are trimmed at both ends, and the offset stays as it was."""

    def rewrite(self, document: dict[str, Any]) -> None:
        for _, point in all_points(document):
            for sign in ("positive", "negative"):
                counts = point.get(sign, {}).get("bucketCounts", [])
                while len(counts) > 1 and int(counts[0]) == 0:
                    del counts[0]


class NeedsBounds(RewritingExporter):
    """A histogram without bounds, which has one bucket, is taken for a broken one and left out."""

    def rewrite(self, document: dict[str, Any]) -> None:
        for metric in metrics_of(document):
            if "histogram" in metric:
                data = metric["histogram"]
                data["dataPoints"] = [one for one in data.get("dataPoints", ()) if one.get("explicitBounds")]


class LosesFlags(RewritingExporter):
    """The flags of points are not written."""

    def rewrite(self, document: dict[str, Any]) -> None:
        for _, point in all_points(document):
            point.pop("flags", None)


# --- conventions of a format ------------------------------------------------------------------------------------------


class ReservedKeys(RewritingExporter):
    """Attributes whose keys the format needs itself, such as ``time``, ``value``, ``name`` and ``le``, are left out."""

    reserved = frozenset({"time", "timestamp", "value", "name", "le", "quantile", "unit", "type", "__name__"})

    def rewrite(self, document: dict[str, Any]) -> None:
        for _, point in all_points(document):
            if "attributes" in point:
                point["attributes"] = [one for one in point["attributes"] if one["key"] not in self.reserved]


class NestsDottedKeys(RewritingExporter):
    """Dots in keys mean nesting: where there are ``a`` and ``a.b``, the second one takes the place of the first."""

    def rewrite(self, document: dict[str, Any]) -> None:
        for _, point in all_points(document):
            found = point.get("attributes", [])
            keys = [one["key"] for one in found]
            parents = {key for key in keys if any(other.startswith(f"{key}.") for other in keys)}
            if parents:
                point["attributes"] = [one for one in found if one["key"] not in parents]


class ThirtyLabels(RewritingExporter):
    """A point has at most thirty attributes, as the backend's price list says; the others are left out."""

    def rewrite(self, document: dict[str, Any]) -> None:
        for _, point in all_points(document):
            if "attributes" in point:
                point["attributes"] = point["attributes"][:30]


class NamesOf63(RewritingExporter):
    """Names are cut after 63 characters, as the backend's identifiers are."""

    def rewrite(self, document: dict[str, Any]) -> None:
        for metric in metrics_of(document):
            metric["name"] = metric.get("name", "")[:63]


class RecursesByPoint(RewritingExporter):
    """Points are encoded by a function that calls itself for the rest of them: 1,000 are too deep."""

    def rewrite(self, document: dict[str, Any]) -> None:
        for metric in metrics_of(document):
            points_of(metric)[:] = self.all_of(points_of(metric), 0)

    def all_of(self, points: list[Any], first: int) -> list[Any]:
        """Return the points from ``first`` on."""
        return [points[first], *self.all_of(points, first + 1)] if first < len(points) else []


class TakesTheLatestTime(RewritingExporter):
    """The time of a request is the latest one of each metric's points: a metric without points has none."""

    def rewrite(self, document: dict[str, Any]) -> None:
        for metric in metrics_of(document):
            max(int(point.get("timeUnixNano", 0)) for point in points_of(metric))


class SplitsLinesOfText(LinesExporter):
    """Lines are joined and split as text, by ``str.splitlines``: it splits at U+2028 and U+0085 within a text too."""

    def write(self, context: Context, wire: Wire, data: bytes) -> None:
        text = json.dumps(json.loads(data), ensure_ascii=False)
        super().write(context, wire, "".join(f"{line}\n" for line in text.splitlines()).encode())


# --- several requests -------------------------------------------------------------------------------------------------


class ContinuationIsBare(SplittingExporter):
    """The points of a large metric go out in requests of 500, of which only the first has the unit and the scope."""

    def split(self, document: dict[str, Any]) -> Iterator[bytes]:
        for body in super().split(document):
            part = json.loads(body)
            for metric in metrics_of(part):
                points = points_of(metric)
                whole = list(points)
                points[:] = whole[:500]
                yield json.dumps(part).encode()
                for first in range(500, len(whole), 500):
                    points[:] = whole[first : first + 500]
                    metric.pop("unit", None)
                    metric.pop("description", None)
                    part["resourceMetrics"][0]["scopeMetrics"][0].pop("scope", None)
                    yield json.dumps(part).encode()
                break
            else:
                yield body
