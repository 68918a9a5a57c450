"""Writing to a file descriptor whose other end may have stopped reading, for no longer than a context lasts.

The descriptor is shared with other processes, so its O_NONBLOCK flag is not touched: that would break the shell that
owns it. Pipes and terminals are opened a second time instead, which gives a description with flags of its own. Where
that is refused (no /proc, another user's terminal) and for sockets, a write follows only when poll says that there is
room, and is no longer than what a pipe takes whole; another process that fills that room in between can still hold
such a write up. A write to a regular file takes as long as its disk takes.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from typing import TYPE_CHECKING

from exporter_core.sync import Turn

if TYPE_CHECKING:
    from typing import TextIO

    from exporter_core.context import Context

_FILE_CHUNK = 1 << 20
_RETRY_SECONDS = 0.005
_LONGEST_PAUSE = 0.05  # seconds after which a wait looks whether its context was cancelled


class SharedFile:
    """One file as all exporters of the process share it."""

    __slots__ = ("__weakref__", "flusher", "mid_line", "turn")

    def __init__(self) -> None:
        self.turn = Turn()
        self.mid_line = False
        """True when the last line was cut short: a line feed goes before the next."""
        self.flusher: threading.Thread | None = None


def write_all(context: Context, stream: TextIO, data: bytes, shared: SharedFile) -> None:
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


def _write(context: Context, descriptor: int, data: bytes, shared: SharedFile, *, chunk: int, may_block: bool) -> None:
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
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    context.raise_if_done()
    while not poll.poll(_pause(context) * 1000):
        context.raise_if_done()


def _flush_in_time(context: Context, stream: TextIO, shared: SharedFile) -> None:
    """Flush the stream on a thread that can be left behind, since a flush blocks for as long as nobody reads."""
    _join(context, shared.flusher)
    failures: list[OSError | ValueError] = []

    def flush() -> None:
        try:
            stream.flush()
        except (OSError, ValueError) as error:
            failures.append(error)

    flusher = threading.Thread(target=flush, name="exporter-core-stream-flush", daemon=True)
    try:
        flusher.start()
    except RuntimeError:
        # From Python 3.12 no thread starts while the interpreter exits. There is room for a page at least.
        stream.flush()
        return
    shared.flusher = flusher
    _join(context, flusher)
    shared.flusher = None
    if failures:
        raise failures[0]


def _join(context: Context, thread: threading.Thread | None) -> None:
    while thread is not None and thread.is_alive():
        thread.join(_pause(context))
        if thread.is_alive():
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
