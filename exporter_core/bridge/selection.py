"""Makes exporter classes with options of the entry points in the group ``opentelemetry_metrics_exporter``.

The SDK's exporters have no model of their options, so one is made from the signature of the class or factory that
builds them, which is called with the options as keyword arguments.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Final, get_args, get_origin, get_type_hints

from opentelemetry.sdk.metrics.export import MetricReader
from pydantic import ConfigDict, Field, PydanticUserError, TypeAdapter, create_model
from pydantic.errors import PydanticSchemaGenerationError

from exporter_core.bridge.inbound import SDK_OPERATIONS, InboundExporter
from exporter_core.discovery.entries import EXPORTER_PREFIX, SUPPORTED_CONTRACT
from exporter_core.errors import ContractError
from exporter_core.exporter import Exporter, ExporterConfig
from exporter_core.masking import masker_for
from exporter_core.pull import IsReaderError

if TYPE_CHECKING:
    from collections.abc import Callable

_Kind = inspect.Parameter
_ONE_PASS: Final = (Iterable, Iterator, Generator)  # pydantic makes a value of these that can be gone through once


class SdkOptions(ExporterConfig):
    """Options of an exporter of the SDK."""

    model_config: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=False, populate_by_name=False)

    def arguments(self) -> dict[str, Any]:
        """Return the options that were given, by the names of the parameters (Any: theirs)."""
        fields = type(self).model_fields
        given = {fields[name].alias or name: getattr(self, name) for name in self.model_fields_set & fields.keys()}
        return {**(self.model_extra or {}), **given}


def inbound_class(target: object) -> type[InboundExporter]:
    """Return an exporter class with a ``config_model``, whose instances build and bridge one exporter of the SDK.

    Args:
        target: a ``MetricExporter`` class, or a function that returns such an exporter.

    Raises:
        ContractError: it is neither.
    """
    build = _checked(target)
    model = options_model(build)

    class Bridged(InboundExporter):
        config_model: ClassVar[type[ExporterConfig]] = model

        def __init__(self, config: SdkOptions) -> None:
            super().__init__(build(**config.arguments()), masker=masker_for(config))

    Bridged.__doc__ = inspect.getdoc(build) if isinstance(getattr(build, "__doc__", None), str) else None
    Bridged.__module__ = str(getattr(build, "__module__", Bridged.__module__))
    Bridged.__name__ = str(getattr(build, "__name__", Bridged.__name__))
    Bridged.__qualname__ = str(getattr(build, "__qualname__", Bridged.__name__))
    return Bridged


def qualified_name_of(target: object) -> str:
    """Return module and name of a class or function, for messages."""
    return f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', type(target).__qualname__)}"


def _checked(target: object) -> Callable[..., object]:
    where = qualified_name_of(target)
    if not callable(target):
        raise ContractError(f"{where} is no MetricExporter class, and no function that returns a MetricExporter")
    if not isinstance(target, type):
        return target
    if issubclass(target, MetricReader):
        raise IsReaderError(
            f"{where} is a MetricReader of the OpenTelemetry SDK, not an exporter: hand it to a MeterProvider, "
            "or name it under 'pull:'"
        )
    if issubclass(target, Exporter):
        raise ContractError(
            f"{where} is an exporter_core.Exporter: register it in the group '{EXPORTER_PREFIX}{SUPPORTED_CONTRACT}'"
        )
    missing = [name for name in SDK_OPERATIONS if not callable(getattr(target, name, None))]
    if missing:
        raise ContractError(f"{where} is no MetricExporter: it has no {' and no '.join(missing)}")
    return target


def options_model(build: Callable[..., object]) -> type[SdkOptions]:
    """Return a model of the options that ``build`` takes, one for each parameter but its private ones."""
    where = qualified_name_of(build)
    try:
        parameters = list(inspect.signature(build).parameters.values())
    except (TypeError, ValueError):
        parameters = [_Kind("options", _Kind.VAR_KEYWORD)]  # of code in C, which says itself what it does not take
    positional = [one.name for one in parameters if one.kind is _Kind.POSITIONAL_ONLY and one.default is _Kind.empty]
    if positional:
        raise ContractError(f"{where} takes {', '.join(positional)} by position only; options are keyword arguments")
    fields: dict[str, Any] = {}  # Any: create_model's own typing
    for parameter in parameters:
        if parameter.kind in (_Kind.POSITIONAL_OR_KEYWORD, _Kind.KEYWORD_ONLY) and not parameter.name.startswith("_"):
            name = parameter.name
            while name in fields or name.startswith("model_") or hasattr(SdkOptions, name):
                name = f"own_{name}"  # a parameter may be called like an attribute of pydantic's models
            fields[name] = (_annotation(build, parameter), _field(parameter))
    open_ended = any(one.kind is _Kind.VAR_KEYWORD for one in parameters)

    class Options(SdkOptions):
        model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow" if open_ended else "forbid")

    title = getattr(build, "__name__", type(build).__name__)
    return create_model(f"{title}Options", __base__=Options, __module__=__name__, **fields)


def _field(parameter: inspect.Parameter) -> Any:  # Any: as pydantic types its fields
    if parameter.default is _Kind.empty:
        return Field(alias=parameter.name)
    # The default only tells people: what was not given is not passed.
    shown = parameter.default if isinstance(parameter.default, str | int | float | None) else None
    return Field(shown, alias=parameter.name)


def _annotation(build: Callable[..., object], parameter: inspect.Parameter) -> Any:  # Any: a type expression
    """Return the parameter's type if a config file can express it, else Any: then the exporter checks it itself."""
    function = inspect.unwrap(build.__init__ if isinstance(build, type) else build)  # type: ignore[misc]  # only read
    holder = types.SimpleNamespace(__annotations__={"it": parameter.annotation})
    if parameter.annotation is _Kind.empty:
        return Any
    try:
        found = get_type_hints(holder, globalns=getattr(function, "__globals__", {}))["it"]
        TypeAdapter(found).json_schema()
    except (NameError, AttributeError, TypeError, SyntaxError, PydanticUserError, PydanticSchemaGenerationError):
        return Any  # imported for type checkers only, or nothing that JSON has
    return Any if _one_pass(found) else found


def _one_pass(annotation: object) -> bool:
    return get_origin(annotation) in _ONE_PASS or annotation in _ONE_PASS or any(map(_one_pass, get_args(annotation)))
