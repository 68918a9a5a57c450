"""The conformance checker: does an exporter keep the exporter contract, clause by clause, with evidence.

Public names are imported when they are first used: the harness of a plugin does not import the checker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter_core.conformance.observe.harness import Capabilities as Capabilities
    from exporter_core.conformance.observe.harness import Harness as Harness
    from exporter_core.conformance.observe.sink_harness import FileSinkHarness as FileSinkHarness
    from exporter_core.conformance.observe.sink_harness import SinkHarness as SinkHarness
    from exporter_core.conformance.observe.sink_harness import StdoutSinkHarness as StdoutSinkHarness
    from exporter_core.conformance.observe.tokens import Point as Point
    from exporter_core.conformance.observe.tokens import flatten as flatten
    from exporter_core.conformance.run.engine import Report as Report
    from exporter_core.conformance.run.engine import check as check
    from exporter_core.conformance.run.engine import check_readers as check_readers
    from exporter_core.conformance.run.verdicts import Verdict as Verdict
    from exporter_core.conformance.suite import conformance_suite as conformance_suite

_MODULE_OF = {
    "Capabilities": "harness",
    "FileSinkHarness": "sink_harness",
    "Harness": "harness",
    "Point": "tokens",
    "Report": "engine",
    "SinkHarness": "sink_harness",
    "StdoutSinkHarness": "sink_harness",
    "Verdict": "verdicts",
    "check": "engine",
    "check_readers": "engine",
    "conformance_suite": "suite",
    "flatten": "tokens",
}

__all__ = [
    "Capabilities",
    "FileSinkHarness",
    "Harness",
    "Point",
    "Report",
    "SinkHarness",
    "StdoutSinkHarness",
    "Verdict",
    "check",
    "check_readers",
    "conformance_suite",
    "flatten",
]


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - nothing is imported before it is needed

    value: object = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
