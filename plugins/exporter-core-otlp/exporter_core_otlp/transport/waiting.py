"""Waiting for sockets no longer than a context lasts, and not a moment longer than until it is cancelled."""

from __future__ import annotations

import math
import select
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter_core import Context

_LONGEST: Final = 1.0  # seconds: a signal that comes just before poll() does not end it, and Ctrl-C is not to be lost
READ: Final = select.POLLIN
WRITE: Final = select.POLLOUT


class Waiter:
    """Waits for sockets on behalf of one thread at a time."""

    def __init__(self) -> None:
        # What cancels is another thread: it makes this socket readable.
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)

    @contextmanager
    def woken_by(self, context: Context) -> Iterator[None]:
        """In its ``with`` block, :meth:`wait` ends when the context is done."""
        handle = context.on_done(self._ring)
        try:
            yield
        finally:
            handle.unregister()

    def wait(self, context: Context, sockets: dict[socket.socket, int], seconds: float | None = None) -> set[int]:
        """Wait until one of the sockets is ready for what it stands with, at most ``seconds``, or without a reason.

        Returns the descriptors of those that are ready or have failed. Raises the context's error once that is done.
        """
        poller = select.poll()
        bell = self._woken.fileno()
        poller.register(bell, READ)
        for sock, events in sockets.items():
            poller.register(sock, events)
        context.raise_if_done()
        limits = [limit for limit in (context.remaining(), seconds) if limit is not None]
        # Rounded up, since a wait that is too short by a fraction would become a busy loop.
        ready = {fd for fd, _ in poller.poll(math.ceil(min([_LONGEST, *limits]) * 1000))}
        if bell in ready:
            ready.discard(bell)
            self._silence()
        context.raise_if_done()
        return ready

    def close(self) -> None:
        """Close the pair of sockets."""
        self._woken.close()
        self._wake.close()

    def _ring(self) -> None:
        try:
            self._wake.send(b"\0")
        except OSError:
            pass  # full, so that it is woken anyway; or closed: nobody waits any more

    def _silence(self) -> None:
        try:
            self._woken.recv(4096)
        except BlockingIOError:
            pass

    def __del__(self) -> None:
        if hasattr(self, "_wake"):  # there may have been no descriptor left for the pair
            self.close()  # for an exporter that was never shut down
