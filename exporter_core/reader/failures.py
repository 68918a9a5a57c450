"""The failures of one reader: put into words, and reported where there is no caller to raise them to."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final, TypeVar

from exporter_core.errors import ExporterCoreError, ExporterError
from exporter_core.log import log
from exporter_core.masking import Masker, cause_of
from exporter_core.sync import RLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.guard import GuardedExporter

_logger = logging.getLogger("exporter_core.reader")

_VARYING: Final = re.compile(r"\d+(?:\.\d+)?(?= ?(?:s|ms|seconds?|attempts?)\b)")
_MOST_LINES: Final = 100  # of a row; a text that differs each time costs no memory

_ErrorT = TypeVar("_ErrorT", bound=ExporterCoreError)


class Failures:
    """Makes the errors of one reader, and reports each one that has no caller, once, to the error handler.

    Without a handler each is one line of the log, with the number of data points that were not delivered. Until an
    export succeeds, a line that only repeats an earlier one, durations and attempts apart, is counted, and logged at
    the 10th, 100th, ... time. The lines together name every point that was lost, once.

    Args:
        reader: the reader's name.
        exporter: the exporter, which puts an error into one line, and counts the points that it has lost.
        handler: the application's error handler.
    """

    def __init__(self, reader: str, exporter: GuardedExporter, handler: Callable[[Exception], object] | None) -> None:
        self._reader = reader
        self._exporter = exporter
        self._handler = handler
        self._mutex = RLock()  # reentrant, since a handler of signals or of logging may fail in its turn
        self._row: dict[str, int] = {}  # the lines since the last success, and how often each came
        self._in_a_row = 0
        self._known = 0  # lost points that are in a line, in an error, or in the next number
        self._lost = 0  # points that no line has named yet
        self.count = 0
        """The number of failures reported."""
        self.last: str | None = None
        """The last one in a line."""

    def error(self, kind: type[_ErrorT], operation: str, text: str) -> _ErrorT:
        """Return an error that names the reader and the operation."""
        message = f"reader {self._reader!r}: {operation}{text}"
        if issubclass(kind, ExporterError):
            return kind(message, exporter=self._exporter.name, operation=operation)
        return kind(message)

    def named(self, error: BaseException) -> Exception:
        """Return the error if it is one of ours, which names the reader or the exporter, else one of ours about it."""
        if isinstance(error, ExporterCoreError):
            return error
        ours = self.error(ExporterError, "collect", f" failed: {self._exporter.describe_error(error)}")
        ours.__cause__ = cause_of(error, Masker())
        return ours

    def report(self, error: Exception, more: int = 0) -> None:
        """Report it, with the number of data points that are newly known to be lost. Raises nothing.

        Args:
            error: the failure.
            more: points that the exporter has not lost: it never got them, or still has them when all ends.
        """
        text = self._exporter.describe_error(error)
        with self._mutex:
            self.count += 1
            self.last = text
        lost = self.newly_lost() + more
        if self._handler is None:
            self._log(text, lost)
            return
        if isinstance(error, ExporterCoreError):
            error.points_lost = lost
        try:
            self._handler(error)
        except BaseException as raised:  # noqa: BLE001 - a failing handler must neither end the reader nor hide the error
            self._log(f"{text} (and the error handler raised {type(raised).__name__})", lost)

    def newly_lost(self) -> int:
        """Return the points that the exporter has lost since this was asked last; the caller tells somebody."""
        with self._mutex:
            before, self._known = self._known, self._exporter.stats().points_lost
            return self._known - before

    def lose(self, more: int = 0) -> None:
        """Have the next line name what is newly known to be lost, and so many points more."""
        with self._mutex:
            self._lost += self.newly_lost() + more

    def success(self) -> None:
        """End the row: an export went well."""
        with self._mutex:
            self.lose()
            if self._row:
                failures = "1 failure" if self._in_a_row == 1 else f"{self._in_a_row} failures in a row"
                log(
                    _logger,
                    logging.WARNING,
                    "reader %r: delivers again, after %s%s",
                    self._reader,
                    failures,
                    self._take_lost(),
                )
                self._row, self._in_a_row = {}, 0
            else:
                self.report_suppressed()

    def report_suppressed(self) -> None:
        """Log the lost points that no line has named yet."""
        with self._mutex:
            self.lose()
            if not self._lost:
                return
            if self._row:
                text = "reader %r: the last failure was repeated, %d times in a row%s"
                log(_logger, logging.ERROR, text, self._reader, self._in_a_row, self._take_lost())
            else:
                text = "reader %r: an export that had timed out did not succeed%s"
                log(_logger, logging.ERROR, text, self._reader, self._take_lost())

    def _take_lost(self) -> str:
        """Return the end of a line that names the lost points; they are not named again."""
        lost, self._lost = self._lost, 0
        if not lost:
            return ""
        return f"; {lost} data {'point was' if lost == 1 else 'points were'} not delivered"

    def _log(self, text: str, lost: int) -> None:
        title = f"reader {self._reader!r}: "
        line = text if text.startswith(title) else title + text
        like = _VARYING.sub("#", line)
        with self._mutex:
            self._in_a_row += 1
            times = self._row.pop(like, 0) + 1
            if len(self._row) >= _MOST_LINES:
                del self._row[next(iter(self._row))]
            self._row[like] = times
            self._lost += lost
            if times == 1:
                log(_logger, logging.ERROR, "%s%s", line, self._take_lost())
            elif str(times).strip("0") == "1":
                log(_logger, logging.ERROR, "%s (%d times in a row)%s", line, times, self._take_lost())
