import sys
import threading
import types
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from exporter_core.config import ResourceSettings, parse_config, resource as module, sdk_resource
from exporter_core.errors import ConfigError, SetupError


@pytest.fixture
def read(registry, minimal) -> Callable[[dict[str, Any]], ResourceSettings]:
    return lambda resource: parse_config(minimal(resource=resource), registry=registry).resource


@pytest.fixture
def faults(read) -> Callable[[dict[str, Any]], list[str]]:
    def faults(resource: dict[str, Any]) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(resource)
        return [str(problem) for problem in caught.value.problems]

    return faults


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (None, "x", "x"),
        ("string", "x", "x"),
        ("bool", True, True),
        ("int", 5, 5),
        ("double", 5, 5.0),
        ("double", 5.5, 5.5),
        ("string_array", ["a", "b"], ["a", "b"]),
        ("bool_array", [True, False], [True, False]),
        ("int_array", [1, 2], [1, 2]),
        ("double_array", [1, 2.5], [1.0, 2.5]),
    ],
)
def test_an_attribute_has_the_type_that_it_says(read, kind: str | None, value: object, expected: object) -> None:
    attribute = {"name": "a", "value": value, **({"type": kind} if kind else {})}
    result = read({"attributes": [attribute]}).attributes
    assert repr(result) == repr({"a": expected})


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (None, 1, "expected a string for the type string, not a number; put quotes around it, or give its `type`"),
        (None, True, "expected a string for the type string, not a boolean; put quotes around it, or give its `type`"),
        ("string", 1, "expected a string for the type string, not a number"),
        ("bool", 1, "expected true or false for the type bool, not a number"),
        ("int", True, "expected an integer for the type int, not a boolean"),
        ("int", 1.5, "expected an integer for the type int, not a number"),
        ("int", 2**63, "expected an integer of 64 bits"),
        ("double", "1", "expected a number for the type double, not a string"),
        ("double", 10**400, "expected a number that fits into 64 bits"),
        ("int", [1], "expected an integer for the type int, not a list"),
        ("int_array", [], "expected at least one item"),
        ("int_array", 1, "expected a list for the type int_array, not a number"),
        ("int_array", ["a"], "expected a list in which every item is an integer, for the type int_array"),
        ("string_array", [1], "expected a list in which every item is a string, for the type string_array"),
    ],
)
def test_a_value_of_another_type_is_an_error(faults, kind: str | None, value: object, message: str) -> None:
    attribute = {"name": "a", "value": value, **({"type": kind} if kind else {})}
    assert faults({"attributes": [attribute]}) == [f"resource.attributes[0].value: {message}"]


def test_the_attributes_list_is_percent_decoded_and_weaker(read) -> None:
    settings = read(
        {"attributes_list": "a=1, b = x%20y ,c=p=q,,d=", "attributes": [{"name": "a", "value": "2"}], "schema_url": "u"}
    )
    assert settings.attributes == {"a": "2", "b": "x y", "c": "p=q", "d": ""}
    assert settings.schema_url == "u"


def test_an_item_of_the_attributes_list_without_a_name_or_value_is_an_error(faults) -> None:
    assert faults({"attributes_list": "a=1,b,=c"}) == [
        "resource.attributes_list: item 2 is not of the form name=value",
        "resource.attributes_list: item 3 is not of the form name=value",
    ]


def test_detection_is_read(read) -> None:
    detection = {
        "attributes": {"included": ["process.*"], "excluded": ["process.command*"]},
        "detectors": [{"process": None}, {"host": {}}, {"service": None}, {"otel": None}],
    }
    settings = read({"detection/development": detection})
    assert settings.detectors == ("process", "host", "service", "otel")
    assert (settings.included, settings.excluded) == (("process.*",), ("process.command*",))


def test_a_detector_that_is_not_installed_or_has_options_is_an_error(faults) -> None:
    prefix = "resource.detection/development.detectors"
    container, proces, process, two = faults(
        {
            "detection/development": {
                "detectors": [
                    {"container": None},
                    {"proces": None},
                    {"process": {"x": 1}},
                    {"host": None, "process": None},
                ]
            }
        }
    )
    assert container.startswith(f"{prefix}[0].container: unknown resource detector 'container'")
    assert proces.startswith(f"{prefix}[1].proces: unknown resource detector 'proces'; did you mean 'process'?")
    assert proces.endswith("?")
    assert process == f"{prefix}[2].process: options of resource detectors are not supported; remove them"
    assert two == f"{prefix}[3]: expected the name of one resource detector, not 2"


def test_the_resource_has_what_every_resource_has() -> None:
    resource = sdk_resource(ResourceSettings(), {})
    assert isinstance(resource, Resource)
    assert resource.attributes["telemetry.sdk.language"] == "python"
    assert resource.attributes["telemetry.sdk.name"] == "opentelemetry"
    assert str(resource.attributes["service.name"]).startswith("unknown_service:")
    assert resource.schema_url == ""


def test_given_attributes_are_stronger_than_detected_ones() -> None:
    settings = ResourceSettings({"service.name": "mine"}, "https://x", ("service",))
    resource = sdk_resource(settings, {"OTEL_SERVICE_NAME": "other"})
    assert resource.attributes["service.name"] == "mine"
    assert resource.attributes["service.instance.id"]
    assert resource.schema_url == "https://x"
    assert (
        sdk_resource(ResourceSettings(detectors=("service",)), {"OTEL_SERVICE_NAME": "x"}).attributes["service.name"]
        == "x"
    )


def test_detected_attributes_are_filtered() -> None:
    settings = ResourceSettings(detectors=("process",), included=("process.*",), excluded=("process.command*",))
    names = {name for name in sdk_resource(settings, {}).attributes if name.startswith("process")}
    assert "process.pid" in names
    assert not any(name.startswith("process.command") for name in names)
    assert not any(name.startswith("process.") for name in sdk_resource(ResourceSettings(), {}).attributes)


def test_the_environment_does_not_change_the_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "a=b")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "c")
    attributes = sdk_resource(ResourceSettings(), {}).attributes
    assert "a" not in attributes
    assert attributes["service.name"] != "c"


class Failing:
    def detect(self) -> None:
        raise SystemExit("no")


class Hanging:
    gate = threading.Event()

    def detect(self) -> types.SimpleNamespace:
        self.gate.wait(60)
        return types.SimpleNamespace(attributes={})


@pytest.fixture
def detectors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two installed detectors that misbehave."""
    Hanging.gate.clear()
    fake = types.ModuleType("exporter_core_test_detectors")
    vars(fake).update(Failing=Failing, Hanging=Hanging)
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    group = "opentelemetry_resource_detector"
    entries = EntryPoints(
        [EntryPoint(name.lower(), f"{fake.__name__}:{name}", group) for name in ("Failing", "Hanging")]
    )
    monkeypatch.setattr(module, "entry_points", lambda group: entries.select(group=group))
    yield
    Hanging.gate.set()


@pytest.mark.usefixtures("detectors")
def test_a_detector_that_fails_is_an_error_that_names_it() -> None:
    with pytest.raises(SetupError, match="the resource detector 'failing' failed: SystemExit: no"):
        sdk_resource(ResourceSettings(detectors=("failing",)), {})


@pytest.mark.usefixtures("detectors")
def test_a_detector_that_hangs_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DETECTION_SECONDS", 0.05)
    with pytest.raises(SetupError, match=r"the resource detector 'hanging' failed: it did not end within 0.05 s"):
        sdk_resource(ResourceSettings(detectors=("hanging",)), {})
