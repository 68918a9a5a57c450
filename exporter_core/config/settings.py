"""A config file ready for use: plain frozen values, times in seconds, options validated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter_core.config.models import MeterConfigurator, View
    from exporter_core.contract import InstrumentKind
    from exporter_core.discovery import PluginPolicy
    from exporter_core.errors import ConfigProblem
    from exporter_core.exporter import ExporterConfig
    from exporter_core.registry import ExporterRegistry

AttributeValue = str | bool | int | float | list[str] | list[bool] | list[int] | list[float]


@dataclass(frozen=True, slots=True)
class ResourceSettings:
    """The subject of the metrics.

    Args:
        attributes: the explicit attributes; they override detected ones.
        schema_url: the schema URL, empty for none.
        detectors: the resource detectors to run, in order, by their names in the file.
        included: patterns of the detected attributes to keep; empty keeps all.
        excluded: patterns of the detected attributes to leave out, even if ``included`` has them.
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
        exporter: the exporter's name in the file, perhaps ``distribution:name``.
        config: its validated options.
        interval: seconds between the starts of two exports.
        timeout: seconds that one export may take, None for no limit.
        cardinality_limits: the most attribute sets of an instrument, by kind; the SDK's for kinds left out.
        max_batch_size: the most data points of one export, None for no limit.
        runner: ``"thread"`` or ``"inline"``.
        copy: True to hand it copies of the data.
        include: patterns of the names of metrics that it gets; empty for all.
        exclude: patterns of the names of metrics that it does not get.
        pull: True for a pull exporter, which has neither interval nor time-out.
        place: the exporter's ``FILE:LINE:COLUMN``, None for a mapping.
    """

    position: int
    exporter: str
    config: ExporterConfig
    interval: float = 60.0
    timeout: float | None = 30.0
    cardinality_limits: Mapping[InstrumentKind, int] = field(default_factory=dict)
    max_batch_size: int | None = None
    runner: Literal["thread", "inline"] = "thread"
    copy: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    pull: bool = False
    place: str | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """The reader's name in reports: position and exporter."""
        return f"{self.position}:{self.exporter}"


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """A whole config file.

    Args:
        source: the file's name, None for a mapping.
        disabled: True to do nothing; then there are no readers.
        resource: the subject of the metrics.
        readers: in file order.
        views: in file order.
        exemplar_filter: the measurements that may become exemplars.
        observers: names of observers to load.
        policy: the plugins that may be imported.
        registry: the source of the exporters: it imported them to read the file, and it builds them.
        share_collection: True to collect once for readers that can share.
        warnings: the parts of the file that are ignored, in file order.
        meters: says which meters are disabled; None for none.
        of_provider: the parts that only a provider of the pipeline's own can have, each as the problem that it is for
            a provider that exists.
    """

    source: str | None
    disabled: bool
    resource: ResourceSettings
    readers: tuple[ReaderSettings, ...]
    views: tuple[View, ...]
    exemplar_filter: Literal["always_on", "always_off", "trace_based"]
    observers: tuple[str, ...]
    policy: PluginPolicy
    registry: ExporterRegistry = field(repr=False, compare=False)
    share_collection: bool = True
    warnings: tuple[ConfigProblem, ...] = ()
    meters: MeterConfigurator | None = None
    of_provider: tuple[ConfigProblem, ...] = ()
