"""A config model's options, read from its JSON Schema, and the Markdown table of them in plugin READMEs.

``python -m exporter_core.option_table exporter_core_sqlite:SqliteConfig`` prints one. A test of the plugin compares
its README with it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

__all__ = ["Option", "option_table", "options", "plain"]

_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
    "minLength": "length at least",
    "maxLength": "length at most",
    "minItems": "items at least",
    "maxItems": "items at most",
}

# The values of a JSON Schema are Any: they are whatever JSON can hold.


class Option(NamedTuple):
    """One option, in words."""

    name: str
    """The option's key; of an option in a nested model ``outer.inner``."""
    type: str
    """The values it accepts, such as ``integer, at least 1``; of a choice, its values in backticks."""
    required: bool
    default: Any
    """The default, None if it is required or has none (Any: JSON)."""
    description: str
    """One line."""
    secret: bool


def option_table(model: type[BaseModel]) -> str:
    """Return the model's options as a Markdown table with a row each: name, type, default, description.

    Ends without a line break.
    """
    from exporter_core.option_schema import options_schema  # noqa: PLC0415 - imports pydantic

    header = ["| option | type | default | description |", "|---|---|---|---|"]
    return "\n".join([*header, *(_row(option) for option in options(options_schema(model)))])


def _row(option: Option) -> str:
    default = "none" if option.default is None else f"`{plain(option.default)}`"
    cells = (f"`{option.name}`", option.type, "required" if option.required else default, option.description)
    return f"| {' | '.join(map(_cell, cells))} |"


def options(schema: dict[str, Any]) -> list[Option]:
    """Return the options that a model's JSON Schema describes, a nested model's right after its own option."""
    return list(_options(schema, schema.get("$defs", {}), "", ()))


def _options(
    schema: dict[str, Any], definitions: dict[str, Any], prefix: str, outer: tuple[str, ...]
) -> Iterator[Option]:
    required = schema.get("required", ())
    for name, option in schema.get("properties", {}).items():
        yield Option(
            name=f"{prefix}{name}",
            type=_type(option, definitions),
            required=name in required,
            default=None if name in required else option.get("default"),
            description=" ".join(option.get("description", "").split()),
            secret=any(choice.get("format") == "password" for choice in (option, *option.get("anyOf", ()))),
        )
        for reference in _references(option):
            nested = definitions[reference]
            if reference not in outer and "properties" in nested:  # a model may contain itself
                yield from _options(nested, definitions, f"{prefix}{name}.", (*outer, reference))


def _type(option: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Return the option's type in words, without the None that an optional one accepts."""
    if "$ref" in option:
        option = definitions[_reference(option)]
    if "anyOf" in option:
        return " or ".join(_type(choice, definitions) for choice in option["anyOf"] if choice.get("type") != "null")
    if "const" in option:
        return f"`{plain(option['const'])}`"
    if "enum" in option:
        return ", ".join(f"`{plain(value)}`" for value in option["enum"])
    kind = str(option.get("format", option.get("type", "any")))
    if kind == "uri":
        return "URL"  # its bounds are those of any URL
    words = {"string": "text", "password": "text (secret)", "object": "mapping", "array": "list"}.get(kind, kind)
    if kind == "array" and option.get("items"):
        words += f" of {_type(option['items'], definitions)}"
    elif kind == "object" and isinstance(option.get("additionalProperties"), dict):
        words += f" to {_type(option['additionalProperties'], definitions)}"
    bounds = [f"{text} {plain(option[bound])}" for bound, text in _BOUNDS.items() if bound in option]
    return ", ".join([words, *bounds])


def _references(option: dict[str, Any]) -> list[str]:
    """Return the names of the definitions that the option's own value may be."""
    return [_reference(choice) for choice in (option, *option.get("anyOf", ())) if "$ref" in choice]


def _reference(option: dict[str, Any]) -> str:
    return str(option["$ref"]).rpartition("/")[2]


def plain(value: Any) -> str:
    """Return a JSON value in words: text as it is, the rest as JSON."""
    return value if isinstance(value, str) and value else json.dumps(value)


def _cell(text: str) -> str:
    """Return the text on one line, with characters that would end the cell escaped."""
    return " ".join(text.split()).replace("|", "\\|")


def _main() -> None:
    import sys  # noqa: PLC0415 - of use to the command only
    from importlib import import_module  # noqa: PLC0415 - likewise

    module, separator, name = sys.argv[-1].partition(":")
    if len(sys.argv) != 2 or not separator:  # noqa: PLR2004 - the program and its one argument
        sys.exit("usage: python -m exporter_core.option_table MODULE:CONFIG_MODEL")
    print(option_table(getattr(import_module(module), name)))  # noqa: T201 - the command's output


if __name__ == "__main__":
    _main()
