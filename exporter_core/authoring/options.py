"""Parts of option models: keys that may be null, and times in milliseconds."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

from pydantic import ConfigDict, Field, model_validator

from exporter_core.exporter import ExporterConfig

_LONGEST: Final = 9_223_372_036_000  # milliseconds that a thread can wait at most

Milliseconds = Annotated[int, Field(strict=True, ge=0, le=_LONGEST)]
"""A time, 0 included, which often stands for no limit."""
Interval = Annotated[int, Field(strict=True, gt=0, le=_LONGEST)]
"""Milliseconds, more than 0."""


def _or_null(schema: dict[str, Any]) -> None:  # Any: JSON
    """Let every optional key be null in the JSON Schema, as OpenTelemetry's schema does."""
    for name, option in schema.get("properties", {}).items():
        if name in schema.get("required", ()) or {"type": "null"} in option.get("anyOf", ()):
            continue
        kept = {key: option.pop(key) for key in ("description", "default", "title") if key in option}
        schema["properties"][name] = {"anyOf": [*option.get("anyOf", [option]), {"type": "null"}], **kept}


class NullIsDefault(ExporterConfig):
    """Options of which each key with the value null counts as left out, as in OpenTelemetry's schema."""

    model_config: ClassVar[ConfigDict] = ConfigDict(json_schema_extra=_or_null)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:  # Any: what is to be validated
        if not isinstance(given, dict):
            return given
        required = {name for name, field in cls.model_fields.items() if field.is_required()}
        return {name: value for name, value in given.items() if value is not None or name in required}
