"""Wrong exporters that change or lose single fields of what they are handed, and say success."""

from __future__ import annotations

import gzip
import math
from typing import TYPE_CHECKING, Any

from third_party.right import PlainExporter, SdkExporter
from third_party.transport import Wire, address_of, read_answer, request_bytes
from third_party.wrong_amounts import KINDS, EditingExporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData

    from exporter_core import Context
    from third_party.transport import Answer


def scopes_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each scope with its metrics."""
    for resource in document.get("resourceMetrics", ()):
        yield from resource.get("scopeMetrics", ())


def metrics_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each metric."""
    for scope in scopes_of(document):
        yield from scope.get("metrics", ())


def points_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each data point."""
    for metric in metrics_of(document):
        for kind in KINDS:
            yield from metric.get(kind, {}).get("dataPoints", ())


class LosesUnit(EditingExporter):
    """The unit is not sent."""

    def edit(self, document: dict[str, Any]) -> None:
        for metric in metrics_of(document):
            metric.pop("unit", None)


class LosesMinAndMax(EditingExporter):
    """A histogram's smallest and largest value are not sent."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            point.pop("min", None)
            point.pop("max", None)


class LosesExemplars(EditingExporter):
    """Exemplars are not sent, though the format carries them."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            point.pop("exemplars", None)


class LosesNegativeBuckets(EditingExporter):
    """An exponential histogram's buckets of negative values are not sent."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            point.pop("negative", None)


class SkipsNotANumber(EditingExporter):
    """A value that is no number is left out, since JSON has none."""

    def edit(self, document: dict[str, Any]) -> None:
        for metric in metrics_of(document):
            for kind in KINDS:
                if kind in metric:
                    points = metric[kind].get("dataPoints", [])
                    points[:] = [point for point in points if not self.is_special(point.get("asDouble"))]

    def is_special(self, value: object) -> bool:
        """True for NaN and the infinities, in either spelling."""
        return value in {"NaN", "Infinity", "-Infinity"} or (isinstance(value, float) and not math.isfinite(value))


class DropsEmptyValues(EditingExporter):
    """An attribute whose value is an empty text is left out."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            attributes = point.get("attributes", [])
            attributes[:] = [one for one in attributes if one.get("value") not in ({"stringValue": ""}, {}, None)]


class CutsLongTexts(EditingExporter):
    """The text of an attribute is cut after 255 characters, the width of the backend's column."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            for one in point.get("attributes", ()):
                text = one.get("value", {}).get("stringValue")
                if text is not None:
                    one["value"]["stringValue"] = text[:255]


class BooleansAreNumbers(EditingExporter):
    """True is sent as 1."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            for one in point.get("attributes", ()):
                value = one.get("value", {})
                if "boolValue" in value:
                    one["value"] = {"intValue": str(int(value["boolValue"]))}


class ListsAreText(EditingExporter):
    """A sequence among the attributes is sent as its text."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            for one in point.get("attributes", ()):
                value = one.get("value", {})
                if "arrayValue" in value:
                    one["value"] = {"stringValue": str(value["arrayValue"])}


class NoNegativeIntegers(EditingExporter):
    """Integers are unsigned: a negative one becomes 0."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            if int(point.get("asInt", 0)) < 0:
                point["asInt"] = "0"


class StartsWhenItEnds(EditingExporter):
    """The beginning of a sum's interval is replaced by its end."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            if "startTimeUnixNano" in point:
                point["startTimeUnixNano"] = point.get("timeUnixNano", "0")


class MetricsByName(EditingExporter):
    """The metrics of a scope are kept by name: of two with one name, the latter remains."""

    def edit(self, document: dict[str, Any]) -> None:
        for scope in scopes_of(document):
            scope["metrics"] = list({one.get("name"): one for one in scope.get("metrics", ())}.values())


class OneResourceForAll(EditingExporter):
    """The scopes of all resources are sent under the first resource."""

    def edit(self, document: dict[str, Any]) -> None:
        resources = document.get("resourceMetrics", [])
        if resources:
            resources[0]["scopeMetrics"] = [scope for one in resources for scope in one.get("scopeMetrics", ())]
            del resources[1:]


class ResourceOverPoints(EditingExporter):
    """The resource's attributes are added to each point's, and replace those of the same name."""

    def edit(self, document: dict[str, Any]) -> None:
        for resource in document.get("resourceMetrics", ()):
            common = resource.get("resource", {}).get("attributes", [])
            names = {one["key"] for one in common}
            for point in points_of({"resourceMetrics": [resource]}):
                own = [one for one in point.get("attributes", ()) if one["key"] not in names]
                point["attributes"] = own + common


class LowerCaseNames(EditingExporter):
    """The names of metrics are sent in lower case."""

    def edit(self, document: dict[str, Any]) -> None:
        for metric in metrics_of(document):
            metric["name"] = metric.get("name", "").lower()


class SumsAreMonotonic(EditingExporter):
    """Every sum is sent as one that never falls."""

    def edit(self, document: dict[str, Any]) -> None:
        for metric in metrics_of(document):
            if "sum" in metric:
                metric["sum"]["isMonotonic"] = True


class SixDigits(EditingExporter):
    """Floating-point values are sent with six digits."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            if isinstance(point.get("asDouble"), float):
                point["asDouble"] = float(f"{point['asDouble']:.6g}")


class CountsCharacters(PlainExporter):
    """Content-Length is the number of characters: a body with others than ASCII's is cut."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        text = body.decode()
        return self.send_cut(context, body[: len(text)])

    def send_cut(self, context: Context, body: bytes) -> Answer:
        """Send once."""
        return super().attempt(context, body)

    def encode(self, metrics: MetricsData) -> bytes:
        import json

        return json.dumps(json.loads(super().encode(metrics)), ensure_ascii=False).encode()


class ClaimsGzip(PlainExporter):
    """A large body has a header that says gzip, and is not compressed."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        if len(body) < 1 << 16:
            return super().attempt(context, body)
        wire = Wire(address_of(self.config.endpoint))
        try:
            wire.connect(context)
            request = request_bytes(self.config.endpoint, body, self.config.token.get_secret_value())
            wire.send(context, request.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1))
            return read_answer(lambda: wire.receive(context))
        finally:
            wire.close()


class CompressesOnce(PlainExporter):
    """A body is compressed with gzip; a second attempt compresses what is compressed already."""

    def send(self, context: Context, body: bytes) -> None:
        self.body = body
        super().send(context, body)

    def attempt(self, context: Context, body: bytes) -> Answer:
        self.body = gzip.compress(self.body)
        wire = Wire(address_of(self.config.endpoint))
        try:
            wire.connect(context)
            request = request_bytes(self.config.endpoint, self.body, self.config.token.get_secret_value())
            wire.send(context, request.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1))
            return read_answer(lambda: wire.receive(context))
        finally:
            wire.close()


class SdkLosesScopes(SdkExporter):
    """Only the scopes of the first resource are sent."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        import dataclasses

        return super().send(dataclasses.replace(metrics, resource_metrics=metrics.resource_metrics[:1]), seconds)
