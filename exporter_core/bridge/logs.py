"""The log records of an exporter's call: the SDK's exporters say nowhere else why they failed.

The loggers are only listened to: every record goes on to where it would have gone.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter_core.masking import Masker

_KEPT: Final = 2  # the last records: commonly the last attempt's cause, and that there will be no further attempt
_LONGEST: Final = 400  # characters of each


class _Listener(logging.Filter):
    """Hears the warnings and errors of one logger, of threads that listen.

    A filter, and not a handler: where a program has configured no logging, a handler would silence the one that Python
    has for that case. It is the first filter, as the OTLP exporters have one that drops repeated records.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record's text for the listening thread; the record always goes on."""
        hear: Callable[[logging.LogRecord], None] | None = getattr(_listening, "hear", None)
        if hear is not None and record.levelno >= logging.WARNING:
            hear(record)
        return True


_listening = threading.local()
_mutex = threading.Lock()


@contextmanager
def heard(exporter_class: type, masker: Masker) -> Iterator[list[str]]:
    """Give the last warnings and errors that this thread logs in the block through the loggers of the class's modules.

    One line each, of at most 400 characters, secrets masked.
    """
    for name in {cls.__module__ for cls in exporter_class.__mro__} - {"builtins"}:
        _listen(name)
    kept: list[str] = []

    def hear(record: logging.LogRecord) -> None:
        text = _text(record, masker)
        if text and text not in kept:
            kept.append(text)
            del kept[:-_KEPT]

    before = getattr(_listening, "hear", None)
    _listening.hear = hear
    try:
        yield kept
    finally:
        _listening.hear = before


def _listen(name: str) -> None:
    logger = logging.getLogger(name)
    with _mutex:
        if not any(isinstance(one, _Listener) for one in logger.filters):
            logger.filters = [_Listener(), *logger.filters]  # a list of its own: another thread may go through the old


def _text(record: logging.LogRecord, masker: Masker) -> str:
    try:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            text = f"{text}: {type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - arguments that do not fit, or whose own str() fails: logging itself reports that
        return ""
    text = " ".join(masker(text).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
