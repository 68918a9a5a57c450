"""Choose an OpenTelemetry metrics exporter by name, from installed plugins, and run it behind a guard.

Public names are imported when they are first used (PEP 562), so that ``import exporter_core`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.lazy import lazy_names

if TYPE_CHECKING:
    from exporter_core.bridge.outbound import OutboundExporter as OutboundExporter
    from exporter_core.context import Context as Context, DoneHandle as DoneHandle
    from exporter_core.contract import InstrumentKind as InstrumentKind, hookimpl as hookimpl
    from exporter_core.discovery import PluginPolicy as PluginPolicy
    from exporter_core.errors import (
        ConfigError as ConfigError,
        ConfigProblem as ConfigProblem,
        ContextCancelledError as ContextCancelledError,
        ContractError as ContractError,
        DeadlineExceededError as DeadlineExceededError,
        ExporterBusyError as ExporterBusyError,
        ExporterConflictError as ExporterConflictError,
        ExporterCoreError as ExporterCoreError,
        ExporterError as ExporterError,
        ExporterForkedError as ExporterForkedError,
        ExporterNotFoundError as ExporterNotFoundError,
        ExporterReentrancyError as ExporterReentrancyError,
        ExporterShutdownError as ExporterShutdownError,
        MaskedCauseError as MaskedCauseError,
        PartialSuccessError as PartialSuccessError,
        PluginBlockedError as PluginBlockedError,
        PluginLoadError as PluginLoadError,
        SetupError as SetupError,
        UnsupportedContractError as UnsupportedContractError,
    )
    from exporter_core.exporter import (
        Destination as Destination,
        Exporter as Exporter,
        ExporterConfig as ExporterConfig,
    )
    from exporter_core.guard import GuardedExporter as GuardedExporter
    from exporter_core.pipeline import Pipeline as Pipeline, configure as configure
    from exporter_core.pull import Collect as Collect, PullExporter as PullExporter
    from exporter_core.reader import PeriodicReader as PeriodicReader
    from exporter_core.registry import ExporterRegistry as ExporterRegistry, load_exporter as load_exporter

__version__ = "1.0.0"

__all__ = [
    "Collect",
    "ConfigError",
    "ConfigProblem",
    "Context",
    "ContextCancelledError",
    "ContractError",
    "DeadlineExceededError",
    "Destination",
    "DoneHandle",
    "Exporter",
    "ExporterBusyError",
    "ExporterConfig",
    "ExporterConflictError",
    "ExporterCoreError",
    "ExporterError",
    "ExporterForkedError",
    "ExporterNotFoundError",
    "ExporterReentrancyError",
    "ExporterRegistry",
    "ExporterShutdownError",
    "GuardedExporter",
    "InstrumentKind",
    "MaskedCauseError",
    "OutboundExporter",
    "PartialSuccessError",
    "PeriodicReader",
    "Pipeline",
    "PluginBlockedError",
    "PluginLoadError",
    "PluginPolicy",
    "PullExporter",
    "SetupError",
    "UnsupportedContractError",
    "__version__",
    "configure",
    "hookimpl",
    "load_exporter",
]

_MODULE_OF = {
    "Context": "context",
    "DoneHandle": "context",
    "PluginPolicy": "discovery",
    "InstrumentKind": "contract",
    "hookimpl": "contract",
    "Destination": "exporter",
    "Exporter": "exporter",
    "ExporterConfig": "exporter",
    "GuardedExporter": "guard",
    "OutboundExporter": "bridge.outbound",
    "ExporterRegistry": "registry",
    "load_exporter": "registry",
    "PeriodicReader": "reader",
    "Pipeline": "pipeline",
    "configure": "pipeline",
    "Collect": "pull",
    "PullExporter": "pull",
    "ConfigError": "errors",
    "ConfigProblem": "errors",
    "ContextCancelledError": "errors",
    "ContractError": "errors",
    "DeadlineExceededError": "errors",
    "ExporterBusyError": "errors",
    "ExporterConflictError": "errors",
    "ExporterCoreError": "errors",
    "ExporterError": "errors",
    "ExporterForkedError": "errors",
    "ExporterNotFoundError": "errors",
    "ExporterReentrancyError": "errors",
    "ExporterShutdownError": "errors",
    "MaskedCauseError": "errors",
    "PartialSuccessError": "errors",
    "PluginBlockedError": "errors",
    "PluginLoadError": "errors",
    "SetupError": "errors",
    "UnsupportedContractError": "errors",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
