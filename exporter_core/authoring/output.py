"""Where the text goes: one of the process's standard streams, looked up anew at every export.

An ordinary text file over a descriptor is written to by :mod:`.descriptor`, in time; anything else that stands in its
place (a capture, a ``StringIO``, a notebook's stream) through its own ``write``.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO
from weakref import WeakValueDictionary

from exporter_core.authoring.descriptor import SharedFile, write_all
from exporter_core.errors import ExporterError
from exporter_core.forking import call_after_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from exporter_core.context import Context

_TERMINAL_COLUMNS = 80
_FILE_COLUMNS = 120


@dataclass(frozen=True, slots=True)
class Style:
    """What the other end can show."""

    color: bool
    unicode: bool


class Output:
    """The standard stream of this name, ``"stdout"`` or ``"stderr"``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shared: SharedFile | None = None

    def write(self, context: Context, render: Callable[[Target], str | bytes]) -> None:
        """Write what ``render`` gives for the stream as it is at this moment; nothing for an empty text.

        Bytes are UTF-8 and go out as they are; a text goes out in the stream's encoding.

        Raises the context's error when it ends first, and ExporterError when the stream cannot be written to.
        """
        try:
            target = Target(self._name)
            text = render(target)
            if text:
                # Keeping the last one keeps alive what is remembered of that file.
                self._shared = _shared_file(target.identity())
                with self._shared.turn.held(context):
                    target.write(context, text, self._shared)
        except OSError as error:
            if isinstance(error, TimeoutError) and error.errno is None:
                raise  # the context's own; the system's have a number
            raise ExporterError(f"cannot write to {self._name}: {_reason(error)}") from error


class Target:
    """What stands in the place of a standard stream at one moment."""

    def __init__(self, name: str) -> None:
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            raise ExporterError(f"cannot write to {name}: this process has none (sys.{name} is None)")
        if getattr(stream, "closed", False):
            raise ExporterError(f"cannot write to {name}: sys.{name} is closed")
        self._stream = stream
        self._is_plain = _is_plain(stream)

    @property
    def is_terminal(self) -> bool:
        """Whether a person is likely to read it."""
        isatty = getattr(self._stream, "isatty", None)
        return bool(isatty is not None and isatty())

    def width(self) -> int:
        """Columns to fill: the COLUMNS variable, else the terminal's."""
        columns = os.environ.get("COLUMNS", "")
        if columns.isdecimal() and int(columns) > 0:
            return int(columns)
        if not self.is_terminal:
            return _FILE_COLUMNS
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _TERMINAL_COLUMNS
        except OSError:
            return _TERMINAL_COLUMNS

    def style(self) -> Style:
        """Colour on a terminal that can show it, unless NO_COLOR (no-color.org) is set to anything."""
        dumb = os.environ.get("TERM", "") in ("dumb", "unknown")
        color = self.is_terminal and not dumb and not os.environ.get("NO_COLOR")
        return Style(color=color, unicode=self._encoding.lower().replace("-", "").startswith("utf"))

    def identity(self) -> Hashable:
        """Equal for two targets that are the same file."""
        if not self._is_plain:
            return id(self._stream)
        status = os.fstat(self._stream.fileno())
        return status.st_dev, status.st_ino

    def write(self, context: Context, text: str | bytes, shared: SharedFile) -> None:
        """Write the text whole, or raise."""
        data = text.encode(self._encoding, "backslashreplace") if isinstance(text, str) else text
        if self._is_plain:
            write_all(context, self._stream, data, shared)
            return
        context.raise_if_done()
        self._stream.write(data.decode(self._encoding if isinstance(text, str) else "utf-8"))
        flush = getattr(self._stream, "flush", None)
        if flush is not None:
            flush()

    @property
    def _encoding(self) -> str:
        encoding = getattr(self._stream, "encoding", None)
        return encoding if isinstance(encoding, str) else "utf-8"


def _is_plain(stream: TextIO) -> bool:
    """Whether the stream is a text file over a descriptor and nothing more.

    A subclass, or another object between text and descriptor (a compressor, a tee), may do more than write.
    """
    if type(stream) is not io.TextIOWrapper:
        return False
    buffer = stream.buffer
    raw = buffer.raw if type(buffer) is io.BufferedWriter else buffer  # unbuffered (python -u): no buffer in between
    return type(raw) is io.FileIO


def _reason(error: OSError) -> str:
    if error.errno == errno.EPIPE:
        return "the pipe's reader has closed it"
    if error.errno == errno.EBADF:
        return "its file descriptor is closed"
    if error.errno == errno.EIO:
        return "input/output error; the terminal may be gone"
    return (error.strerror or type(error).__name__).lower()


_files: WeakValueDictionary[Hashable, SharedFile] = WeakValueDictionary()
_files_lock = threading.Lock()


def _shared_file(identity: Hashable) -> SharedFile:
    with _files_lock:
        return _files.setdefault(identity, SharedFile())


def _forget_after_fork() -> None:
    """Locks that were held by threads of the parent are never released in the child."""
    global _files, _files_lock  # noqa: PLW0603 - the process's only ones; their holders do not exist in the child
    _files = WeakValueDictionary()
    _files_lock = threading.Lock()


call_after_fork(_forget_after_fork)
