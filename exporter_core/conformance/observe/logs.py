"""Everything that is logged meanwhile, whatever the levels of the loggers are and wherever their records go."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def recorded_logs(level: int = logging.DEBUG) -> Iterator[list[str]]:
    """The texts that any thread logs in the block at this level or above, with their errors' tracebacks and their extra
    fields.

    A logger that does not propagate is listened to itself. No logger's level is changed but where it would keep a
    record back.
    """
    texts: list[str] = []
    format_record = logging.Formatter().format
    usual = {*vars(logging.makeLogRecord({})), "message", "asctime"}

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                extra = {name: value for name, value in vars(record).items() if name not in usual}
                texts.append(format_record(record) + (f" {extra}" if extra else ""))
            except Exception:  # noqa: BLE001, S110 - arguments that do not fit: logging itself reports that
                pass

    recorder = Recorder(level)
    loggers = [
        logging.root,
        *(one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)),
    ]
    before = [(one, one.level) for one in loggers]
    listened = [one for one in loggers if one is logging.root or not one.propagate]
    for one in listened:
        one.addHandler(recorder)
    for one, own in before:
        if own > level or one is logging.root:
            one.setLevel(min(own or level, level))
    try:
        yield texts
    finally:
        for one, own in before:
            one.setLevel(own)
        for one in listened:
            one.removeHandler(recorder)
