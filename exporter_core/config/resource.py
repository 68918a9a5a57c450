"""The resource of a config file: checks of its attributes and detectors, and the SDK's object."""

from __future__ import annotations

import sys
from functools import partial
from importlib.metadata import entry_points
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from exporter_core.config.patterns import NameFilter
from exporter_core.config.settings import AttributeValue, ResourceSettings
from exporter_core.registry import run_plugin_code
from exporter_core.validation import unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.resources import Resource as SdkResource

    from exporter_core.config.findings import Findings
    from exporter_core.config.models import Resource

_DETECTOR_GROUP: Final = "opentelemetry_resource_detector"
_DETECTION_SECONDS: Final = 5.0

# Entry points behind the detectors that the configuration schema names. Its "host" covers host.* and os.*; its
# "service" is an instance id and OTEL_SERVICE_NAME.
_ENTRY_POINTS: Final = {"host": ("host", "os"), "service": ("service_instance",)}


def read_resource(resource: Resource, path: Sequence[str | int], findings: Findings) -> ResourceSettings:
    """Return the settings of a resource, and note its problems."""
    attributes = _attributes_list(resource.attributes_list or "", (*path, "attributes_list"), findings)
    for number, attribute in enumerate(resource.attributes):
        where = (*path, "attributes", number)
        if attribute.value is None:
            findings.warn(f": the attribute '{attribute.name}' has no value and is left out", where)
        else:
            attributes[attribute.name] = attribute.value
    detection = resource.detection
    installed = _installed_detectors() if detection.detectors else {}
    for number, component in enumerate(detection.detectors):
        _check_detector(component, installed, (*path, "detection/development", "detectors", number), findings)
    return ResourceSettings(
        attributes=attributes,
        schema_url=resource.schema_url or "",
        detectors=tuple(name for component in detection.detectors for name in component),
        included=tuple(detection.attributes.included),
        excluded=tuple(detection.attributes.excluded),
    )


def sdk_resource(settings: ResourceSettings, environ: Mapping[str, str]) -> SdkResource:
    """Return the SDK's resource: ``telemetry.sdk.*``, a default ``service.name``, detected and given attributes.

    Raises:
        SetupError: a detector failed, or took longer than 5 seconds.
    """
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - reading a file works without the SDK
    from opentelemetry.sdk.version import __version__ as sdk_version  # noqa: PLC0415

    executable = PurePath(sys.executable).name
    attributes: dict[str, Any] = {  # Any: the values that OpenTelemetry allows
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": sdk_version,
        "service.name": f"unknown_service:{executable}" if executable else "unknown_service",
    }
    kept = NameFilter(settings.included, settings.excluded)
    detected = _detected(settings.detectors, environ)
    attributes |= {name: value for name, value in detected.items() if name in kept}
    return Resource({**attributes, **settings.attributes}, settings.schema_url)


def _attributes_list(text: str, path: Sequence[str | int], findings: Findings) -> dict[str, AttributeValue]:
    """Return the attributes of ``key=value,key=value``, percent-decoded."""
    attributes: dict[str, AttributeValue] = {}
    for number, pair in enumerate(part.strip() for part in text.split(",")):
        name, equals, value = pair.partition("=")
        if equals and name.strip():
            attributes[name.strip()] = unquote(value.strip())
        elif pair:
            findings.error(f"item {number + 1} is not of the form name=value", path)
    return attributes


def _check_detector(
    component: Mapping[str, Any], installed: Mapping[str, Any], path: Sequence[str | int], findings: Findings
) -> None:
    """Check one entry of ``detectors``."""
    if len(component) != 1:
        findings.error(f"expected the name of one resource detector, not {len(component)}", path)
        return
    ((name, options),) = component.items()
    if options:
        findings.error("options of resource detectors are not supported; remove them", (*path, name))
    if any(entry not in installed for entry in _ENTRY_POINTS.get(name, (name,))):
        message = unknown(name, {"host", "process", "service"} | installed.keys(), what="resource detector")
        way_out = "" if message.endswith("?") else "; install the distribution that has it, or remove it"
        findings.error(message + way_out, (*path, name), of_key=True)


def _installed_detectors() -> dict[str, Any]:  # Any: an entry point, whose class differs between Python versions
    return {entry.name: entry for entry in entry_points(group=_DETECTOR_GROUP)}


def _detected(detectors: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:  # Any: attribute values
    """Return the attributes that the detectors find; one may ask the network, so each has a few seconds."""
    installed = _installed_detectors() if detectors else {}

    def detect(name: str) -> dict[str, Any]:  # Any: attribute values
        found: dict[str, Any] = {}
        for entry in _ENTRY_POINTS.get(name, (name,)):
            found.update(installed[entry].load()().detect().attributes)
        return found

    attributes: dict[str, Any] = {}
    for name in detectors:
        title = f"the resource detector '{name}'"
        attributes.update(run_plugin_code(partial(detect, name), title, _DETECTION_SECONDS, failed=" failed"))
        if name == "service" and environ.get("OTEL_SERVICE_NAME"):
            attributes["service.name"] = environ["OTEL_SERVICE_NAME"]
    return attributes
