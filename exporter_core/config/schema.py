"""JSON Schema of the config file, with the options of the installed exporters; for editors and other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from exporter_core.config.loader import OTHER_KEYS
from exporter_core.config.models import FileModel
from exporter_core.errors import SetupError
from exporter_core.option_schema import options_schema
from exporter_core.pull import IsReaderError
from exporter_core.registry import run_plugin_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

    from exporter_core.registry import ExporterRegistry

_SCHEMA_SECONDS: Final = 10.0  # for the code of one plugin's options


def json_schema(
    registry: ExporterRegistry, *, left_out: Callable[[SetupError], object] | None = None
) -> dict[str, Any]:
    """Return the schema (draft 2020-12) of the file after substitution, with each installed exporter's options.

    It imports the exporters. Those that cannot be loaded, or that the registry's policy forbids, are left out.

    Args:
        registry: the source of the exporters.
        left_out: called with the error of each exporter that is left out.
    """
    schema = _file_schema()
    definitions = schema["$defs"]
    entries = registry.entries()
    pushed = {"none", *(entry.name for entry in entries if not entry.pull)}
    pulled = {entry.name for entry in entries if entry.pull}

    def leave_out(name: str, error: SetupError) -> None:
        if isinstance(error.__cause__, IsReaderError):
            pulled.add(name)
        elif left_out is not None:
            left_out(error)

    for reader, names, kind in (("PeriodicReader", pushed, {}), ("PullReader", pulled, {"pull": True})):
        exporters: dict[str, Any] = {}  # Any: JSON
        for name in sorted(names):
            definition = f"{'pull ' if kind else ''}exporter {name}"
            try:
                options = _options_schema(registry.config_model(name, **kind), name, definition)
            except SetupError as error:
                leave_out(name, error)
                continue
            definitions.update(options.pop("$defs", {}))
            definitions[definition] = options
            exporters[name] = {"anyOf": [{"$ref": f"#/$defs/{_escaped(definition)}"}, {"type": "null"}]}
        definitions[reader]["properties"]["exporter"] = _exporter_schema(exporters)
    for name in ("MetricReader", "Aggregation"):
        definitions[name] |= {"minProperties": 1, "maxProperties": 1}
    schema["required"] = ["file_format"]
    for key, reason in OTHER_KEYS.items():
        schema["properties"][key] = {"description": f"Ignored: {reason}."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "exporter-core config file",
        "additionalProperties": True,
    }


def _file_schema() -> dict[str, Any]:  # Any: JSON
    schema = options_schema(FileModel)
    for part in (schema, *schema["$defs"].values()):
        for field in part.get("properties", {}).values():
            if field.get("default", ...) is None and "anyOf" not in field:
                del field["default"]  # it stands for "absent": null may not be written there
    return schema


def _exporter_schema(exporters: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Return the schema of a reader's exporter: one of these, or one that is not installed."""
    return {
        "description": "The exporter's name with its options.",
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "properties": exporters,
        "additionalProperties": {"type": ["object", "null"]},
    }


def _options_schema(model: type[BaseModel], name: str, definition: str) -> dict[str, Any]:  # Any: JSON
    """Return the schema of an exporter's options, its definitions under names that no other exporter's have.

    Raises:
        PluginLoadError: the model's own code failed, or took too long.
    """
    template = f"#/$defs/{_escaped(definition)}.{{model}}"
    schema = run_plugin_code(
        lambda: options_schema(model, ref_template=template),
        f"exporter {name!r}",
        _SCHEMA_SECONDS,
        failed=": its options have no JSON Schema",
    )
    inner = schema.pop("$defs", {})
    return {**schema, "$defs": {f"{definition}.{key}": value for key, value in inner.items()}}


def _escaped(text: str) -> str:
    """Escape a text for a JSON pointer in a URI fragment."""
    return text.replace("~", "~0").replace("/", "~1").replace("%", "%25").replace(" ", "%20")
