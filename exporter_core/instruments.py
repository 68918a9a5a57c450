"""The SDK's class of instrument for each instrument kind of the contract, and the SDK's support for their limits."""

from __future__ import annotations

from inspect import signature
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.version import __version__ as sdk_version

from exporter_core.contract import InstrumentKind

if TYPE_CHECKING:
    from collections.abc import Mapping

INSTRUMENT_CLASSES: Final[Mapping[InstrumentKind, Any]] = MappingProxyType(  # Any: the SDK's alias is not public
    {
        InstrumentKind.COUNTER: sdk.Counter,
        InstrumentKind.UP_DOWN_COUNTER: sdk.UpDownCounter,
        InstrumentKind.HISTOGRAM: sdk.Histogram,
        InstrumentKind.GAUGE: sdk._Gauge,  # the SDK's own name for it, in its __all__
        InstrumentKind.OBSERVABLE_COUNTER: sdk.ObservableCounter,
        InstrumentKind.OBSERVABLE_UP_DOWN_COUNTER: sdk.ObservableUpDownCounter,
        InstrumentKind.OBSERVABLE_GAUGE: sdk.ObservableGauge,
    }
)
"""The instrument class by kind, which the SDK's readers, views and exporters go by."""

NO_CARDINALITY_LIMITS: Final = (
    ""
    if "cardinality_limits" in signature(MetricReader).parameters
    else f"OpenTelemetry SDK {sdk_version} does not have it; 1.45.2 does"
)
"""The reason why cardinality limits, of readers and of views, have no effect; empty where the SDK has them."""
