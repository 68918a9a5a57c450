"""A listening TCP port that can refuse, swallow or neglect connections, and its connections with their stamps."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from exporter_core.conformance.sinks.errors import SinkPortTakenError
from exporter_core.conformance.sinks.records import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.conformance.sinks.server.core import NetworkServer

HOST = "127.0.0.1"
HEAD = 65536  # bytes of a line, or of a request's head, at most
_BACKLOG = 512
_MOST_FILLERS = 64
_QUEUE = struct.Struct("=24xII")  # struct tcp_info: of a listener, the accept queue's length and limit


class Wire(asyncio.Protocol):
    """One accepted connection: bytes in, bytes out, and its record."""

    def __init__(self, server: NetworkServer, number: int, sock: socket.socket) -> None:
        self._server = server
        self.sock = sock
        self.connection = Connection(number=number, opened=server.stamp())
        self.reader = asyncio.StreamReader(limit=HEAD)
        self.busy = self.ended = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy: what connect_accepted_socket makes
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if not self.ended:
            self.reader.feed_data(data)
            received = self.connection.bytes_received + len(data)
            self.connection = replace(self.connection, bytes_received=received)

    def eof_received(self) -> bool:
        """Note that the peer has closed; the connection's own task closes this end."""
        self._end("peer")
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        """Note that the peer has reset the connection, unless this end was closed before."""
        self._end("peer")

    def _end(self, closed_by: str) -> None:
        if not self.ended:
            self.ended = True
            self.reader.feed_eof()
            self.connection = replace(self.connection, closed=self._server.stamp(), closed_by=closed_by)
        self._server.changed()

    def gone(self) -> bool:
        """True if the connection has ended, also when the event loop has not come round to it yet."""
        if not self.ended:
            try:
                if self.sock.fileno() < 0 or self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                    self._end("peer")
            except BlockingIOError:
                pass
            except OSError:
                self._end("peer")
        return self.ended

    async def neglect(self, until: Callable[[], bool]) -> None:
        """Read nothing until the peer closes or ``until`` holds.

        A transport that does not read does not see the peer close either, so an epoll object looks for that.
        """
        if self.transport is None or self.transport.is_closing():
            return
        self.transport.pause_reading()
        loop = asyncio.get_running_loop()
        with select.epoll() as poller:
            poller.register(self.sock, select.EPOLLRDHUP)
            loop.add_reader(poller, self._neglected_end, poller)
            try:
                await self._server.until(lambda: self.ended or until())
            finally:
                loop.remove_reader(poller)

    def _neglected_end(self, poller: select.epoll) -> None:
        asyncio.get_running_loop().remove_reader(poller)
        self._end("peer")

    def write(self, data: bytes) -> None:
        """Send; to a connection that has ended, nothing."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        """Close once everything written is sent (FIN)."""
        self._end("sink")
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        """Close at once, with a reset (RST)."""
        self._end("sink")
        if self.transport is not None and self.sock.fileno() >= 0:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()


class Listener:
    """Accepts connections on one port of the loopback interface.

    A second socket, bound and never listening, keeps the port while nothing listens on it.

    Args:
        server: the sink, which serves each connection.
        port: the port, or 0 for a free one. SinkPortTakenError if it is in use.
    """

    def __init__(self, server: NetworkServer, port: int) -> None:
        self._server = server
        self.wires: list[Wire] = []
        self._accepted = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._fillers: list[socket.socket] = []
        self._listening: socket.socket | None = None
        self._mode = ""
        self._held = socket.socket()
        if port:
            # A port that an earlier program has left connections on in TIME_WAIT is free.
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._held.bind((HOST, port))
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.port: int = self._held.getsockname()[1]
            self._listen(_BACKLOG)
        except OSError as error:
            self._held.close()
            if error.errno == errno.EADDRINUSE:
                raise SinkPortTakenError(f"port {port} of {HOST} is taken by another program") from None
            raise

    def set_mode(self, kind: str) -> None:
        """``"refuse"``, ``"blackhole"`` or meet with ``"silence"`` every connection, or serve it (the empty text)."""
        if kind == self._mode:
            return
        self._mode = kind
        self._close_listening()
        if kind == "blackhole":
            self._swallow()
        elif kind != "refuse":
            self._listen(_BACKLOG)
        self._server.changed()
        if kind:
            for wire in self.wires:
                if not wire.busy:
                    wire.reset()

    @property
    def accepting(self) -> bool:
        """False while connections are refused; existing ones are then closed after their present answer."""
        return not self._mode

    def stop(self, *, keep_port: bool) -> None:
        """Accept nothing more, and reset every connection.

        A port that is kept refuses new connections and cannot be taken by another program while the process lives.
        """
        self._close_listening()
        if not keep_port:
            self._held.close()
        for wire in self.wires:
            wire.reset()

    def _listen(self, backlog: int) -> socket.socket:
        self._listening = listening = socket.socket()
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((HOST, self.port))
            listening.setblocking(False)
            listening.listen(backlog)
        except OSError:
            self._close_listening()
            raise
        if backlog:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)
        return listening

    def _close_listening(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
            self._listening = None

    def _swallow(self) -> None:
        """Listen with a full queue: Linux then drops every SYN, as a dead host or a firewall would."""
        listening = self._listen(0)
        for _ in range(_MOST_FILLERS):
            length, limit = _QUEUE.unpack_from(listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104))
            if length > limit:
                return
            filler = socket.socket()
            self._fillers.append(filler)
            filler.settimeout(0.01)
            try:
                filler.connect((HOST, self.port))
            except OSError:
                pass  # dropped, then; the queue's length tells
        raise RuntimeError(f"the queue of port {self.port} does not fill; blackhole needs Linux")

    def _accept(self, listening: socket.socket) -> None:
        while listening is self._listening:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._accepted += 1
            wire = Wire(self._server, self._accepted, sock)
            self.wires.append(wire)
            task = asyncio.get_running_loop().create_task(self._run(wire))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, wire: Wire) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: wire, wire.sock)
            if self._mode == "silence":
                await wire.neglect(lambda: self._mode != "silence")
                wire.reset()
            else:
                await self._server.serve(wire)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the peer has gone in between, or sends a line without end
        except Exception as error:  # noqa: BLE001 - a fault of the sink itself: the parent is told when it asks
            self._server.failures.append(f"{type(error).__name__}: {error}")
        finally:
            wire.close()
