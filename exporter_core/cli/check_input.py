"""What ``exporter-core check`` is given, and how it is stopped: options as text, and signals."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from exporter_core.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def options_of(text: str) -> dict[str, Any]:  # Any: options of an exporter
    """The options in a mapping of JSON or YAML, or in a file with one, environment variables substituted.

    A text that is no mapping is the name of a file.

    Raises:
        ConfigError: it is neither; with the place of what is wrong.
    """
    source = "--config"
    document = _parsed(text, source)
    if isinstance(document, str) and "\n" not in text.strip():
        from exporter_core.config.files import read_text  # noqa: PLC0415 - only for a file

        source = text
        document = _parsed(read_text(text), source)
    if not isinstance(document, dict):
        kind = "null" if document is None else type(document).__name__
        raise ConfigError([ConfigProblem(f"expected a mapping in JSON or YAML, not {kind}", source=source)])
    return document


def _parsed(text: str, source: str) -> object:
    import os  # noqa: PLC0415 - only for options

    from exporter_core.config.yaml import parse  # noqa: PLC0415 - only for options

    document = parse(text, source=source, environ=os.environ)
    if document.problems:
        raise ConfigError(document.problems)
    return document.root.data()


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second signal does what it does otherwise."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def handle(*_arguments: object) -> None:
        stop.set()
        for number, handler in before.items():
            signal.signal(number, handler)

    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals are the main thread's business
        return
    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
