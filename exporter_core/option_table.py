"""A config model's options, read from its JSON Schema, and the Markdown table of them in plugin READMEs.

``python -m exporter_core.option_table exporter_core_sqlite:SqliteConfig`` prints one. A test of the plugin compares
its README with it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

__all__ = ["Option", "as_yaml", "option_table", "options", "plain"]

_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}
_PLAIN = re.compile(r"[A-Za-z_/][\w./-]*", re.ASCII)
_NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}  # of other types in YAML

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
    nullable: bool = False
    """True if it may be null."""
    example: Any = None
    """A value for a list of mappings, or of one item at least; else None (Any: JSON)."""


def option_table(model: type[BaseModel]) -> str:
    """Return the model's options as a Markdown table with a row each: name, type, default, description.

    Ends without a line break.
    """
    from exporter_core.option_schema import options_schema  # noqa: PLC0415 - imports pydantic

    header = ["| option | type | default | description |", "|---|---|---|---|"]
    return "\n".join([*header, *(_row(option) for option in options(options_schema(model)))])


def _row(option: Option) -> str:
    default = "none" if option.default in (None, [], {}) else f"`{plain(option.default)}`"
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
            description=" ".join((option.get("description") or _described(option, definitions)).split()),
            secret=_is_secret(option),
            nullable={"type": "null"} in option.get("anyOf", ()),
            example=_example(f"{prefix}{name}", option, definitions),
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
        words += f" of {_shape(option['items'], definitions)}"
    elif kind == "object" and isinstance(option.get("additionalProperties"), dict):
        words += f" to {_type(option['additionalProperties'], definitions)}"
    bounds = [text.format(plain(option[bound])) for bound, text in _BOUNDS.items() if bound in option]
    return re.sub(r"\b1 (character|item)s", r"1 \1", ", ".join([words, *bounds]))


def _shape(item: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Return the type of a list's items, of a mapping with its keys: ``{name: text, value: text (secret)}``."""
    keys = _resolved(item, definitions).get("properties")
    if not keys:
        return _type(item, definitions)
    return f"{{{', '.join(f'{key}: {_type(value, definitions)}' for key, value in keys.items())}}}"


def _example(name: str, option: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """Return an example for a list of mappings, or of one item at least; for another option None."""
    choice = _resolved(option, definitions)
    items = choice.get("items")
    if choice.get("type") != "array" or not items:
        return None
    keys = _resolved(items, definitions).get("properties")
    return [_sample(name, items, definitions)] if keys or choice.get("minItems") else None


def _sample(name: str, option: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """Return a value that the option of this name might have."""
    if option.get("examples"):
        return option["examples"][0]
    if _is_secret(option):
        return f"${{{re.sub(r'[^A-Z0-9]+', '_', name.upper())}}}"
    choice = _resolved(option, definitions)
    if "properties" in choice:
        required = choice.get("required") or choice["properties"]
        return {key: _sample(f"{name}.{key}", choice["properties"][key], definitions) for key in required}
    if "enum" in choice or "const" in choice:
        return choice.get("const", choice.get("enum", [None])[0])
    simple = {"integer": choice.get("minimum", 1), "number": choice.get("minimum", 1), "boolean": True, "array": []}
    return {} if choice.get("type") == "object" else simple.get(str(choice.get("type")), name.rpartition(".")[2])


def _is_secret(option: dict[str, Any]) -> bool:
    return any(choice.get("format") == "password" for choice in (option, *option.get("anyOf", ())))


def _resolved(option: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the option's own value: of the first alternative that is not null, behind its reference."""
    choice = next((choice for choice in option.get("anyOf", ()) if choice.get("type") != "null"), option)
    return definitions[_reference(choice)] if "$ref" in choice else choice


def _described(option: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Return the first paragraph that the option's own model says of itself."""
    texts = (definitions[reference].get("description", "") for reference in _references(option))
    return next((text.partition("\n\n")[0] for text in texts if text), "")


def _references(option: dict[str, Any]) -> list[str]:
    """Return the names of the definitions that the option's own value may be."""
    return [_reference(choice) for choice in (option, *option.get("anyOf", ())) if "$ref" in choice]


def _reference(option: dict[str, Any]) -> str:
    return str(option["$ref"]).rpartition("/")[2]


def plain(value: Any) -> str:
    """Return a JSON value in words: text as it is, the rest as JSON."""
    return value if isinstance(value, str) and value else json.dumps(value)


def as_yaml(value: Any) -> str:
    """Return a JSON value as YAML on one line; a reference to an environment variable stays one."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{as_yaml(key)}: {as_yaml(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_yaml, value))}]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


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
