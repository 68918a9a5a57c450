"""The resources and scopes around the metrics of a request, encoded anew only where they have changed."""

from __future__ import annotations

from itertools import chain
from operator import is_
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core.otlp.attributes import can_change, items_of
from exporter_core.otlp.request import Level
from exporter_core.otlp.wire import UnencodableError, short, utf8

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.otlp.attributes import AttributeWriter
    from exporter_core.otlp.formats import Format
    from exporter_core.otlp.request import Frame

_UNREADABLE = (AttributeError, TypeError, ValueError)
_SEALED = frozenset({Resource, InstrumentationScope})
_Proof = tuple[object, ...]


class Surroundings:
    """The resources and scopes of a request. Never changes once it is built.

    Args:
        metrics: the metrics within.
        form: the encoding.
        old: those of the last encoding: what has not changed is taken from there.

    Attributes:
        resources: the frames of the resources, with the number of their scopes.
        scopes: the frames of the scopes, with the number of their metrics.
        omitted: attributes and texts that the format cannot hold, a line each.
    """

    def __init__(self, metrics: MetricsData, form: Format, old: Surroundings | None) -> None:
        self._form = form
        self.omitted: list[str] = []
        self._holders, self._urls, self._counts = _parts(metrics)
        # By identity, with the holder so that the identity stays its own, and what the frame was made of.
        self._frames: dict[int, tuple[Any, _Proof, Frame]] = {}
        known = old._frames if old else {}
        levels = []
        proofs: list[_Proof] = []
        parts = zip(self._holders, self._urls, self._counts, strict=True)
        for place, (holder, url, count) in enumerate(parts):
            is_resource = place < len(metrics.resource_metrics)
            proof, frame = self._framed(holder, url, known.get(id(holder)), is_resource=is_resource)
            levels.append(Level(frame, count))
            if proof is not None:
                proofs.append(proof)
                self._frames[id(holder)] = holder, proof, frame
        self._proofs = proofs if len(proofs) == len(levels) else None
        # Nothing but the attributes' own values could change in these, and those were looked at.
        self._sealed = self._proofs is not None and _SEALED.issuperset(map(type, self._holders))
        self.resources = levels[: len(metrics.resource_metrics)]
        self.scopes = levels[len(metrics.resource_metrics) :]

    def still_hold(self, metrics: MetricsData, *, trusted: bool) -> bool:
        """True if these metrics have the same resources and scopes around them, each with as many below it."""
        holders, urls, counts = _parts(metrics)
        if counts != self._counts or urls != self._urls or len(metrics.resource_metrics) != len(self.resources):
            return False
        if not all(map(is_, holders, self._holders)):
            return False
        if trusted and self._sealed:
            return True
        return self._proofs is not None and all(
            map(_unchanged, self._proofs, map(_proof, holders, urls, map(_items, holders)))
        )

    def _framed(
        self, holder: Any, url: Any, known: tuple[Any, _Proof, Frame] | None, *, is_resource: bool
    ) -> tuple[_Proof | None, Frame]:
        """The frame of a resource or scope, and the immutable things that it was made of; None if some can change."""
        what = "resource" if is_resource else "scope"
        omitted = len(self.omitted)
        try:
            items = _items(holder)
        except _UNREADABLE as error:
            self.omitted.append(f"{what}: attributes are not a readable mapping: {error}")
            items = {}
        proof = _proof(holder, url, items)
        if known is not None and len(self.omitted) == omitted and _unchanged(known[1], proof):
            return known[1], known[2]
        frame = self._resource(holder, url, items) if is_resource else self._scope(holder, url, items)
        return (None if len(self.omitted) > omitted or can_change(items) else proof), frame

    def _resource(self, resource: Resource, url: str | None, items: dict[Any, Any]) -> Frame:
        encoded = self._attributes(resource, items, self._form.resource_attributes)
        return self._form.resource(encoded, self._text(resource, "schema_url", resource.schema_url or url))

    def _scope(self, scope: InstrumentationScope | None, url: str | None, items: dict[Any, Any]) -> Frame:
        if scope is None:  # in hand-made data
            return self._form.scope(None, self._text(scope, "schema_url", url))
        encoded = self._attributes(scope, items, self._form.scope_attributes)
        texts = self._text(scope, "name", scope.name), self._text(scope, "version", scope.version)
        return self._form.scope((*texts, encoded), self._text(scope, "schema_url", scope.schema_url or url))

    def _attributes(self, holder: Any, items: dict[Any, Any], writer: AttributeWriter) -> bytes:
        try:
            return writer.of(items)
        except UnencodableError:
            pass  # attribute by attribute below
        good = {}
        for key, value in items.items():
            try:
                writer.of({key: value})
            except UnencodableError as error:
                self.omitted.append(f"{_named(holder)}: {error}")
            else:
                good[key] = value
        return writer.of(good)

    def _text(self, holder: Any, what: str, text: str | None) -> str:
        if not text:
            return ""
        try:
            utf8(text)
        except UnencodableError as error:
            self.omitted.append(f"{_named(holder)}: {what}: {error}")
            return ""
        return text


def surroundings_of(metrics: MetricsData, form: Format, old: Surroundings | None, *, trusted: bool) -> Surroundings:
    """The resources and scopes around metrics: those of the last encoding if they are still the same."""
    return old if old and old.still_hold(metrics, trusted=trusted) else Surroundings(metrics, form, old)


def _parts(metrics: MetricsData) -> tuple[list[Any], list[str], list[int]]:
    """The resources and then the scopes, their schema URLs, and the number of scopes and metrics within."""
    resources = metrics.resource_metrics
    scopes = list(chain.from_iterable([resource.scope_metrics for resource in resources]))
    return (
        [*[each.resource for each in resources], *[each.scope for each in scopes]],
        [*[each.schema_url for each in resources], *[each.schema_url for each in scopes]],
        [*[len(each.scope_metrics) for each in resources], *[len(each.metrics) for each in scopes]],
    )


def _named(holder: Any) -> str:  # a resource, a scope or None
    """The name of a resource or scope in messages."""
    if holder is None:
        return "scope"
    return f"scope {short(holder.name)}" if hasattr(holder, "name") else "resource"


def _items(holder: Any) -> dict[Any, Any]:  # a resource, a scope or None
    return {} if holder is None else items_of(holder.attributes)


def _proof(holder: Any, url: object, items: dict[Any, Any]) -> _Proof:  # a resource, a scope or None
    if type(holder) is Resource:
        return holder.schema_url, url, *items, *items.values()
    if type(holder) is InstrumentationScope:
        return holder.name, holder.version, holder.schema_url, url, *items, *items.values()
    names = [getattr(holder, name, None) for name in ("name", "version", "schema_url")]
    return type(holder), *names, url, *items, *items.values()


def _unchanged(old: _Proof, new: _Proof) -> bool:
    """True if these are the same immutable things, or equal texts."""
    if len(old) != len(new):
        return False
    return all(map(is_, old, new)) or all(
        one is other or (type(one) is str and type(other) is str and one == other)
        for one, other in zip(old, new, strict=True)
    )
