"""The JSON Schema of an exporter's options, with secrets in its defaults masked, so that anybody may see it.

A default may come from the environment, or from the plugin author's own machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic.json_schema import DEFAULT_REF_TEMPLATE, GenerateJsonSchema

from exporter_core.masking import masker_for

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core.core_schema import CoreSchema

    from exporter_core.masking import Masker

# The values of a JSON Schema are Any: they are whatever JSON can hold.


def options_schema(model: type[BaseModel], *, ref_template: str = DEFAULT_REF_TEMPLATE) -> dict[str, Any]:
    """Return the model's schema; an option of a type that JSON Schema cannot express may be anything.

    Raises whatever the model's own code raises.
    """
    schema = model.model_json_schema(schema_generator=_Generator, ref_template=ref_template)
    _mask(schema, "")
    return schema


class _Generator(GenerateJsonSchema):
    """A generator that leaves out types that JSON cannot express, without a warning."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as in the base class

    def handle_invalid_for_json_schema(self, schema: CoreSchema, error_info: str) -> dict[str, Any]:  # noqa: ARG002 - the base's signature
        """Describe such an option as one that takes anything, instead of refusing the whole model."""
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
