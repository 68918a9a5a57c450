"""Building blocks of exporters: a base class that keeps the contract, options, retries, standard output, masking.

docs/writing-an-exporter.md leads from here to a plugin.
"""

from exporter_core.authoring.options import FileMode, Interval, Milliseconds, NullIsDefault
from exporter_core.authoring.output import Output, Style, Target
from exporter_core.authoring.preferences import HistogramAggregation, PreferenceOptions, TemporalityPreference
from exporter_core.authoring.retry import GaveUpError, RetryableError, Retrying, RetryOptions, retry_after_seconds
from exporter_core.authoring.serial import SerialExporter
from exporter_core.forking import keep_untouched
from exporter_core.masking import Masker, masker_for
from exporter_core.printable import printable
from exporter_core.validation import stated

__all__ = [
    "FileMode",
    "GaveUpError",
    "HistogramAggregation",
    "Interval",
    "Masker",
    "Milliseconds",
    "NullIsDefault",
    "Output",
    "PreferenceOptions",
    "RetryOptions",
    "RetryableError",
    "Retrying",
    "SerialExporter",
    "Style",
    "Target",
    "TemporalityPreference",
    "keep_untouched",
    "masker_for",
    "printable",
    "retry_after_seconds",
    "stated",
]
