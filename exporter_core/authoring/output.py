"""One of the process's standard streams, looked up anew at every write, and written to while the context lasts.

Only an ordinary text file over a descriptor is written to in time. Anything else in its place (a capture, a
``StringIO``, a notebook's stream) is written to through its own ``write``.

The descriptor is shared with other processes, so its O_NONBLOCK flag is not touched: that would break the shell that
owns it. Pipes and terminals are opened a second time instead, which gives a description with flags of its own. Where
that is refused (no /proc, another user's terminal) and for sockets, a write follows only when poll says that there is
room, and is no longer than what a pipe takes whole; another process that fills that room in between can still hold
such a write up. A write to a regular file takes as long as its disk takes.
"""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO
from weakref import WeakValueDictionary

from exporter_core.errors import ExporterError
from exporter_core.forking import call_after_fork
from exporter_core.sync import Turn, blocking
from exporter_core.untrusted import CodeFailedError, DetachedCall

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from exporter_core.context import Context

_TERMINAL_COLUMNS = 80
_FILE_COLUMNS = 120
_FILE_CHUNK = 1 << 20
_RETRY_SECONDS = 0.005
_LONGEST_PAUSE = 0.05  # seconds after which a wait looks whether its context was cancelled
_REASONS = {
    errno.EPIPE: "the pipe's reader has closed it",
    errno.EBADF: "its file descriptor is closed",
    errno.EIO: "input/output error; the terminal may be gone",
}


@dataclass(frozen=True, slots=True)
class Style:
    """The abilities of a terminal or file: colour, and characters beyond ASCII."""

    color: bool
    unicode: bool


class Output:
    """The standard stream of this name, ``"stdout"`` or ``"stderr"``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shared: _SharedFile | None = None

    def write(self, context: Context, render: Callable[[Target], str | bytes]) -> None:
        """Write what ``render`` returns for the stream as it is at this moment; an empty text writes nothing.

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
            reason = _REASONS.get(error.errno or 0) or (error.strerror or type(error).__name__).lower()
            raise ExporterError(f"cannot write to {self._name}: {reason}") from error


class Target:
    """The object in the place of a standard stream at one moment."""

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
        """True if a person is likely to read it."""
        isatty = getattr(self._stream, "isatty", None)
        return bool(isatty is not None and isatty())

    def width(self) -> int:
        """Return the columns to fill: the COLUMNS variable, else the terminal's."""
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
        """Return the abilities: colour only on a terminal that has it, while NO_COLOR (no-color.org) is not set."""
        dumb = os.environ.get("TERM", "") in ("dumb", "unknown")
        color = self.is_terminal and not dumb and not os.environ.get("NO_COLOR")
        return Style(color=color, unicode=self._encoding.lower().replace("-", "").startswith("utf"))

    def identity(self) -> Hashable:
        """Return a value that is equal for two targets of the same file."""
        if not self._is_plain:
            return id(self._stream)
        status = os.fstat(self._stream.fileno())
        return status.st_dev, status.st_ino

    def write(self, context: Context, text: str | bytes, shared: _SharedFile) -> None:
        """Write the text whole, or raise."""
        data = text.encode(self._encoding, "backslashreplace") if isinstance(text, str) else text
        if self._is_plain:
            _write_all(context, self._stream, data, shared)
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
    """Return True for a text file over a descriptor that is nothing more.

    A subclass, or another object between text and descriptor (a compressor, a tee), may do more than write.
    """
    if type(stream) is not io.TextIOWrapper:
        return False
    buffer = stream.buffer
    raw = buffer.raw if type(buffer) is io.BufferedWriter else buffer  # unbuffered (python -u): no buffer in between
    return type(raw) is io.FileIO


# --- writing in time -------------------------------------------------------------------------------------------------


class _SharedFile:
    """One file as all exporters of the process share it."""

    __slots__ = ("__weakref__", "flush", "mid_line", "turn")

    def __init__(self) -> None:
        self.turn = Turn()
        self.mid_line = False
        """True when the last line was cut short: a line feed goes before the next."""
        self.flush: DetachedCall[None] | None = None


def _write_all(context: Context, stream: TextIO, data: bytes, shared: _SharedFile) -> None:
    """Write the data to the descriptor of the stream, after what the stream has buffered.

    Where it can wait, whole lines go in one write as far as a pipe takes them undivided, so that lines of other
    processes do not fall in between. The caller holds ``shared.turn``.

    Raises DeadlineExceededError or ContextCancelledError when the context ends first, and OSError as the system does.
    """
    descriptor = stream.fileno()
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        stream.flush()
        _write(context, descriptor, data, shared, chunk=_FILE_CHUNK, may_block=False)
        return
    _wait_for_room(context, descriptor)
    _flush_in_time(context, stream, shared)
    own = _opened_again(descriptor, mode)
    try:
        _write(context, descriptor if own is None else own, data, shared, chunk=select.PIPE_BUF, may_block=True)
    finally:
        if own is not None:
            os.close(own)


def _write(context: Context, descriptor: int, data: bytes, shared: _SharedFile, *, chunk: int, may_block: bool) -> None:
    if shared.mid_line:
        data = b"\n" + data
    view = memoryview(data)
    at = 0
    try:
        while at < len(data):
            if may_block:
                _wait_for_room(context, descriptor)
            else:
                context.raise_if_done()
            end = min(at + chunk, len(data))
            if may_block:
                end = data.rfind(b"\n", at, end) + 1 or end
            try:
                at += os.write(descriptor, view[at:end])
            except BlockingIOError:
                context.wait(_RETRY_SECONDS)  # another writer took the room that poll had seen
    finally:
        if at:
            shared.mid_line = data[at - 1 : at] != b"\n"


def _wait_for_room(context: Context, descriptor: int) -> None:
    """Return when a write would do something: take data, or fail. Raises the context's error when it ends first."""
    poll = blocking(select, "poll")()
    poll.register(descriptor, select.POLLOUT)
    context.raise_if_done()
    while not poll.poll(_pause(context) * 1000):
        context.raise_if_done()


def _flush_in_time(context: Context, stream: TextIO, shared: _SharedFile) -> None:
    """Flush the stream on a thread that can be left behind, since a flush blocks for as long as nobody reads."""
    _wait_for(context, shared.flush)
    try:
        shared.flush = flush = DetachedCall(stream.flush, "exporter-core-stream-flush")
    except RuntimeError:
        # From Python 3.12 no thread starts while the interpreter exits. There is room for a page at least.
        stream.flush()
        return
    _wait_for(context, flush)
    shared.flush = None
    try:
        flush.result()
    except CodeFailedError as error:
        raise error.snapshot.error from None


def _wait_for(context: Context, flush: DetachedCall[None] | None) -> None:
    while flush is not None and not flush.ended.wait(_pause(context)):
        context.raise_if_done()


def _opened_again(descriptor: int, mode: int) -> int | None:
    """A non-blocking descriptor of its own for the same pipe or terminal, or None where there cannot be one."""
    if not (stat.S_ISFIFO(mode) or os.isatty(descriptor)):
        return None
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None


def _pause(context: Context) -> float:
    """Seconds to wait at most before looking at the context again."""
    remaining = context.remaining()
    return _LONGEST_PAUSE if remaining is None else min(_LONGEST_PAUSE, remaining)


# --- what the exporters of a process share ---------------------------------------------------------------------------

_files: WeakValueDictionary[Hashable, _SharedFile] = WeakValueDictionary()
_files_lock = threading.Lock()


def _shared_file(identity: Hashable) -> _SharedFile:
    with _files_lock:
        return _files.setdefault(identity, _SharedFile())


def _forget_after_fork() -> None:
    """Locks that were held by threads of the parent are never released in the child."""
    global _files, _files_lock  # noqa: PLW0603 - the process's only ones; their holders do not exist in the child
    _files = WeakValueDictionary()
    _files_lock = threading.Lock()


call_after_fork(_forget_after_fork)
