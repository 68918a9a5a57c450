"""The readers of a config that share one collection, as far as that is known before exporters are built."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from exporter_core.authoring.preferences import PreferenceOptions
from exporter_core.authoring.serial import SerialExporter
from exporter_core.exporter import Exporter

if TYPE_CHECKING:
    from collections.abc import Hashable

    from exporter_core.config.settings import PipelineConfig, ReaderSettings
    from exporter_core.registry import ExporterRegistry


class Sharing(NamedTuple):
    """Labels of readers."""

    groups: list[list[str]]
    """Those that share a collection, by collection."""
    unknown: list[str]
    """Those whose exporters say what they take only once they are built."""


def sharing_of(config: PipelineConfig) -> Sharing:
    """Return the readers that share a collection. Their exporters have been imported to read the file."""
    groups: dict[Hashable, list[str]] = {}
    unknown = []
    for reader in config.readers if config.share_collection else ():
        if reader.pull:
            continue
        default = _takes_the_default(reader, config.registry)
        if default:
            groups.setdefault((reader.interval, frozenset(reader.cardinality_limits.items())), []).append(reader.label)
        elif default is None:
            unknown.append(reader.label)
    return Sharing([group for group in groups.values() if len(group) > 1], unknown if len(config.readers) > 1 else [])


def _takes_the_default(reader: ReaderSettings, registry: ExporterRegistry) -> bool | None:
    """Return True for cumulative data in the SDK's default aggregation; None if only the exporter itself can say."""
    exporter_class = registry.exporter_class(reader.exporter)
    questions = [(getattr(exporter_class, name, None), name) for name in ("temporality", "aggregation")]
    if all(method is getattr(Exporter, name) for method, name in questions):
        return True
    if any(method not in (getattr(Exporter, name), getattr(SerialExporter, name)) for method, name in questions):
        return None
    return not isinstance(reader.config, PreferenceOptions) or reader.config.is_default
