"""Pydantic models of the config file: OpenTelemetry declarative configuration 1.0 and 1.1, the parts about metrics.

They accept what the official JSON Schema accepts. Checks beyond it, such as for what the OpenTelemetry Python SDK
cannot do, stand in the modules of the sections: ``loader``, ``readers``, ``views``, ``resource``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from exporter_core.config.patterns import NameFilter
from exporter_core.field_docs import build_defaults
from exporter_core.validation import kind_of, stated, whole_milliseconds

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

AttributeType = Literal["string", "bool", "int", "double", "string_array", "bool_array", "int_array", "double_array"]
InstrumentName = Literal[
    "counter",
    "up_down_counter",
    "histogram",
    "gauge",
    "observable_counter",
    "observable_up_down_counter",
    "observable_gauge",
]


Milliseconds = Annotated[
    int, Field(ge=0, le=9_223_372_036_000), BeforeValidator(whole_milliseconds)
]  # the longest wait of a thread
Limit = Annotated[int, Field(gt=0)]
Pattern = Annotated[list[str], Field(min_length=1)]
_ATTRIBUTE_TYPES: Final[dict[str, tuple[str, tuple[type, ...]]]] = {
    "string": ("a string", (str,)),
    "bool": ("true or false", (bool,)),
    "int": ("an integer", (int,)),
    "double": ("a number", (int, float)),
}
_ABSENT: Final[Any] = None  # Any: a default that may not be written: the schema has no null there
Component = dict[str, dict[str, Any] | None]  # Any: the options belong to the component


_ModelT = TypeVar("_ModelT", bound=BaseModel)


def sound(model: type[_ModelT], data: object) -> _ModelT | None:
    """Return a part of the file on its own; None when it is wrong, which the validation of the whole has reported."""
    if data is None:
        return None  # no model takes it, and none is built to say so
    try:
        return model.model_validate(data)
    except ValidationError:
        return None


class _Model(BaseModel):
    """Strict as the official schema: a quoted number is a string, and unknown keys are errors."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
        defer_build=True,  # a part is validated within the whole, whose schema has its own
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:  # Any: JSON
        build_defaults(cls)
        return handler(schema)


def _default(model: type[_ModelT]) -> _ModelT:
    """Return the model with its defaults, without the schema that its validation would build."""
    return model.model_construct()


class _Choice(_Model):
    """A mapping of which exactly one key is given; a key without a value counts as given."""

    @model_validator(mode="after")
    def _one_key(self) -> _Choice:
        given = self.model_fields_set
        if len(given) != 1:
            names = [field.alias or name for name, field in type(self).model_fields.items()]
            shown = f"{', '.join(names[:-1])} or {names[-1]}"
            raise stated(f"expected one of {shown}" if not given else f"expected only one of {shown}")
        return self

    @property
    def chosen(self) -> str:
        """The name of the field that is given."""
        return next(iter(self.model_fields_set))


class Empty(_Model):
    """A component without options."""


# --- resource ---------------------------------------------------------------------------------------------------------


class AttributeNameValue(_Model):
    """One attribute of the resource."""

    name: str = Field(description="The attribute's name.")
    type: AttributeType = Field(default=_ABSENT, description="The value's type; string unless given.")
    value: str | int | float | bool | list[str] | list[bool] | list[int] | list[float] | None = Field(
        description="The attribute's value, of the type given; null leaves the attribute out."
    )

    @field_validator("value")
    @classmethod
    def _of_type(cls, value: Any, info: ValidationInfo) -> Any:  # Any: one of the types of the field
        """Check that the value has the type given, as the schema demands in words."""
        given = info.data.get("type")
        name = given or "string"
        element, types = _ATTRIBUTE_TYPES[name.removesuffix("_array")]
        if value is None:
            return None
        items = value if isinstance(value, list) else [value]
        if isinstance(value, list) is not name.endswith("_array"):
            expected = f"a list for the type {name}" if name.endswith("_array") else f"{element} for the type {name}"
            raise stated(f"expected {expected}, not {kind_of(value)}")
        if not items:
            raise stated("expected at least one item")
        if not all(isinstance(item, types) and (bool in types or not isinstance(item, bool)) for item in items):
            if isinstance(value, list):
                raise stated(f"expected a list in which every item is {element}, for the type {name}")
            hint = "" if given else "; put quotes around it, or give its `type`"
            raise stated(f"expected {element} for the type {name}, not {kind_of(value)}{hint}")
        if name.startswith("int") and not all(-(2**63) <= item < 2**63 for item in items):
            raise stated("expected an integer of 64 bits")
        if float not in types:
            return value
        try:
            floats = [float(item) for item in items]
        except OverflowError:
            raise stated("expected a number that fits into 64 bits") from None
        return floats if isinstance(value, list) else floats[0]


class IncludeExclude(_Model):
    """Names to keep; `*` and `?` stand for any characters and any one."""

    included: Pattern = Field(default_factory=list, description="The names to keep; all of them unless given.")
    excluded: Pattern = Field(
        default_factory=list, description="The names to leave out, also where `included` has them."
    )


class ResourceDetection(_Model):
    """Attributes that are detected when the pipeline starts."""

    attributes: IncludeExclude = Field(default=_default(IncludeExclude), description="The detected attributes to keep.")
    detectors: Annotated[list[Component], Field(min_length=1)] = Field(
        default_factory=list,
        description="The detectors to run: `host`, `process`, `service`, or an installed resource detector.",
    )


class Resource(_Model):
    """The entity that the metrics describe."""

    attributes: Annotated[list[AttributeNameValue], Field(min_length=1)] = Field(
        default_factory=list, description="Attributes; they override those of `attributes_list`."
    )
    attributes_list: str | None = Field(
        default=None,
        description="Attributes as in OTEL_RESOURCE_ATTRIBUTES: `key=value,key=value`, percent-encoded.",
    )
    detection: ResourceDetection = Field(
        default_factory=ResourceDetection, alias="detection/development", description="Detection of attributes."
    )
    schema_url: str | None = Field(default=None, description="The schema URL of the resource.")


# --- meter provider ---------------------------------------------------------------------------------------------------


class CardinalityLimits(_Model):
    """The most attribute sets of an instrument; measurements with further ones become one overflow point."""

    default: Limit | None = Field(default=None, description="For every kind that is not given; 2000 unless given.")
    counter: Limit | None = None
    up_down_counter: Limit | None = None
    histogram: Limit | None = None
    gauge: Limit | None = None
    observable_counter: Limit | None = None
    observable_up_down_counter: Limit | None = None
    observable_gauge: Limit | None = None


class PeriodicReader(_Model):
    """Collects and exports on a schedule."""

    interval: Milliseconds | None = Field(
        default=None, description="Milliseconds between the starts of two exports, at least 1; 60000 unless given."
    )
    timeout: Milliseconds | None = Field(
        default=None, description="Milliseconds that one export may take; 0 means without limit; 30000 unless given."
    )
    max_export_batch_size: Limit | None = Field(
        default=None,
        alias="max_export_batch_size/development",
        description="The most data points of one export; more are exported in parts; no limit unless given.",
    )
    exporter: Component = Field(description="The exporter's name with its options.")
    producers: Annotated[list[Component], Field(min_length=1)] = Field(
        default_factory=list, description="Not supported."
    )
    cardinality_limits: CardinalityLimits = Field(
        default=_default(CardinalityLimits),
        description="The most attribute sets of an instrument, by its kind.",
    )

    @field_validator("interval", mode="before")
    @classmethod
    def _pause(cls, value: object) -> object:
        """Refuse 0, which the schema allows without a meaning: one export would follow another without an end."""
        if type(value) is int and value <= 0:
            raise stated(f"{value} would export without a pause; expected at least 1 (milliseconds)")
        return value


class PullReader(_Model):
    """Collects when its exporter is asked for the metrics, such as by a Prometheus that scrapes."""

    exporter: Component = Field(description="The pull exporter's name with its options.")
    producers: Annotated[list[Component], Field(min_length=1)] = Field(
        default_factory=list, description="Not supported."
    )
    cardinality_limits: CardinalityLimits = Field(
        default=_default(CardinalityLimits),
        description="The most attribute sets of an instrument, by its kind.",
    )


class MetricReader(_Choice):
    """A reader."""

    periodic: PeriodicReader = Field(default=_ABSENT, description="Collects and exports on a schedule.")
    pull: PullReader = Field(default=_ABSENT, description="Collects when it is asked for the metrics.")


class ExplicitBucketHistogram(_Model):
    """A histogram with given bucket boundaries."""

    boundaries: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(
        default=_ABSENT, description="Upper bounds of the buckets, increasing."
    )
    record_min_max: bool | None = Field(
        default=None, description="Record the least and the greatest value; true unless given."
    )


class ExponentialHistogram(_Model):
    """A histogram whose buckets fit themselves to the values."""

    max_scale: Annotated[int, Field(ge=-10, le=20)] | None = Field(
        default=None, description="The finest scale; 20 unless given."
    )
    max_size: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="The most buckets, of positive and of negative values each; 160 unless given."
    )
    record_min_max: bool | None = Field(
        default=None, description="Record the least and the greatest value; true unless given."
    )


class Aggregation(_Choice):
    """The way in which measurements become points."""

    default: Empty | None = None
    drop: Empty | None = None
    explicit_bucket_histogram: ExplicitBucketHistogram | None = None
    base2_exponential_bucket_histogram: ExponentialHistogram | None = None
    last_value: Empty | None = None
    sum: Empty | None = None


class ViewSelector(_Model):
    """The instruments of a view: those that fit all that is given."""

    instrument_name: str | None = Field(
        default=None, description="The instrument's name; `*` and `?` stand for any characters and any one."
    )
    instrument_type: InstrumentName = Field(default=_ABSENT, description="The instrument's kind.")
    unit: str | None = Field(default=None, description="The instrument's unit.")
    meter_name: str | None = Field(default=None, description="The meter's name.")
    meter_version: str | None = Field(default=None, description="The meter's version.")
    meter_schema_url: str | None = Field(default=None, description="The meter's schema URL.")


class ViewStream(_Model):
    """The metrics that a view makes of its instruments."""

    name: str | None = Field(default=None, description="The metric's name; the instrument's unless given.")
    description: str | None = Field(
        default=None, description="The metric's description; the instrument's unless given."
    )
    aggregation: Aggregation = Field(default=_ABSENT, description="The way in which measurements become points.")
    aggregation_cardinality_limit: Limit | None = Field(default=None, description="The most attribute sets.")
    attribute_keys: IncludeExclude = Field(default=_default(IncludeExclude), description="The attributes to keep.")


class View(_Model):
    """Changes how the metrics of some instruments are made."""

    selector: ViewSelector = Field(description="The instruments.")
    stream: ViewStream = Field(description="Their metrics.")


class MeterConfig(_Model):
    """The settings of some meters."""

    enabled: bool = Field(default=True, description="False: their instruments record nothing; true unless given.")


class MeterMatcher(_Model):
    """Settings of the meters that a pattern names."""

    name: str = Field(description="The meter's name; `*` and `?` stand for any characters and any one.")
    config: MeterConfig = Field(description="Their settings.")


class MeterConfigurator(_Model):
    """Settings of meters by their names; the first pattern that fits counts."""

    default_config: MeterConfig = Field(default=_default(MeterConfig), description="The settings of all other meters.")
    meters: Annotated[list[MeterMatcher], Field(min_length=1)] = Field(
        default_factory=list, description="Settings of the meters that a pattern names."
    )

    def enables(self, name: str) -> bool:
        """Return True unless the meters of this name are disabled."""
        fitting = (meter.config for meter in self.meters if name in NameFilter([meter.name]))
        return next(fitting, self.default_config).enabled


class MeterProvider(_Model):
    """The readers, and the metrics that they collect."""

    readers: Annotated[list[MetricReader], Field(min_length=1)] = Field(
        description="Each reader collects on its own schedule and hands to one exporter."
    )
    views: Annotated[list[View], Field(min_length=1)] = Field(
        default_factory=list, description="Changes to how metrics are made."
    )
    exemplar_filter: Literal["always_on", "always_off", "trace_based"] = Field(
        default="trace_based", description="The measurements that may become exemplars; trace_based unless given."
    )
    meter_configurator: MeterConfigurator = Field(
        default=_ABSENT, alias="meter_configurator/development", description="Meters that are switched off."
    )


# --- settings of exporter-core ----------------------------------------------------------------------------------------


class MetricNames(_Model):
    """The metrics that an exporter gets, by name; `*` and `?` stand for any characters and any one."""

    include: Pattern = Field(default_factory=list, description="The metrics to export; all of them unless given.")
    exclude: Pattern = Field(default_factory=list, description="The metrics to leave out, even if `include` has them.")


class ExporterOptions(_Model):
    """The way in which an exporter is run."""

    runner: Literal["thread", "inline"] = Field(
        default="thread",
        description="`thread`: its code runs on threads of its own, held to its deadlines; `inline`: in the caller's.",
    )
    copy_data: bool = Field(
        default=False, alias="copy", description="Hand it copies, for an exporter that changes what it is given."
    )
    metrics: MetricNames = Field(default=_default(MetricNames), description="The metrics that it gets.")


class Plugins(_Model):
    """The plugins that may be imported, by exporter name or by distribution."""

    allow: list[str] | None = Field(default=None, description="If given, no others.")
    block: list[str] = Field(default_factory=list, description="Not these, even if `allow` has them.")


class CoreSection(_Model):
    """Settings of exporter-core itself."""

    exporters: dict[str, ExporterOptions] = Field(
        default_factory=dict, description="Settings for running exporters, by the name that a reader gives."
    )
    plugins: Plugins = Field(default=_default(Plugins), description="The plugins that may be imported.")
    share_collection: bool = Field(
        default=True,
        description="Collect once for readers of the same interval and limits whose exporters take cumulative data.",
    )
    observers: list[str] = Field(
        default_factory=list, description="Names of the observers that are told of every operation."
    )


class FileModel(_Model):
    """A config file: OpenTelemetry declarative configuration, with one section of exporter-core's own."""

    file_format: Literal["1.0", "1.1"] = Field(description="The version of the file format, in quotes.")
    disabled: bool | None = Field(default=None, description="True turns everything off.")
    resource: Resource = Field(default_factory=Resource, description="The entity that the metrics describe.")
    meter_provider: MeterProvider = Field(
        default=_ABSENT, description="The readers, and the metrics that they collect."
    )
    exporter_core: CoreSection = Field(default=_default(CoreSection), description="Settings of exporter-core itself.")
