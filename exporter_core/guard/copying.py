"""A copy of a batch that shares nothing changeable with it, for exporters that are not trusted to leave it alone.

The SDK hands out its own attribute mappings: an exporter that changes one changes the application's metrics from then
on. Copying costs about as much as a cheap export, so it is opt-in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData


def copy_metrics(metrics: MetricsData) -> MetricsData:
    """Return a deep copy of everything that could be changed in place."""
    copied: MetricsData = _copied(metrics)
    return copied


def _copied(value: Any) -> Any:  # Any: walks values of every type that a batch can hold
    if isinstance(value, Resource):
        return Resource(_copied(dict(value.attributes)), value.schema_url)
    if isinstance(value, InstrumentationScope):
        attributes = None if value.attributes is None else _copied(dict(value.attributes))
        return InstrumentationScope(value.name, value.version, value.schema_url, attributes)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _copied(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(item) for item in value)
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return value
