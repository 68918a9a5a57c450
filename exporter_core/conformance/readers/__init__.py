"""The promises of readers, checked on this package's ``PeriodicReader`` and on the SDK's own.

``rig`` drives either reader with a scripted exporter; ``case`` is one run of one clause; ``clauses`` are the promises.
"""

from exporter_core.conformance.readers.case import run_reader_clause
from exporter_core.conformance.readers.clauses import reader_clauses, select_reader_clauses
from exporter_core.conformance.readers.rig import READERS, ReaderName

__all__ = ["READERS", "ReaderName", "reader_clauses", "run_reader_clause", "select_reader_clauses"]
