"""Wrong exporters that lose or change some of what they are handed, and say success."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from third_party.right import PlainExporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core import Context
    from third_party.transport import HttpConfig

KINDS = ("gauge", "sum", "histogram", "exponentialHistogram")


def series_of(document: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the name and the data points of each metric of OTLP's JSON."""
    for resource in document.get("resourceMetrics", ()):
        for scope in resource.get("scopeMetrics", ()):
            for metric in scope.get("metrics", ()):
                for kind in KINDS:
                    if kind in metric:
                        yield metric.get("name", ""), metric[kind].get("dataPoints", [])


class EditingExporter(PlainExporter):
    """Post the JSON document after :meth:`edit`."""

    def encode(self, metrics: MetricsData) -> bytes:
        document = json.loads(super().encode(metrics))
        self.edit(document)
        return json.dumps(document).encode()

    def edit(self, document: dict[str, Any]) -> None:
        """Change the document."""


class FirstThousandPoints(EditingExporter):
    """The backend's documented limit of 1000 points a request is kept by cutting the rest off."""

    def edit(self, document: dict[str, Any]) -> None:
        left = 1000
        for _, points in series_of(document):
            del points[max(0, left) :]
            left -= len(points)


class WholeChunksOnly(EditingExporter):
    """A batch of more than 5000 points of one metric is cut into chunks by whole division: the remainder is lost."""

    size = 5000

    def edit(self, document: dict[str, Any]) -> None:
        for _, points in series_of(document):
            if len(points) > self.size:
                del points[len(points) // self.size * self.size :]


class BodyLimit(PlainExporter):
    """A body above one mebibyte is logged and dropped, and export returns."""

    def send(self, context: Context, body: bytes) -> None:
        if len(body) <= 1 << 20:
            super().send(context, body)


class UnchangedSeries(EditingExporter):
    """A series whose value is that of the last export is left out, to save bandwidth."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.last: dict[str, object] = {}

    def edit(self, document: dict[str, Any]) -> None:
        for name, points in series_of(document):
            kept = []
            for point in points:
                key = name + json.dumps(point.get("attributes", []), sort_keys=True)
                value = json.dumps([point.get(field) for field in ("asInt", "asDouble", "sum", "count")])
                if self.last.get(key) != value:
                    kept.append(point)
                self.last[key] = value
            points[:] = kept


class EqualValues(EditingExporter):
    """Points of one metric with equal values are taken for duplicates, although their attributes differ."""

    def edit(self, document: dict[str, Any]) -> None:
        for _, points in series_of(document):
            seen = set()
            kept = []
            for point in points:
                value = json.dumps([point.get(field) for field in ("asInt", "asDouble", "sum", "count")])
                if value not in seen:
                    kept.append(point)
                seen.add(value)
            points[:] = kept


class FirstScopeOnly(EditingExporter):
    """Only the first scope of each resource is sent."""

    def edit(self, document: dict[str, Any]) -> None:
        for resource in document.get("resourceMetrics", ()):
            del resource.get("scopeMetrics", [])[1:]


class SkipsZeros(EditingExporter):
    """A point with value 0 is left out: ``if value``."""

    def edit(self, document: dict[str, Any]) -> None:
        for _, points in series_of(document):
            points[:] = [point for point in points if "count" in point or not self.is_zero(point)]

    def is_zero(self, point: dict[str, Any]) -> bool:
        """True for the value 0."""
        return point.get("asInt") == "0" or point.get("asDouble") == 0


class MillisecondTimes(EditingExporter):
    """Times are cut to milliseconds."""

    def edit(self, document: dict[str, Any]) -> None:
        for _, points in series_of(document):
            for point in points:
                for field in ("timeUnixNano", "startTimeUnixNano"):
                    if field in point:
                        point[field] = str(int(point[field]) // 1_000_000 * 1_000_000)


class FloatIntegers(EditingExporter):
    """Integers go through a float, as in JavaScript, and change above 2 ** 53."""

    def edit(self, document: dict[str, Any]) -> None:
        for _, points in series_of(document):
            for point in points:
                if "asInt" in point:
                    point["asInt"] = str(min(int(float(point["asInt"])), 2**63 - 1))


class AsciiOnly(PlainExporter):
    """What is not ASCII becomes a question mark."""

    def encode(self, metrics: MetricsData) -> bytes:
        document = json.loads(super().encode(metrics))
        text = json.dumps(document, ensure_ascii=False)
        return text.encode("ascii", "replace")


class LosesSchemaUrl(EditingExporter):
    """The schema URLs of resource and scope are left out."""

    def edit(self, document: dict[str, Any]) -> None:
        for resource in document.get("resourceMetrics", ()):
            resource.pop("schemaUrl", None)
            for scope in resource.get("scopeMetrics", ()):
                scope.pop("schemaUrl", None)


class LosesDescription(EditingExporter):
    """The unit and description of a metric are sent once, with its first batch, and left out afterwards."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.known = False

    def edit(self, document: dict[str, Any]) -> None:
        if self.known:
            for resource in document.get("resourceMetrics", ()):
                for scope in resource.get("scopeMetrics", ()):
                    for metric in scope.get("metrics", ()):
                        metric.pop("unit", None)
                        metric.pop("description", None)
        self.known = self.known or bool(document.get("resourceMetrics"))


class MergesScopesByName(EditingExporter):
    """Scopes of equal name are merged, whatever their version and attributes: those of the later ones are lost."""

    def edit(self, document: dict[str, Any]) -> None:
        for resource in document.get("resourceMetrics", ()):
            merged: dict[str, Any] = {}
            for scope in resource.get("scopeMetrics", ()):
                name = scope.get("scope", {}).get("name", "")
                if name in merged:
                    merged[name].setdefault("metrics", []).extend(scope.get("metrics", ()))
                else:
                    merged[name] = scope
            resource["scopeMetrics"] = list(merged.values())
