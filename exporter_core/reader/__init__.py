"""``PeriodicReader``: collects from the OpenTelemetry SDK on a schedule, and exports through a guard.

``PullReader``, in ``pull``, collects when its exporter asks it to.

``periodic`` is the reader, its thread's work and its callers' waiting; ``collection`` the part of it that the SDK
knows, which several readers may share (``shared``); ``jobs`` the record of a flush or shutdown;
``thread`` the thread; ``schedule`` the times of its ticks; ``failures`` its errors; ``forking`` keeps forks out of
collections; ``stats`` its counts.
"""

from exporter_core.reader.jobs import Job
from exporter_core.reader.periodic import PeriodicReader, begin_flushes, finish
from exporter_core.reader.pull import PullReader, Scrapes
from exporter_core.reader.shared import SharedCollection, shares_with_others, sharing_key
from exporter_core.reader.stats import ReaderStats

__all__ = [
    "Job",
    "PeriodicReader",
    "PullReader",
    "ReaderStats",
    "Scrapes",
    "SharedCollection",
    "begin_flushes",
    "finish",
    "shares_with_others",
    "sharing_key",
]
