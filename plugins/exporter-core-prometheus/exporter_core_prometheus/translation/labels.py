"""Attributes as labels: those of points, resources, scopes and exemplars."""

from __future__ import annotations

import base64
import json
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.sdk.metrics import Exemplar

    from exporter_core_prometheus.translation.model import Labels
    from exporter_core_prometheus.translation.names import Namer

EXEMPLAR_CHARACTERS: Final = 128
"""Characters that the labels of an exemplar may have together, by OpenMetrics."""
_LONE_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_TAKEN: Final = frozenset({"__name__"})  # the metric's
_TAKEN_BY_BUCKETS: Final = _TAKEN | {"le"}
_REMEMBERED: Final = frozenset({str, int, bool, float})
_KEPT_PAIRS: Final = 4096
_LONGEST_KEPT: Final = 128  # characters of a value
_PLAIN_BELOW: Final = 1e21


class LabelMaker:
    """Makes labels of attributes; remembers short pairs that it has met (bounded).

    Args:
        namer: translates the names.
    """

    def __init__(self, namer: Namer) -> None:
        self._namer = namer
        # One tuple for all series that share a pair: by type too, for 1, 1.0 and True are equal.
        self._pairs: dict[tuple[object, object, type], tuple[str, str]] = {}
        self._base: tuple[Mapping[str, str], Labels] = {}, ()

    def labels(
        self, attributes: Mapping[str, Any] | None, base: Mapping[str, str], *, has_buckets: bool = False
    ) -> Labels:
        """Return the labels of a point.

        Args:
            attributes: of the point. Those whose names become the same label are joined by `;`, in the order of their
                names. One that is named like a label of `base` gets the prefix `exported_`, as Prometheus does it with
                what it scrapes.
            base: labels that stand at all series of the resource and scope.
            has_buckets: keep the label `le` free.
        """
        if not attributes:
            return tuple(sorted(base.items()))
        pairs = self._pairs
        found: list[tuple[str, str]] = []
        for key, value in attributes.items():
            kept = (key, value, value.__class__)
            pair = pairs.get(kept) if value.__class__ in _REMEMBERED else self._pair(key, value)
            if pair is None:
                pair = self._pair(key, value)
                if len(pair[1]) <= _LONGEST_KEPT:
                    if len(pairs) >= _KEPT_PAIRS:
                        pairs.clear()
                    pairs[kept] = pair
            found.append(pair)
        labels = dict(found)
        taken = _TAKEN_BY_BUCKETS if has_buckets else _TAKEN
        plain = len(labels) == len(found) and "" not in labels.values()
        if plain and taken.isdisjoint(labels) and base.keys().isdisjoint(labels):
            if base is not self._base[0]:
                self._base = base, tuple(base.items())  # one tuple for all series
            return tuple(sorted((*found, *self._base[1])))
        if len(labels) < len(found):
            labels = self._joined(attributes)
        return _renamed(labels, base, taken)

    def exemplar(self, exemplar: Exemplar) -> Labels:
        """Return the labels of an exemplar: its trace, and its attributes unless that makes them too long."""
        ids: dict[str, str] = {}
        if exemplar.trace_id is not None and exemplar.span_id is not None:
            ids = {"trace_id": f"{exemplar.trace_id:032x}", "span_id": f"{exemplar.span_id:016x}"}
        labels = self.labels(exemplar.filtered_attributes, ids)
        if sum(len(name) + len(value) for name, value in labels) > EXEMPLAR_CHARACTERS:
            return tuple(sorted(ids.items()))
        return labels

    def _pair(self, key: str, value: object) -> tuple[str, str]:
        return self._namer.label(valid_text(str(key))), text_of(value)

    def _joined(self, attributes: Mapping[str, Any]) -> dict[str, str]:
        """Return labels of which some have the values of several attributes."""
        values: dict[str, list[str]] = {}
        for key in sorted(attributes):
            name, value = self._pair(key, attributes[key])
            values.setdefault(name, []).append(value)
        return {name: ";".join(texts) for name, texts in values.items()}


def _renamed(labels: Mapping[str, str], base: Mapping[str, str], taken: frozenset[str]) -> Labels:
    """Return labels beside those of `base`, with prefixes where their names are taken."""
    found = dict(base)
    for name, value in sorted(labels.items()):
        free = name
        while free in taken or free in found:
            free = f"exported_{free}"
        if value:
            found[free] = value
    return tuple(sorted(found.items()))


def text_of(value: object) -> str:
    """Return an attribute's value as text, as OpenTelemetry's specification of attributes has it."""
    if value is None:
        return ""
    plain = _jsonable(value)
    text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    return valid_text(text)


def _jsonable(value: object) -> Any:  # what json takes
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, float) and value.is_integer() and abs(value) < _PLAIN_BELOW:
        return int(value)
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)


def plain_decimal(value: float) -> str:
    """Return a finite number without an exponent, as short as it can be: 10, 0.005, 1000000."""
    return f"{Decimal(repr(float(value))):f}".removesuffix(".0")


def resource_labels(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels `job` and `instance` that a resource's service has."""
    name, namespace = (text_of(attributes.get(key)) for key in ("service.name", "service.namespace"))
    job = f"{namespace}/{name}" if namespace and name else name
    instance = text_of(attributes.get("service.instance.id"))
    return {label: value for label, value in (("job", job), ("instance", instance)) if value}


def without(attributes: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Return the attributes but for some."""
    return {key: value for key, value in attributes.items() if key not in keys}


def valid_text(text: str) -> str:
    """Return a text that UTF-8 can hold: with a replacement character for each lone surrogate."""
    return text if text.isascii() else _LONE_SURROGATES.sub("\ufffd", text)
