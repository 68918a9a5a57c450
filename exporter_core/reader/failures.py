"""Reporting failures that have no caller to be raised to: those of the schedule, and those that came too late."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from exporter_core.log import log

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger("exporter_core.reader")


class Failures:
    """Hands each failure of one reader to the error handler, once.

    Without a handler each is one line of the log. A line that only repeats the one before is counted, and logged at
    the 10th, 100th, ... time; success ends the row.

    Args:
        name: the reader's name.
        describe: puts an error into one line, secrets masked.
        handler: the application's error handler.
    """

    def __init__(
        self, name: str, describe: Callable[[BaseException], str], handler: Callable[[Exception], object] | None
    ) -> None:
        self._name = name
        self._describe = describe
        self._handler = handler
        self._mutex = threading.RLock()  # reentrant, since a handler of signals or of logging may fail in its turn
        self._row = ""
        self._in_a_row = 0
        self.count = 0
        """How many were reported."""
        self.last: str | None = None
        """The last one in a line."""

    def report(self, error: Exception) -> None:
        """Report it. Raises nothing."""
        text = self._describe(error)
        with self._mutex:
            self.count += 1
            self.last = text
        if self._handler is None:
            self._log(text)
            return
        try:
            self._handler(error)
        except BaseException as raised:  # noqa: BLE001 - a failing handler must neither end the reader nor hide the error
            self._log(f"{text} (and the error handler raised {type(raised).__name__})")

    def success(self) -> None:
        """Something was delivered: the next failure begins a row of its own."""
        with self._mutex:
            if self._in_a_row > 1:
                text = "reader %r: delivers again, after %d failures in a row"
                log(_logger, logging.WARNING, text, self._name, self._in_a_row)
            self._row, self._in_a_row = "", 0

    def _log(self, text: str) -> None:
        title = f"reader {self._name!r}: "
        line = text if text.startswith(title) else title + text
        with self._mutex:
            self._in_a_row = self._in_a_row + 1 if line == self._row else 1
            self._row = line
            times = self._in_a_row
            if times == 1:
                log(_logger, logging.ERROR, "%s", line)
            elif str(times).strip("0") == "1":
                log(_logger, logging.ERROR, "%s (%d times in a row)", line, times)
