"""Everything that is logged meanwhile, whatever the levels of the loggers are and wherever their records go; and what
is written to standard output and error past Python.
"""

from __future__ import annotations

import logging
import os
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from exporter_core.conformance.observe.descriptors import FileIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


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


def standard_files() -> dict[int, FileIdentity]:
    """The files of standard output and error, by their descriptors; without those that are closed."""
    found = {}
    for number in (1, 2):
        with suppress(OSError):
            found[number] = FileIdentity.of(number)
    return found


@contextmanager
def written_past_python(files: Mapping[int, FileIdentity]) -> Iterator[Callable[[], str]]:
    """The function returns what anybody in this process has written to these descriptors in the block.

    It comes to the files once the block is over. A descriptor that leads elsewhere by now is left alone: whoever has
    changed that reads what comes there.
    """
    with ExitStack() as stack:
        taken = [stack.enter_context(_diverted(one)) for one, file in files.items() if _leads_to(one, file)]
        yield lambda: "\n".join(content().decode(errors="replace") for content in taken)


def _leads_to(number: int, file: FileIdentity) -> bool:
    try:
        return FileIdentity.of(number) == file
    except OSError:  # it was closed
        return False


@contextmanager
def _diverted(number: int) -> Iterator[Callable[[], bytes]]:
    """Let a descriptor lead to a file that nobody else writes to; the function returns what that holds."""
    before = os.dup(number)
    with tempfile.TemporaryFile() as own:

        def content() -> bytes:
            return os.pread(own.fileno(), os.fstat(own.fileno()).st_size, 0)

        os.dup2(own.fileno(), number)
        try:
            yield content
        finally:
            os.dup2(before, number)
            os.close(before)
            with suppress(OSError):
                os.write(number, content())
