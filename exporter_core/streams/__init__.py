"""Writing to the process's standard streams for no longer than a context lasts: for plugins whose backend is one.

Not for files of their own, and not for reading.
"""

from exporter_core.streams.output import Output, Style, Target
from exporter_core.streams.waiting import turn

__all__ = ["Output", "Style", "Target", "turn"]
