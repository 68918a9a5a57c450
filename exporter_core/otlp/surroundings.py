"""The resources and scopes around the metrics of a request, encoded anew only where they have changed."""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core.otlp.attributes import can_change, items_of
from exporter_core.otlp.request import Level
from exporter_core.otlp.wire import UnencodableError, short, utf8

if TYPE_CHECKING:
    from collections.abc import Callable

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
        self.resources: list[Level] = []
        self.scopes: list[Level] = []
        self._holders, self._around = _parts(metrics)
        # False if something can change unseen: in others than these, or within an attribute's value.
        self._sealed = _SEALED.issuperset(map(type, self._holders))
        # By identity, with the holder so that the identity stays its own, and what the frame was made of.
        self._frames: dict[int, tuple[Any, _Proof, Frame]] = {}
        self._proofs: list[_Proof] = []
        known = old._frames if old else {}
        for resource in metrics.resource_metrics:
            frame = self._framed(resource.resource, resource.schema_url, known, self._resource)
            self.resources.append(Level(frame, len(resource.scope_metrics)))
            for scope in resource.scope_metrics:
                frame = self._framed(scope.scope, scope.schema_url, known, self._scope)
                self.scopes.append(Level(frame, len(scope.metrics)))

    def still_hold(self, metrics: MetricsData, *, trusted: bool) -> bool:
        """True if these metrics have the same resources and scopes around them, each with as many below it."""
        holders, around = _parts(metrics)
        if not self._sealed or around != self._around or not all(map(is_, holders, self._holders)):
            return False
        if trusted:
            return True
        for holder, old in zip(holders, self._proofs, strict=True):
            new = _proof(holder, items_of(holder.attributes))
            if len(new) != len(old) or not all(map(is_, new, old)):
                return False
        return True

    def _framed(
        self,
        holder: Any,  # a resource, a scope or None
        url: Any,
        known: dict[int, tuple[Any, _Proof, Frame]],
        write: Callable[[Any, Any, dict[Any, Any]], Frame],
    ) -> Frame:
        """The frame of a resource or scope; what it was made of is kept, but for what can change unseen."""
        omitted = len(self.omitted)
        try:
            items = _items(holder)
        except _UNREADABLE as error:
            what = "resource" if write == self._resource else "scope"
            self.omitted.append(f"{what}: attributes are not a readable mapping: {error}")
            items = {}
        proof = url, *_proof(holder, items)
        old = known.get(id(holder))
        if old is not None and len(self.omitted) == omitted and _unchanged(old[1], proof):
            frame = old[2]
        else:
            frame = write(holder, url, items)
        if len(self.omitted) > omitted or can_change(items):
            self._sealed = False
        else:
            self._frames[id(holder)] = holder, proof, frame
        self._proofs.append(proof[1:])
        return frame

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


def _parts(metrics: MetricsData) -> tuple[list[Any], list[Any]]:
    """The resources, each followed by its scopes; and the schema URL of each with the number of scopes or metrics."""
    holders: list[Any] = []
    around: list[Any] = []
    for resource in metrics.resource_metrics:
        holders.append(resource.resource)
        around += resource.schema_url, len(resource.scope_metrics)
        for scope in resource.scope_metrics:
            holders.append(scope.scope)
            around += scope.schema_url, len(scope.metrics)
    return holders, around


def _named(holder: Any) -> str:  # a resource, a scope or None
    """The name of a resource or scope in messages."""
    if holder is None:
        return "scope"
    return f"scope {short(holder.name)}" if hasattr(holder, "name") else "resource"


def _items(holder: Any) -> dict[Any, Any]:  # a resource, a scope or None
    return {} if holder is None else items_of(holder.attributes)


def _proof(holder: Any, items: dict[Any, Any]) -> _Proof:  # a resource, a scope or None
    if type(holder) is Resource:
        return holder.schema_url, *items, *items.values()
    if type(holder) is InstrumentationScope:
        return holder.name, holder.version, holder.schema_url, *items, *items.values()
    names = [getattr(holder, name, None) for name in ("name", "version", "schema_url")]
    return type(holder), *names, *items, *items.values()


def _unchanged(old: _Proof, new: _Proof) -> bool:
    """True if these are the same immutable things, or equal texts."""
    if len(old) != len(new):
        return False
    return all(map(is_, old, new)) or all(
        one is other or (type(one) is str and type(other) is str and one == other)
        for one, other in zip(old, new, strict=True)
    )
