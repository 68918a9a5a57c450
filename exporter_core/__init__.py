"""Choose an OpenTelemetry metrics exporter by name, from installed plugins, and run it behind a guard.

Public names are imported when they are first used (PEP 562), so that ``import exporter_core`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.lazy import lazy_names

if TYPE_CHECKING:
    from exporter_core.context import Context as Context
    from exporter_core.context import DoneHandle as DoneHandle
    from exporter_core.contract import InstrumentKind as InstrumentKind
    from exporter_core.contract import hookimpl as hookimpl
    from exporter_core.discovery import PluginPolicy as PluginPolicy
    from exporter_core.errors import ConfigError as ConfigError
    from exporter_core.errors import ConfigProblem as ConfigProblem
    from exporter_core.errors import ContextCancelledError as ContextCancelledError
    from exporter_core.errors import ContractError as ContractError
    from exporter_core.errors import DeadlineExceededError as DeadlineExceededError
    from exporter_core.errors import ExporterBusyError as ExporterBusyError
    from exporter_core.errors import ExporterConflictError as ExporterConflictError
    from exporter_core.errors import ExporterCoreError as ExporterCoreError
    from exporter_core.errors import ExporterError as ExporterError
    from exporter_core.errors import ExporterForkedError as ExporterForkedError
    from exporter_core.errors import ExporterNotFoundError as ExporterNotFoundError
    from exporter_core.errors import ExporterReentrancyError as ExporterReentrancyError
    from exporter_core.errors import ExporterShutdownError as ExporterShutdownError
    from exporter_core.errors import MaskedCauseError as MaskedCauseError
    from exporter_core.errors import PartialSuccessError as PartialSuccessError
    from exporter_core.errors import PluginBlockedError as PluginBlockedError
    from exporter_core.errors import PluginLoadError as PluginLoadError
    from exporter_core.errors import SetupError as SetupError
    from exporter_core.errors import UnsupportedContractError as UnsupportedContractError
    from exporter_core.exporter import Destination as Destination
    from exporter_core.exporter import Exporter as Exporter
    from exporter_core.exporter import ExporterConfig as ExporterConfig
    from exporter_core.guard import GuardedExporter as GuardedExporter
    from exporter_core.pipeline import Pipeline as Pipeline
    from exporter_core.reader import PeriodicReader as PeriodicReader
    from exporter_core.registry import ExporterRegistry as ExporterRegistry
    from exporter_core.registry import load_exporter as load_exporter

__version__ = "1.0.0"

__all__ = [
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
    "PartialSuccessError",
    "PeriodicReader",
    "Pipeline",
    "PluginBlockedError",
    "PluginLoadError",
    "PluginPolicy",
    "SetupError",
    "UnsupportedContractError",
    "__version__",
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
    "ExporterRegistry": "registry",
    "load_exporter": "registry",
    "PeriodicReader": "reader",
    "Pipeline": "pipeline",
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
