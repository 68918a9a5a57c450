"""The JSON Schema of an exporter's options, fit to be shown to anybody: what is secret in its defaults is masked.

A default may come from the environment, or be what the author of a plugin uses at home.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic.json_schema import DEFAULT_REF_TEMPLATE, GenerateJsonSchema

from exporter_core.masking import masker_for

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core.core_schema import CoreSchema

    from exporter_core.masking import Masker

__all__ = ["options_schema"]

# The values of a JSON Schema are Any: they are whatever JSON can hold.


def options_schema(model: type[BaseModel], *, ref_template: str = DEFAULT_REF_TEMPLATE) -> dict[str, Any]:
    """The model's schema; an option of a type that JSON Schema cannot express may be anything.

    Raises whatever the model's own code raises.
    """
    schema = model.model_json_schema(schema_generator=_Generator, ref_template=ref_template)
    _mask(schema, "")
    return schema


class _Generator(GenerateJsonSchema):
    """Leaves out what JSON cannot express, without a warning."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as in the base class

    def handle_invalid_for_json_schema(self, schema: CoreSchema, error_info: str) -> dict[str, Any]:  # noqa: ARG002 - the base's signature
        """Describe such an option as one that takes anything, not the whole model as one that cannot be described."""
        return {}


def _mask(schema: object, name: str) -> None:
    """Mask, in place, defaults and examples in the schema of the option of this name."""
    if isinstance(schema, list):
        for item in schema:
            _mask(item, name)
    elif isinstance(schema, dict):
        for key, item in schema.items():
            if key in {"default", "examples"}:
                schema[key] = _masked(item, masker_for({name: item}))
            elif key in {"properties", "$defs"} and isinstance(item, dict):
                for inner, part in item.items():
                    _mask(part, inner)
            else:
                _mask(item, name)


def _masked(value: Any, masker: Masker) -> Any:
    if isinstance(value, str):
        return masker(value)
    if isinstance(value, list):
        return [_masked(item, masker) for item in value]
    if isinstance(value, dict):
        return {key: _masked(item, masker) for key, item in value.items()}
    return value
