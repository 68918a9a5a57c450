"""Parts of option models: keys that may be null, and times in milliseconds."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from exporter_core.exporter import ExporterConfig
from exporter_core.validation import stated, whole_milliseconds

_LONGEST: Final = 9_223_372_036_000  # milliseconds that a thread can wait at most


Milliseconds = Annotated[int, Field(ge=0, le=_LONGEST), BeforeValidator(whole_milliseconds)]
"""A time, 0 included, which often stands for no limit."""
Interval = Annotated[int, Field(gt=0, le=_LONGEST), BeforeValidator(whole_milliseconds)]
"""Milliseconds, more than 0."""


def _octal(text: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise stated('expected an octal mode in quotes, such as "0640"')
    return text


FileMode = Annotated[str, AfterValidator(_octal)]
"""The permissions of a file that is created, as ``chmod`` takes them: ``int(mode, 8)`` is what the system takes."""


def _or_null(schema: dict[str, Any]) -> None:  # Any: JSON
    """Let every optional key be null in the JSON Schema, as OpenTelemetry's schema does."""
    for name, option in schema.get("properties", {}).items():
        if name in schema.get("required", ()) or {"type": "null"} in option.get("anyOf", ()):
            continue
        kept = {key: option.pop(key) for key in ("description", "default", "title") if key in option}
        schema["properties"][name] = {"anyOf": [*option.get("anyOf", [option]), {"type": "null"}], **kept}


class NullIsDefault(ExporterConfig):
    """Options of which each key with the value null counts as left out, as in OpenTelemetry's schema."""

    model_config: ClassVar[ConfigDict] = ConfigDict(json_schema_extra=_or_null, use_attribute_docstrings=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:  # Any: what is to be validated
        if not isinstance(given, dict):
            return given
        required = {name for name, field in cls.model_fields.items() if field.is_required()}
        return {name: value for name, value in given.items() if value is not None or name in required}
