"""The resources and scopes around the metrics of a request, encoded anew only where they have changed."""

from __future__ import annotations

from itertools import chain
from operator import is_
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core.otlp.attributes import can_change
from exporter_core.otlp.request import Level
from exporter_core.otlp.wire import UnencodableError, short, utf8

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.otlp.attributes import AttributeWriter
    from exporter_core.otlp.formats import Format
    from exporter_core.otlp.request import Frame

_UNREADABLE = (AttributeError, TypeError, ValueError)
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
        proofs: list[_Proof | None] = []
        parts = zip(self._holders, self._urls, self._counts, strict=True)
        for place, (holder, url, count) in enumerate(parts):
            is_resource = place < len(metrics.resource_metrics)
            proof, frame = self._framed(holder, url, known.get(id(holder)), is_resource=is_resource)
            levels.append(Level(frame, count))
            proofs.append(proof)
            if proof is not None:
                self._frames[id(holder)] = holder, proof, frame
        self._proofs = proofs
        # Nothing but the attributes' own values could change in these, and those were looked at.
        self._sealed = None not in proofs and {Resource, InstrumentationScope}.issuperset(map(type, self._holders))
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
        return all(
            proof is not None and _unchanged(proof, _proof(holder, url, _items(holder)))
            for holder, url, proof in zip(holders, urls, self._proofs, strict=True)
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
        encoded = self._attributes("resource", items, self._form.resource_attributes)
        return self._form.resource(encoded, self._text("resource: schema_url", resource.schema_url or url))

    def _scope(self, scope: InstrumentationScope | None, url: str | None, items: dict[Any, Any]) -> Frame:
        if scope is None:  # in hand-made data
            return self._form.scope(None, self._text("scope: schema_url", url))
        what = f"scope {short(scope.name)}"
        encoded = self._attributes(what, items, self._form.scope_attributes)
        texts = self._text(f"{what}: name", scope.name), self._text(f"{what}: version", scope.version)
        return self._form.scope((*texts, encoded), self._text("scope: schema_url", scope.schema_url or url))

    def _attributes(self, what: str, items: dict[Any, Any], writer: AttributeWriter) -> bytes:
        try:
            return writer.of(items)
        except UnencodableError:
            pass  # attribute by attribute below
        good = {}
        for key, value in items.items():
            try:
                writer.of({key: value})
            except UnencodableError as error:
                self.omitted.append(f"{what}: {error}")
            else:
                good[key] = value
        return writer.of(good)

    def _text(self, what: str, text: str | None) -> str:
        try:
            if text:
                utf8(text)
        except UnencodableError as error:
            self.omitted.append(f"{what}: {error}")
            return ""
        return text or ""


def _parts(metrics: MetricsData) -> tuple[list[Any], list[str], list[int]]:
    """The resources and then the scopes, their schema URLs, and the number of scopes and metrics within."""
    resources = metrics.resource_metrics
    scopes = list(chain.from_iterable([resource.scope_metrics for resource in resources]))
    return (
        [*[each.resource for each in resources], *[each.scope for each in scopes]],
        [*[each.schema_url for each in resources], *[each.schema_url for each in scopes]],
        [*[len(each.scope_metrics) for each in resources], *[len(each.metrics) for each in scopes]],
    )


def _items(holder: Any) -> dict[Any, Any]:  # a resource, a scope or None
    attributes: Any = None if holder is None else holder.attributes
    # The SDK's own mappings are copied at once, but read one item at a time.
    return dict(attributes.copy() if type(attributes) is BoundedAttributes else attributes or {})


def _proof(holder: Any, url: object, items: dict[Any, Any]) -> _Proof:  # a resource, a scope or None
    if type(holder) is Resource:
        return holder.schema_url, url, *items, *items.values()
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
