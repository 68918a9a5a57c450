"""What a config file says, ready for use: plain frozen values, times in seconds, options validated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter_core.contract import InstrumentKind
    from exporter_core.discovery import PluginPolicy
    from exporter_core.errors import ConfigProblem
    from exporter_core.exporter import ExporterConfig

AttributeValue = str | bool | int | float | list[str] | list[bool] | list[int] | list[float]


@dataclass(frozen=True, slots=True)
class ResourceSettings:
    """What the metrics are about.

    Args:
        attributes: attributes that are given; they are stronger than detected ones.
        schema_url: the schema URL, empty for none.
        detectors: the resource detectors to run, in order, as the file names them.
        included: patterns of the detected attributes to keep; empty keeps all.
        excluded: patterns of the detected attributes to leave out, stronger than ``included``.
    """

    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    schema_url: str = ""
    detectors: tuple[str, ...] = ()
    included: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """One reader and its exporter.

    Args:
        position: the reader's place in the file, from 0.
        exporter: the exporter's name as the file gives it, perhaps ``distribution:name``.
        config: its validated options.
        interval: seconds between the starts of two exports.
        timeout: seconds that one export may take, None for no limit.
        cardinality_limits: attribute sets an instrument of a kind may have; kinds that are missing have the SDK's.
        runner: where the exporter's code runs.
        copy: whether it is handed copies of the data.
    """

    position: int
    exporter: str
    config: ExporterConfig
    interval: float = 60.0
    timeout: float | None = 30.0
    cardinality_limits: Mapping[InstrumentKind, int] = field(default_factory=dict)
    runner: Literal["thread", "inline"] = "thread"
    copy: bool = False

    @property
    def label(self) -> str:
        """What reports call the reader: position and name."""
        return f"{self.position}:{self.exporter}"


@dataclass(frozen=True, slots=True)
class AggregationSettings:
    """An aggregation of the SDK: its name in the file and the arguments of its class."""

    kind: Literal[
        "default", "drop", "explicit_bucket_histogram", "base2_exponential_bucket_histogram", "last_value", "sum"
    ]
    arguments: Mapping[str, Any] = field(default_factory=dict)  # Any: each aggregation has its own


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """One view: the first six select instruments (None fits all), the others say what becomes of them."""

    instrument_name: str | None = None
    instrument_kind: InstrumentKind | None = None
    unit: str | None = None
    meter_name: str | None = None
    meter_version: str | None = None
    meter_schema_url: str | None = None
    name: str | None = None
    description: str | None = None
    aggregation: AggregationSettings | None = None
    cardinality_limit: int | None = None
    attribute_keys: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """A whole config file.

    Args:
        source: the file's name, None for a mapping.
        disabled: whether to do nothing; then there are no readers.
        resource: what the metrics are about.
        readers: in file order.
        views: in file order.
        exemplar_filter: which measurements may become exemplars.
        observers: names of observers to load.
        policy: which plugins may be imported.
        warnings: what the file says that is not acted on, in file order.
    """

    source: str | None
    disabled: bool
    resource: ResourceSettings
    readers: tuple[ReaderSettings, ...]
    views: tuple[ViewSettings, ...]
    exemplar_filter: Literal["always_on", "always_off", "trace_based"]
    observers: tuple[str, ...]
    policy: PluginPolicy
    warnings: tuple[ConfigProblem, ...] = ()
