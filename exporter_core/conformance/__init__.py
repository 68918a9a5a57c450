"""The conformance checker: does an exporter keep the exporter contract, clause by clause, with evidence.

Public names are imported when they are first used: the harness of a plugin does not import the checker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.lazy import lazy_names

if TYPE_CHECKING:
    from exporter_core.conformance.observe.harness import Capabilities as Capabilities, Harness as Harness
    from exporter_core.conformance.observe.sink_harness import (
        FileSinkHarness as FileSinkHarness,
        SinkHarness as SinkHarness,
        StdoutSinkHarness as StdoutSinkHarness,
    )
    from exporter_core.conformance.observe.tokens import Point as Point, flatten as flatten
    from exporter_core.conformance.run.engine import check as check, check_readers as check_readers
    from exporter_core.conformance.run.verdicts import Report as Report, Verdict as Verdict
    from exporter_core.conformance.suite import conformance_suite as conformance_suite

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

_MODULE_OF = {
    "Capabilities": "observe.harness",
    "FileSinkHarness": "observe.sink_harness",
    "Harness": "observe.harness",
    "Point": "observe.tokens",
    "Report": "run.verdicts",
    "SinkHarness": "observe.sink_harness",
    "StdoutSinkHarness": "observe.sink_harness",
    "Verdict": "run.verdicts",
    "check": "run.engine",
    "check_readers": "run.engine",
    "conformance_suite": "suite",
    "flatten": "observe.tokens",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
