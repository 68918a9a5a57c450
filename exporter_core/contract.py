"""The exporter contract, version 1. FROZEN: nothing here changes outside a new major version.

An exporter is the last step of a push pipeline: it delivers metric data to one backend. The contract is five
operations. Returning means done; every failure is an exception. The data, temporality and aggregation types are the
OpenTelemetry SDK's own. Source: the ``Exporter`` interface of OpenTelemetry-Go's ``sdk/metric``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import pluggy

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core.context import Context

__all__ = [
    "CONTRACT_VERSION",
    "EXPORTER_GROUP",
    "EXPORTER_GROUP_PREFIX",
    "HARNESS_GROUP",
    "OBSERVER_GROUP",
    "OPERATIONS",
    "PROJECT_NAME",
    "ExporterSpec",
    "InstrumentKind",
    "hookimpl",
    "hookspec",
]

PROJECT_NAME: Final = "exporter_core"
"""The pluggy project name of the contract."""

CONTRACT_VERSION: Final = 1
"""The major version of the contract defined here."""

EXPORTER_GROUP_PREFIX: Final = "exporter_core.exporters.v"
"""What every exporter entry-point group starts with; the contract's major version follows."""

EXPORTER_GROUP: Final = "exporter_core.exporters.v1"
"""The entry-point group under which distributions register exporters of this contract."""

OBSERVER_GROUP: Final = "exporter_core.observers.v1"
"""The entry-point group of observers, which are told of operations and cannot change them."""

HARNESS_GROUP: Final = "exporter_core.harnesses.v1"
"""The entry-point group of conformance harnesses, which share their exporter's name."""

OPERATIONS: Final = ("temporality", "aggregation", "export", "force_flush", "shutdown")
"""The names of the contract's operations."""

hookspec: Final = pluggy.HookspecMarker(PROJECT_NAME)
"""Marks a method as an operation of a specification."""

hookimpl: Final = pluggy.HookimplMarker(PROJECT_NAME)
"""Marks a method as an implementation of an operation. Optional: a method that has an operation's name is one."""


class InstrumentKind(StrEnum):
    """The kinds of instrument of the OpenTelemetry metrics API."""

    COUNTER = "counter"
    UP_DOWN_COUNTER = "up_down_counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"
    OBSERVABLE_COUNTER = "observable_counter"
    OBSERVABLE_UP_DOWN_COUNTER = "observable_up_down_counter"
    OBSERVABLE_GAUGE = "observable_gauge"


class ExporterSpec:
    """The five operations. An implementation may take a leading part of an operation's parameters."""

    @hookspec(firstresult=True)
    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        """Return the temporality in which points of this instrument kind are to be exported.

        Never None. Safe beside every other operation and itself, and never blocked by one, also after shutdown.
        A plain function, never async.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        """Return the default aggregation for instruments of this kind.

        Never None. Safe beside every other operation and itself, and never blocked by one, also after shutdown.
        A plain function, never async.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def export(self, context: Context, metrics: MetricsData) -> None:
        """Deliver the metrics, or accept them for delivery by the next force_flush or shutdown; return when done.

        Called by one caller at a time. Honours the deadline and the cancellation of the context, retries included:
        raises its error when it is done. An error is final: whatever retrying there is has already happened inside.
        The metrics may be reused once this returns: what is kept is copied. They are never changed.
        After shutdown it does nothing and raises ExporterShutdownError. May be ``async def``.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def force_flush(self, context: Context) -> None:
        """Return when everything accepted before is delivered, or raise.

        Safe beside every other operation and itself. Honours the deadline and the cancellation of the context.
        After shutdown it does nothing and returns. May be ``async def``.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def shutdown(self, context: Context) -> None:
        """Flush what is held, release every resource, and return; also release when the context is already done.

        Safe beside every other operation and itself. Honours the deadline and the cancellation of the context.
        Afterwards export does nothing and raises ExporterShutdownError, and so does a second shutdown.
        May be ``async def``.
        """
        raise NotImplementedError
