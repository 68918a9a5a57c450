"""This machine's metrics: processors, memory, disks, network and this process, by OpenTelemetry's instrumentation."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from exporter_core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.metrics import MeterProvider

_CONFIG: dict[str, list[str] | None] = {
    "system.cpu.time": ["idle", "user", "system", "irq"],
    "system.memory.usage": ["used", "free", "cached"],
    "system.memory.utilization": ["used", "free", "cached"],
    "system.swap.usage": ["used", "free"],
    "system.disk.io": ["read", "write"],
    "system.disk.operations": ["read", "write"],
    "system.disk.time": ["read", "write"],
    "system.network.io": ["transmit", "receive"],
    "system.network.packets": ["transmit", "receive"],
    "system.network.errors": ["transmit", "receive"],
    "system.network.dropped.packets": ["transmit", "receive"],
    "system.network.connections": [],
    "process.cpu.time": ["user", "system"],
    "process.cpu.utilization": ["user", "system"],
    "process.memory.usage": None,
    "process.memory.virtual": None,
    "process.disk.io": ["read", "write"],
    "process.context_switches": ["involuntary", "voluntary"],
    "process.open_file_descriptor.count": None,
    "process.thread.count": None,
}
"""The instruments, as the instrumentation's configuration.

The instrumentation's deprecated ``process.runtime`` names are left out, and so is ``system.cpu.utilization``: psutil,
its source, counts an interval of less than a second as a whole one. The rate of ``system.cpu.time`` is exact.
"""


@contextmanager
def measured_by(provider: MeterProvider) -> Iterator[None]:
    """Measure this machine into the provider. Raises SetupError if the instrumentation is not installed."""
    try:
        from opentelemetry.instrumentation.system_metrics import (  # noqa: PLC0415 - an optional dependency
            SystemMetricsInstrumentor,
        )
    except ModuleNotFoundError as error:
        raise SetupError("this machine's metrics need an extra: pip install 'exporter-core[host]'") from error
    instrumentor = SystemMetricsInstrumentor(config=_CONFIG)
    instrumentor.instrument(meter_provider=provider)
    try:
        yield
    finally:
        instrumentor.uninstrument()
