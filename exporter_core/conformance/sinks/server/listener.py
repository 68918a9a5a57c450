"""A listening TCP port that can also refuse and swallow connections, and its connections with their stamps."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import struct
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.sinks.records import Connection, Stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from exporter_core.conformance.sinks.server.core import Core

HOST = "127.0.0.1"
_BACKLOG = 512
_MOST_FILLERS = 64
_QUEUE = struct.Struct("=24xII")  # struct tcp_info: of a listener, the accept queue's length and limit


class PortTakenError(Exception):
    """Another program has the port."""


class Wire(asyncio.Protocol):
    """One accepted connection: bytes in, bytes out, and who closed it when."""

    def __init__(self, core: Core, number: int, sock: socket.socket) -> None:
        self.core = core
        self.number = number
        self.sock = sock
        self.opened = core.stamp()
        self.closed: Stamp | None = None
        self.closed_by: str | None = None
        self.bytes_received = 0
        self.busy = False
        self.buffer = bytearray()
        self.ended = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy: what connect_accepted_socket makes
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep the bytes for the reader."""
        self.buffer += data
        self.bytes_received += len(data)
        self.core.changed()

    def eof_received(self) -> bool:
        """The peer has closed; the connection's own task closes this end."""
        self._end("peer")
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        """The peer has reset the connection, or this end is closed."""
        self._end("peer")

    def _end(self, closed_by: str) -> None:
        self.ended = True
        if self.closed is None:
            self.closed = self.core.stamp()
            self.closed_by = closed_by
        self.core.changed()

    def gone(self) -> bool:
        """Whether the connection has ended, also when the event loop has not come round to it yet."""
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

        A transport that does not read does not see the peer close either, so that something else has to look.
        """
        if self.transport is None or self.transport.is_closing():
            return
        self.transport.pause_reading()
        loop = asyncio.get_running_loop()
        with select.epoll() as poller:
            poller.register(self.sock, select.EPOLLRDHUP)
            loop.add_reader(poller, self._neglected_end, poller)
            try:
                await self.core.until(lambda: self.ended or until())
            finally:
                loop.remove_reader(poller)

    def _neglected_end(self, poller: select.epoll) -> None:
        asyncio.get_running_loop().remove_reader(poller)
        self._end("peer")

    async def read_some(self, most: int = 65536) -> bytes:
        """Some bytes; none at the end."""
        await self.core.until(lambda: bool(self.buffer) or self.ended)
        data = bytes(self.buffer[:most])
        del self.buffer[: len(data)]
        return data

    async def read_until(self, mark: bytes, most: int) -> bytes | None:
        """What comes up to and with the mark; None if the connection ends or more than ``most`` bytes come first."""
        await self.core.until(lambda: mark in self.buffer or len(self.buffer) > most or self.ended)
        end = self.buffer.find(mark)
        if end < 0:
            return None
        return self._take(end + len(mark))

    async def read_exactly(self, count: int) -> bytes | None:
        """So many bytes; None if the connection ends before."""
        await self.core.until(lambda: len(self.buffer) >= count or self.ended)
        return self._take(count) if len(self.buffer) >= count else None

    def _take(self, count: int) -> bytes:
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

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

    def record(self) -> Connection:
        """The connection as it is handed out."""
        return Connection(
            number=self.number,
            opened=self.opened,
            closed=self.closed,
            closed_by=self.closed_by,
            bytes_received=self.bytes_received,
        )


class Listener:
    """Accepts connections on one port of the loopback interface.

    A second socket, bound and never listening, keeps the port while nothing listens on it.

    Args:
        core: the sink's.
        port: the port, or 0 for a free one. PortTakenError if it is in use.
        serve: what becomes of a connection.
    """

    def __init__(self, core: Core, port: int, serve: Callable[[Wire], Coroutine[Any, Any, None]]) -> None:
        self._core = core
        self._serve = serve
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
            self._listen()
        except OSError as error:
            self._held.close()
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(f"port {port} of {HOST} is taken by another program") from None
            raise
        core.on_unseen = self.set_mode

    def set_mode(self, kind: str) -> None:
        """``"refuse"`` or ``"blackhole"`` every connection, or accept again (the empty text)."""
        if kind == self._mode:
            return
        self._mode = kind
        self._close_listening()
        if kind == "blackhole":
            self._swallow()
        elif not kind:
            self._listen()
        if kind:
            for wire in self.wires:
                if not wire.busy:
                    wire.reset()

    @property
    def accepting(self) -> bool:
        """Whether connections are accepted; those that exist are closed after their present answer if not."""
        return not self._mode

    def stop(self, *, keep_port: bool) -> None:
        """Accept nothing more, and reset every connection.

        A port that is kept refuses whoever still sends there, and is nobody else's as long as the process lives.
        """
        self._close_listening()
        if not keep_port:
            self._held.close()
        for wire in self.wires:
            wire.reset()

    def forget_closed(self) -> None:
        """Drop the records of connections that have ended."""
        self.wires = [wire for wire in self.wires if wire.closed is None]

    def _listen(self, backlog: int = _BACKLOG) -> socket.socket:
        listening = socket.socket()
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((HOST, self.port))
            listening.setblocking(False)
            listening.listen(backlog)
        except OSError:
            listening.close()
            raise
        self._listening = listening
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
        listening = self._listen(backlog=0)
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
            wire = Wire(self._core, self._accepted, sock)
            self.wires.append(wire)
            task = asyncio.get_running_loop().create_task(self._run(wire))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, wire: Wire) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: wire, wire.sock)
            await self._serve(wire)
        except ConnectionError:
            pass  # the peer has gone in between
        except Exception as error:  # noqa: BLE001 - a fault of the sink itself: the parent is told when it asks
            self._core.failures.append(f"{type(error).__name__}: {error}")
        finally:
            wire.close()
