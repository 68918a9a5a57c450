"""``PeriodicReader``: collects from the OpenTelemetry SDK on a schedule, and exports through a guard.

``periodic`` is the reader and its thread's work; ``jobs`` what callers of flush and shutdown wait for; ``worker`` the
thread; ``schedule`` when it ticks; ``instruments`` what the exporter wants of the SDK; ``failures`` reports what nobody
is there to catch; ``forking`` keeps the SDK's lock out of forked children; ``stats`` is what was counted.
"""

from exporter_core.reader.jobs import Delivery, Job, finish
from exporter_core.reader.periodic import PeriodicReader
from exporter_core.reader.stats import ReaderStats

__all__ = ["Delivery", "Job", "PeriodicReader", "ReaderStats", "finish"]
