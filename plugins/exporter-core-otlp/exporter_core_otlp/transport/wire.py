"""Bytes over a connected socket that never blocks."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final

from exporter_core_otlp.transport.waiting import READ, WRITE

if TYPE_CHECKING:
    from exporter_core import Context
    from exporter_core_otlp.transport.waiting import Waiter

_RECEIVED: Final = 65536  # bytes at a time
_PIECES: Final = 64  # sent at a time; systems take no more than 1024


class Wire:
    """One connection's socket.

    Args:
        sock: connected, non-blocking.
        waiter: waits for it.
    """

    torn: bool = False
    """Whether the connection has ended without the other side having said so."""

    def __init__(self, sock: socket.socket, waiter: Waiter) -> None:
        self._sock = sock
        self._waiter = waiter

    def write(self, unsent: list[memoryview]) -> bool:
        """Send as much as goes at once, and take that off the list; whether the other side may still take the rest."""
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
        """What has come; nothing at the end, however that came about; None if there may be more later.

        Raises ssl.SSLError for what is no end but wrong.
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
        """Close it; with TLS, say so to the server as far as that goes without waiting."""
        if isinstance(self._sock, ssl.SSLSocket):
            try:
                self._sock.unwrap()
            except (OSError, ValueError):
                pass  # it wants to wait for the server's word, or there is nobody to say it to
        self._sock.close()

    def forget(self) -> None:
        """Close this process's copy of a connection that its parent goes on using: nothing is sent."""
        socket.close(self._sock.detach())

    def __del__(self) -> None:
        self._sock.close()  # for an exporter that was never shut down
