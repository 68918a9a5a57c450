"""Further wrong exporters that change what they are handed: caches, shortcuts and conversions."""

from __future__ import annotations

import base64
import json
import time
import unicodedata
from typing import TYPE_CHECKING, Any

from third_party.wrong_amounts import KINDS, EditingExporter
from third_party.wrong_encoding import metrics_of, points_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from third_party.transport import HttpConfig


def values_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the value of each attribute of each point."""
    for point in points_of(document):
        for one in point.get("attributes", ()):
            yield one.get("value", {})


class ResourceOfTheFirstBatch(EditingExporter):
    """The resource never changes in a process: that of the first batch is kept, and sent with all later ones."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.resource: dict[str, Any] | None = None

    def edit(self, document: dict[str, Any]) -> None:
        for resource in document.get("resourceMetrics", ()):
            if self.resource is None:
                self.resource = resource.get("resource", {})
            resource["resource"] = self.resource


class CachesAttributes(EditingExporter):
    """Encoded attributes are cached by their values: 1, 1.0 and True are one key, and get the type that came first."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.cache: dict[object, object] = {}

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            attributes = point.get("attributes", [])
            key = tuple((one["key"], self.plain(one.get("value", {}))) for one in attributes)
            point["attributes"] = self.cache.setdefault(key, attributes)

    def plain(self, value: dict[str, Any]) -> object:
        """Return the Python value, as ``attributes.items()`` has it."""
        if "intValue" in value:
            return int(value["intValue"])
        if "doubleValue" in value:
            return float(value["doubleValue"])
        if "boolValue" in value:
            return value["boolValue"]
        return json.dumps(value, sort_keys=True)


class SkipsEmptyHistograms(EditingExporter):
    """A histogram that has counted nothing is left out: ``if not point.count: continue``."""

    def edit(self, document: dict[str, Any]) -> None:
        for metric in metrics_of(document):
            for kind in ("histogram", "exponentialHistogram"):
                if kind in metric:
                    points = metric[kind].get("dataPoints", [])
                    points[:] = [point for point in points if int(point.get("count", 0))]


class LosesZeroCount(EditingExporter):
    """An exponential histogram's count of zeros is not sent."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            point.pop("zeroCount", None)


class UnsignedScale(EditingExporter):
    """The scale of an exponential histogram is unsigned: a negative one is sent as 0."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            if point.get("scale", 0) < 0:
                point["scale"] = 0


class StartsWithTheExporter(EditingExporter):
    """A start time of 0 is taken for a missing one, and replaced by the time at which the exporter was made."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.started = time.time_ns()

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            if not int(point.get("startTimeUnixNano") or 0):
                point["startTimeUnixNano"] = str(self.started)


class SkipsNoneInLists(EditingExporter):
    """None in a sequence among the attributes is left out, and the sequence gets shorter."""

    def edit(self, document: dict[str, Any]) -> None:
        for value in values_of(document):
            if "arrayValue" in value:
                values = value["arrayValue"].get("values", [])
                values[:] = [one for one in values if one]


class AlwaysCumulative(EditingExporter):
    """Every sum and histogram is marked as cumulative, also what the reader collected as a delta."""

    def edit(self, document: dict[str, Any]) -> None:
        for metric in metrics_of(document):
            for kind in KINDS:
                if "aggregationTemporality" in metric.get(kind, {}):
                    metric[kind]["aggregationTemporality"] = 2


class LosesExemplarAttributes(EditingExporter):
    """Exemplars are sent without the attributes that a view has filtered out of their points."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            for exemplar in point.get("exemplars", ()):
                exemplar.pop("filteredAttributes", None)


class SkipsNamelessScopes(EditingExporter):
    """Metrics of a scope without a name are left out: ``if not scope.name: continue``."""

    def edit(self, document: dict[str, Any]) -> None:
        for resource in document.get("resourceMetrics", ()):
            scopes = resource.get("scopeMetrics", [])
            scopes[:] = [one for one in scopes if one.get("scope", {}).get("name")]


class MapsAreText(EditingExporter):
    """A mapping among the attributes is sent as its JSON text."""

    def edit(self, document: dict[str, Any]) -> None:
        for value in values_of(document):
            if "kvlistValue" in value:
                value["stringValue"] = json.dumps(value.pop("kvlistValue"))


class NormalizesUnicode(EditingExporter):
    """Texts of attributes are normalised to NFC, so that what was composed in two ways becomes one series."""

    def edit(self, document: dict[str, Any]) -> None:
        for value in values_of(document):
            if "stringValue" in value:
                value["stringValue"] = unicodedata.normalize("NFC", value["stringValue"])


class BytesAreText(EditingExporter):
    """Bytes among the attributes are sent as text, with a replacement for what is not UTF-8."""

    def edit(self, document: dict[str, Any]) -> None:
        for value in values_of(document):
            if "bytesValue" in value:
                value["stringValue"] = base64.b64decode(value.pop("bytesValue")).decode(errors="replace")


class WholeBounds(EditingExporter):
    """The bounds of a histogram's buckets are sent as whole numbers, since they are always milliseconds."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            if "explicitBounds" in point:
                point["explicitBounds"] = [
                    round(one) if isinstance(one, float) else one for one in point["explicitBounds"]
                ]


class UnderscoresInKeys(EditingExporter):
    """Dots and dashes in the keys of attributes become underscores, as for Prometheus, although this is OTLP."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            for one in point.get("attributes", ()):
                one["key"] = one["key"].replace(".", "_").replace("-", "_")


class ForgetsTheSign(EditingExporter):
    """-0.0 becomes 0.0: the value is added to the sum of an empty list."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            if isinstance(point.get("asDouble"), float):
                point["asDouble"] = sum([point["asDouble"]])


class FirstAttributeWins(EditingExporter):
    """Keys of attributes are compared without case: of two that differ in case only, the first one is sent."""

    def edit(self, document: dict[str, Any]) -> None:
        for point in points_of(document):
            found: dict[str, dict[str, Any]] = {}
            for one in point.get("attributes", ()):
                found.setdefault(one["key"].casefold(), one)
            if "attributes" in point:
                point["attributes"] = list(found.values())


class StripsTexts(EditingExporter):
    """Texts of attributes lose the white space around them."""

    def edit(self, document: dict[str, Any]) -> None:
        self.change(document, str.strip)

    def change(self, document: dict[str, Any], change: Callable[[str], str]) -> None:
        """Change each text."""
        for value in values_of(document):
            if "stringValue" in value:
                value["stringValue"] = change(value["stringValue"])


class EndsTextAtNull(StripsTexts):
    """Texts of attributes end at their first NUL, as in C."""

    def edit(self, document: dict[str, Any]) -> None:
        self.change(document, lambda text: text.partition("\0")[0])
