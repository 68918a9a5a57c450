"""Sockets that never block, and waiting for them until a context is done: at its deadline, or when it is cancelled."""

from __future__ import annotations

import math
import select
import socket
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from exporter_core.sync import blocking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter_core.context import Context

_LONGEST_WAIT: Final = (
    1.0  # seconds: a signal that comes just before poll() does not end it, and Ctrl-C must not be lost
)
_RECEIVED: Final = 65536  # bytes at a time
_PIECES: Final = 64  # sent at a time; systems take no more than 1024
READ: Final = select.POLLIN
WRITE: Final = select.POLLOUT


class Waiter:
    """Waits for sockets on behalf of one thread at a time."""

    def __init__(self) -> None:
        # A thread that cancels makes this socket readable.
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)

    @contextmanager
    def woken_by(self, context: Context) -> Iterator[None]:
        """End each :meth:`wait` in the block as soon as the context is done."""
        handle = context.on_done(self._ring)
        try:
            yield
        finally:
            handle.unregister()

    def wait(self, context: Context, sockets: dict[socket.socket, int], seconds: float | None = None) -> set[int]:
        """Wait until a socket is ready for READ or WRITE, at most ``seconds``; it may return early.

        Returns the descriptors of those that are ready or have failed. Raises the context's error once that is done.
        """
        poller = blocking(select, "poll")()
        bell = self._woken.fileno()
        poller.register(bell, READ)
        for sock, events in sockets.items():
            poller.register(sock, events)
        context.raise_if_done()
        limits = [limit for limit in (context.remaining(), seconds) if limit is not None]
        # Rounded up, since a wait that is too short by a fraction would become a busy loop.
        ready = {fd for fd, _ in poller.poll(math.ceil(min([_LONGEST_WAIT, *limits]) * 1000))}
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


class Wire:
    """Bytes over one connected socket that never blocks.

    Args:
        sock: the socket.
        waiter: waits for it.
    """

    torn: bool = False
    """True if the connection ended without the other side having said so."""

    def __init__(self, sock: socket.socket, waiter: Waiter) -> None:
        self._sock = sock
        self._waiter = waiter

    def write(self, unsent: list[memoryview]) -> bool:
        """Send what goes at once, and remove it from the list; False if the other side takes nothing any more."""
        try:
            while unsent:
                if len(unsent) > 1 and not isinstance(self._sock, ssl.SSLSocket):
                    sent = self._sock.sendmsg(unsent[:_PIECES])
                else:
                    sent = self._sock.send(unsent[0])
                while unsent and sent >= len(unsent[0]):
                    sent -= len(unsent.pop(0))
                if sent:
                    unsent[0] = unsent[0][sent:]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except OSError:
            return False
        return True

    def read(self) -> bytes | None:
        """Return what has come; nothing at the end of the connection, however it ended; None if more may come.

        Raises ssl.SSLError for a fault of TLS that is not the end.
        """
        try:
            return self._sock.recv(_RECEIVED)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except OSError as error:
            if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
                raise
            self.torn = True
            return b""

    def wait(self, context: Context, *, writing: bool) -> None:
        """Wait until there is something to read, or with ``writing`` until something can be sent.

        Raises the context's error once that is done.
        """
        self._waiter.wait(context, {self._sock: READ | WRITE if writing else READ})

    def close(self) -> None:
        """Close the connection, and TLS as far as that needs no waiting."""
        if isinstance(self._sock, ssl.SSLSocket):
            try:
                self._sock.unwrap()
            except (OSError, ValueError):
                pass  # it would wait for the server's answer, or the server is gone
        self._sock.close()

    def forget(self) -> None:
        """Close this process's copy of a connection that its parent goes on using; nothing is sent."""
        socket.close(self._sock.detach())

    def __del__(self) -> None:
        self._sock.close()  # for an exporter that was never shut down
