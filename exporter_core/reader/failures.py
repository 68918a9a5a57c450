"""The failures of one reader: put into words, and reported where there is no caller to raise them to."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, TypeVar

from exporter_core.errors import ExporterCoreError, ExporterError
from exporter_core.log import log
from exporter_core.masking import Masker, cause_of

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger("exporter_core.reader")

_ErrorT = TypeVar("_ErrorT", bound=ExporterCoreError)


class Failures:
    """Makes the errors of one reader, and reports each one that has no caller, once, to the error handler.

    Without a handler each is one line of the log, with the number of data points that were not delivered. A repeated
    line is counted, and logged at the 10th, 100th, ... time; a success ends the row. The lines together name every
    point that was lost.

    Args:
        reader: the reader's name.
        exporter: the exporter's name.
        describe: puts an error into one line, secrets masked.
        handler: the application's error handler.
    """

    def __init__(
        self,
        reader: str,
        exporter: str,
        describe: Callable[[BaseException], str],
        handler: Callable[[Exception], object] | None,
    ) -> None:
        self._reader = reader
        self._exporter = exporter
        self._describe = describe
        self._handler = handler
        self._mutex = threading.RLock()  # reentrant, since a handler of signals or of logging may fail in its turn
        self._row = ""
        self._in_a_row = 0
        self._lost = 0  # points of failures that no line has named yet
        self.count = 0
        """The number of failures reported."""
        self.last: str | None = None
        """The last one in a line."""

    def error(self, kind: type[_ErrorT], operation: str, text: str) -> _ErrorT:
        """Return an error that names the reader and the operation."""
        message = f"reader {self._reader!r}: {operation}{text}"
        if issubclass(kind, ExporterError):
            return kind(message, exporter=self._exporter, operation=operation)
        return kind(message)

    def named(self, error: BaseException) -> Exception:
        """Return the error if it is one of ours, which names the reader or the exporter, else one of ours about it."""
        if isinstance(error, ExporterCoreError):
            return error
        ours = self.error(ExporterError, "collect", f" failed: {self._describe(error)}")
        ours.__cause__ = cause_of(error, Masker())
        return ours

    def report(self, error: Exception, lost: int = 0) -> None:
        """Report it, with the number of data points that it kept from being delivered. Raises nothing."""
        text = self._describe(error)
        with self._mutex:
            self.count += 1
            self.last = text
        if self._handler is None:
            self._log(text, lost)
            return
        try:
            self._handler(error)
        except BaseException as raised:  # noqa: BLE001 - a failing handler must neither end the reader nor hide the error
            self._log(f"{text} (and the error handler raised {type(raised).__name__})", lost)

    def success(self) -> None:
        """End the row: an export went well."""
        with self._mutex:
            if self._in_a_row > 1:
                text = "reader %r: delivers again, after %d failures in a row%s"
                log(_logger, logging.WARNING, text, self._reader, self._in_a_row, self._take_lost())
            self._row, self._in_a_row = "", 0

    def report_suppressed(self) -> None:
        """Log the points of repeated failures that no line has named yet."""
        with self._mutex:
            if self._lost:
                text = "reader %r: the last failure was repeated, %d times in a row%s"
                log(_logger, logging.ERROR, text, self._reader, self._in_a_row, self._take_lost())

    def _take_lost(self) -> str:
        """Return the end of a line that names the lost points; they are not named again."""
        lost, self._lost = self._lost, 0
        if not lost:
            return ""
        return f"; {lost} data {'point was' if lost == 1 else 'points were'} not delivered"

    def _log(self, text: str, lost: int) -> None:
        title = f"reader {self._reader!r}: "
        line = text if text.startswith(title) else title + text
        with self._mutex:
            self._in_a_row = self._in_a_row + 1 if line == self._row else 1
            self._row = line
            self._lost += lost
            times = self._in_a_row
            if times == 1:
                log(_logger, logging.ERROR, "%s%s", line, self._take_lost())
            elif str(times).strip("0") == "1":
                log(_logger, logging.ERROR, "%s (%d times in a row)%s", line, times, self._take_lost())
