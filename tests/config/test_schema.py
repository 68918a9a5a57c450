import copy
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st
from pydantic import ValidationError

from exporter_core.config import json_schema, load_config, parse_config
from exporter_core.config.loader import OTHER_KEYS
from exporter_core.config.models import FileModel
from exporter_core.config.yaml import parse
from exporter_core.errors import ConfigError
from exporter_core.instruments import NO_CARDINALITY_LIMITS
from exporter_core.registry import ExporterRegistry

OFFICIAL = jsonschema.Draft202012Validator(
    json.loads((resources.files("opentelemetry.configuration") / "schema.json").read_text(encoding="utf-8"))
)

# Everything of the two parts that can be said; exporters are named that the official schema does not know.
WHOLE: dict[str, Any] = {
    "file_format": "1.1",
    "disabled": False,
    "resource": {
        "attributes": [
            {"name": "a", "value": "x", "type": "string"},
            {"name": "b", "value": [1, 2], "type": "int_array"},
        ],
        "attributes_list": "c=d",
        "schema_url": "https://x",
        "detection/development": {
            "attributes": {"included": ["process.*"], "excluded": ["process.command"]},
            "detectors": [{"process": None}, {"host": {}}],
        },
    },
    "meter_provider": {
        "readers": [
            {
                "periodic": {
                    "interval": 1000,
                    "timeout": 0,
                    "max_export_batch_size/development": 10,
                    "exporter": {"sqlite": {"path": "x"}},
                    "cardinality_limits": {"default": 10, "counter": 5, "observable_gauge": None},
                }
            },
            {"periodic": {"exporter": {"none": None}}},
            {"pull": {"exporter": {"pulled": {"path": "x"}}, "cardinality_limits": {"default": 10}}},
        ],
        "views": [
            {
                "selector": {"instrument_name": "a", "instrument_type": "histogram", "unit": "s", "meter_name": "m"},
                "stream": {
                    "name": "n",
                    "description": "d",
                    "aggregation": {"explicit_bucket_histogram": {"boundaries": [1, 2.5], "record_min_max": True}},
                    "aggregation_cardinality_limit": 7,
                    "attribute_keys": {"included": ["k"]},
                },
            },
            {
                "selector": {"meter_version": "1", "meter_schema_url": "u"},
                "stream": {"aggregation": {"base2_exponential_bucket_histogram": {"max_scale": 1, "max_size": 9}}},
            },
            {"selector": {"unit": "s"}, "stream": {"aggregation": {"drop": None}}},
        ],
        "exemplar_filter": "always_on",
        "meter_configurator/development": {
            "default_config": {"enabled": True},
            "meters": [{"name": "a", "config": {"enabled": True}}],
        },
    },
}
VALUES: list[Any] = [None, True, 0, 1, -1, 21, 2.5, "", "x", "1", "histogram", [], ["x"], [1], [None], {}, {"x": None}]


def paths(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path inside a value, the root left out."""
    found = [path] if path else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in children:
        found += paths(item, (*path, key))
    return found


PATHS = [path for path in paths(WHOLE) if path != ("file_format",)]
changes = st.tuples(
    st.sampled_from(PATHS), st.sampled_from(["replace", "delete", "add", "rename"]), st.sampled_from(VALUES)
)


def changed(changes: list[tuple[tuple[Any, ...], str, Any]]) -> dict[str, Any]:
    """The whole config with some places changed; a change whose place is gone does nothing."""
    config = copy.deepcopy(WHOLE)
    for path, kind, value in changes:
        parent: Any = config
        try:
            for part in path[:-1]:
                parent = parent[part]
            current = parent[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue
        if kind == "replace":
            parent[path[-1]] = copy.deepcopy(value)
        elif kind == "delete":
            del parent[path[-1]]
        elif isinstance(current, dict):
            current["extra" if kind == "add" else "unit"] = copy.deepcopy(value)
        elif isinstance(current, list):
            current.append(copy.deepcopy(value))
    return config


@pytest.fixture
def ours(registry) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json_schema(registry))


def test_the_whole_config_is_sound(registry) -> None:
    OFFICIAL.validate(WHOLE)
    assert len(parse_config(WHOLE, registry=registry).readers) == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(changes, min_size=1, max_size=2))
def test_what_the_official_schema_refuses_is_refused(registry, changes: list[Any]) -> None:
    config = changed(changes)
    if not OFFICIAL.is_valid(config):
        with pytest.raises(ConfigError):
            parse_config(config, registry=registry)


@given(st.lists(changes, min_size=1, max_size=2))
def test_the_models_accept_what_the_official_schema_accepts(changes: list[Any]) -> None:
    config = changed(changes)
    if not OFFICIAL.is_valid(config):
        return
    try:
        FileModel.model_validate({key: value for key, value in config.items() if key in FileModel.model_fields})
    except ValidationError as error:
        # Beyond the schema's keywords: what its text says of attribute values, and an interval of 0.
        for one in error.errors():
            assert one["loc"][-1] in {"value", "interval"}, one


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(changes, min_size=1, max_size=2))
def test_our_schema_accepts_what_loads(registry, ours: jsonschema.Draft202012Validator, changes: list[Any]) -> None:
    config = changed(changes)
    try:
        parse_config(config, registry=registry)
    except ConfigError:
        return
    ours.validate(config)


def test_our_schema_is_a_sound_schema(registry) -> None:
    schema = json_schema(registry)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_our_schema_knows_the_options_of_each_installed_exporter(registry, minimal) -> None:
    validator = jsonschema.Draft202012Validator(json_schema(registry))

    def errors(exporter: Any) -> list[str]:
        config = minimal()
        config["meter_provider"]["readers"][0]["periodic"]["exporter"] = exporter
        return [error.message for error in validator.iter_errors(config)]

    assert errors({"sqlite": {"path": "x", "tls": {"ca_file": "y"}}}) == []
    assert errors({"otlp_file/development": {"tls": {"ca_file": "y"}}}) == []
    assert errors({"dist:other": {"anything": 1}}) == []
    assert errors({"console": None}) == []
    assert errors({"sqlite": {"pth": "x"}})
    assert errors({"sqlite": {"tls": {}}})
    assert errors({"otlp_file/development": {"mode": "slow"}})
    assert errors({"console": None, "sqlite": None})
    assert errors({})


def test_our_schema_describes_every_option(registry) -> None:
    definitions = json_schema(registry)["$defs"]
    assert definitions["exporter sqlite"]["properties"]["path"]["description"] == "Where to write."
    own = ["PeriodicReader", "ExporterOptions", "Plugins", "CoreSection", "ViewStream", "ViewSelector", "Resource"]
    for name in own:
        for key, field in definitions[name]["properties"].items():
            target = definitions.get(field.get("$ref", "").rpartition("/")[2], {})
            assert field.get("description") or target.get("description"), (name, key)
            assert "null" in json.dumps(field) or field.get("default", ...) is not None, (name, key)


def test_an_exporter_that_cannot_be_loaded_is_left_out(registry) -> None:
    properties = json_schema(registry)["$defs"]["PeriodicReader"]["properties"]["exporter"]["properties"]
    assert set(properties) == {"console", "needy", "none", "otlp_file/development", "sqlite"}


def test_every_top_level_key_of_the_official_schema_is_known() -> None:
    assert set(OFFICIAL.schema["properties"]) <= {*OTHER_KEYS, *FileModel.model_fields}


@pytest.mark.parametrize("key", sorted(OTHER_KEYS))
def test_keys_that_are_ignored_are_in_our_schema(registry, key: str) -> None:
    assert "Ignored" in json_schema(registry)["properties"][key]["description"]


@pytest.fixture(scope="module")
def of_the_installed() -> jsonschema.Draft202012Validator:
    """Our schema, with the options of the exporters that are installed."""
    return jsonschema.Draft202012Validator(json_schema(ExporterRegistry()))


EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


def test_there_are_examples() -> None:
    assert {"console.yaml", "sqlite.yaml", "two-readers.yaml"} <= {path.name for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_fits_the_official_schema_and_ours_and_loads(path: Path, of_the_installed) -> None:
    data = parse(path.read_text(encoding="utf-8"), source=path.name, environ={}).root.data()
    OFFICIAL.validate(data)
    of_the_installed.validate(data)
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)
    variables = re.findall(r"\$\{(\w+)\}", path.read_text(encoding="utf-8"))
    config = load_config(path, environ=dict.fromkeys(variables, "value"))
    assert config.readers
    limits = ("cardinality_limits",) if NO_CARDINALITY_LIMITS else ()  # which the installed SDK does not have
    here = ("ca_file", "cert_file", "key_file", *limits)  # files that this machine does not have
    assert [warning for warning in config.warnings if warning.path[-1] not in here] == []
