"""The base classes of plugins: one for the exporter, one pydantic model for its options.

Only :meth:`Exporter.export` has to be written; the other four operations have defaults that are right for an exporter
that delivers each batch before it returns, holds nothing and owns nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict

from exporter_core.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping

    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

    from exporter_core.context import Context
    from exporter_core.contract import InstrumentKind

__all__ = ["Destination", "Exporter", "ExporterConfig"]


class ExporterConfig(BaseModel):
    """Base of an exporter's options: frozen, unknown options are errors, and errors never quote the value given.

    Describe every field (``Field(description=...)``): the descriptions are what ``exporter-core describe``, ``init``
    and the JSON Schema show. Hold secrets in ``pydantic.SecretStr``. ``repr()`` and ``str()`` mask what is secret in
    other fields too, such as a URL's password.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        defer_build=True,  # options within options are validated with the whole, whose schema has theirs
    )

    def config_warnings(self) -> Mapping[str, str]:
        """Return warnings about valid options that will hardly work, such as a directory that does not exist.

        They are shown by ``exporter-core validate`` and logged when a config file is loaded. Override to give some.

        Returns:
            The text of each warning, without secrets, by the option's key; of a nested option ``outer.inner``.
        """
        return {}

    @classmethod
    def environment_options(cls, environ: Mapping[str, str]) -> Mapping[str, Any]:  # noqa: ARG003 # Any: options
        """Return options that environment variables with a meaning of their own give, where no file gives any.

        Such as ``OTEL_EXPORTER_OTLP_ENDPOINT``. Each option also has the variable ``EXPORTER_CORE_NAME_OPTION``, which
        overrides these. Override to read some; what is returned is validated as the options of a file are.
        """
        return {}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:  # Any: JSON
        """Describe each field by the docstring below it, also where ``use_attribute_docstrings`` is off.

        It is off for the models that most programs import: pydantic reads their source as often.
        """
        from exporter_core.field_docs import build_defaults, field_docs  # noqa: PLC0415 - keeps this module light

        build_defaults(cls)
        described = handler(schema)
        properties = handler.resolve_ref_schema(described).get("properties", {})
        for name, text in field_docs(cls).items():
            field = cls.model_fields.get(name)
            option = properties.get((field and field.alias) or name)
            if option is not None:
                option.setdefault("description", text)
        return described

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        """Return names and values as ``repr()`` and ``str()`` show them."""
        from exporter_core.masking import masker_for  # noqa: PLC0415 - keeps this module light

        mask = masker_for(self)
        for name, value in super().__repr_args__():
            yield name, _Shown(mask(repr(value)))


# Subclasses inherit it. For this class, which has no fields, pydantic would read this file whenever a program starts.
ExporterConfig.model_config["use_attribute_docstrings"] = True


class _Shown(str):
    """A value as it is shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Destination(NamedTuple):
    """The place where an exporter's data goes, for people to read; an exporter may have a ``destination`` method."""

    location: str
    """The place in one line: a file, a URL without credentials."""
    command: str | None = None
    """One shell command that shows what has arrived there."""


ConfigT = TypeVar("ConfigT", bound=ExporterConfig)


def _config_argument(cls: type) -> object:
    """Return the argument of ``cls`` for :class:`Configured`'s type parameter, also through a generic base, or None."""
    for base in cls.__dict__.get("__orig_bases__", ()):
        origin, arguments = get_origin(base), get_args(base)
        if origin is Configured:
            return arguments[0]
        if isinstance(origin, type) and issubclass(origin, Configured):
            parameter = _config_argument(origin)
            if isinstance(parameter, TypeVar):
                return arguments[origin.__parameters__.index(parameter)]  # type: ignore[attr-defined]  # of generic classes
    return None


class Configured(ABC, Generic[ConfigT]):
    """Base of the plugins' base classes, whose type argument is the model of the options.

    Args:
        config: the validated options, an instance of :attr:`config_model`.
    """

    config_model: ClassVar[type[ExporterConfig]] = ExporterConfig
    """The pydantic model of the options; read off the class's type argument."""

    keeps_metrics_unchanged: ClassVar[bool] = False
    """True as a promise that it changes no list of its batches: one that several exporters get is not copied for it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:  # Any: class keyword arguments belong to cooperating bases
        super().__init_subclass__(**kwargs)
        model = _config_argument(cls)
        if model is None or isinstance(model, TypeVar):
            return  # a subclass without a type argument, or still generic, keeps what it inherits
        if not (isinstance(model, type) and issubclass(model, ExporterConfig)):
            raise ContractError(
                f"{cls.__module__}.{cls.__qualname__}: {cls.__mro__[1].__name__}[...] takes a subclass of "
                f"ExporterConfig, not {model!r}"
            )
        cls.config_model = model

    def __init__(self, config: ConfigT) -> None:
        self.config: ConfigT = config


class Exporter(Configured[ConfigT]):
    """Base class of exporters. Subclass it as ``class MyExporter(Exporter[MyConfig])`` and write :meth:`export`.

    ``export``, ``force_flush`` and ``shutdown`` may be ``async def``. The promises of each operation stand in
    :mod:`exporter_core.contract`.

    Args:
        config: the validated options, an instance of :attr:`config_model`.
    """

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:  # noqa: ARG002 - the default ignores the kind
        """Cumulative for every instrument kind."""
        from opentelemetry.sdk.metrics.export import AggregationTemporality  # noqa: PLC0415 - keeps this module light

        return AggregationTemporality.CUMULATIVE

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:  # noqa: ARG002 - the default ignores the kind
        """The SDK's default aggregation for every instrument kind."""
        from opentelemetry.sdk.metrics.view import DefaultAggregation  # noqa: PLC0415 - keeps this module light

        return DefaultAggregation()

    @abstractmethod
    def export(self, context: Context, metrics: MetricsData) -> Awaitable[None] | None:
        """Deliver the metrics before returning, or raise."""

    def force_flush(self, context: Context) -> Awaitable[None] | None:
        """Return at once, or raise the error of a context that is done: nothing is held between exports."""
        context.raise_if_done()
        return None

    def shutdown(self, context: Context) -> Awaitable[None] | None:  # noqa: ARG002 - nothing is owned
        """Return at once: there is nothing to release. The guard refuses what comes after it."""
        return None
