"""Wrong exporters of lines over TCP."""

from __future__ import annotations

import socket

from exporter_core import ExporterError
from third_party.open_transport import HttpClient, _quietly
from third_party.right_open_lines import TcpLinesNA


class NoHalfClose(TcpLinesNA):
    """Closes at once after sendall, with no wait for the server to have read."""

    def end(self, context, sock):
        pass


class CallsSendOnce(TcpLinesNA):
    """Calls send, with a time-out on the socket, and does not look at how much was sent."""

    def attempt(self, context, data):
        client = object.__new__(HttpClient)
        client.host, client.port, client.scheme = self.host, self.port, "tcp"
        client.connect(context)
        sock = client.sock
        sock.settimeout(context.remaining() or 30)
        handle = context.on_done(lambda: _quietly(sock.shutdown, socket.SHUT_RDWR))
        try:
            sock.send(data)
            self.end(context, sock)
        finally:
            handle.unregister()
            sock.close()


class SplitsLines(TcpLinesNA):
    """Makes one line of each request with str.splitlines, which also splits at U+2028 and U+0085."""

    def line(self, data):
        text = data if isinstance(data, str) else data.decode()
        return b"".join(line.encode() + b"\n" for line in text.splitlines())


class Ascii(TcpLinesNA):
    """Encodes its lines in ASCII, with question marks for the rest."""

    def line(self, data):
        text = data if isinstance(data, str) else data.decode()
        return text.rstrip("\n").encode("ascii", "replace") + b"\n"


class DropsAstralCharacters(TcpLinesNA):
    """Drops characters outside the basic multilingual plane."""

    def line(self, data):
        text = data if isinstance(data, str) else data.decode()
        return "".join(c for c in text if ord(c) < 0x10000).rstrip("\n").encode() + b"\n"


class ResetIsFine(TcpLinesNA):
    """Takes a connection reset after it has sent everything for the server's way to close."""

    def end(self, context, sock):
        try:
            super().end(context, sock)
        except ConnectionResetError:
            pass


class ClosesAtTheDeadline(TcpLinesNA):
    """Takes the end of its own socket at the deadline for the server's close, and returns."""

    def end(self, context, sock):
        sock.shutdown(socket.SHUT_WR)
        if sock.recv(1000):
            raise ExporterError("the server speaks, which it should not")


class StartsOverWithNewLines(TcpLinesNA):
    """Sends the first line of each batch by itself, and then all its lines."""

    def send(self, context, data):
        self.attempt(context, data[: data.index(b"\n") + 1])
        super().send(context, data)


class KeepsFailedSockets(TcpLinesNA):
    """Closes its socket only where sending has gone well."""

    def attempt(self, context, data):
        client = object.__new__(HttpClient)
        client.host, client.port, client.scheme = self.host, self.port, "tcp"
        client.connect(context)
        sock = client.sock
        FAILED.append(sock)
        handle = context.on_done(lambda: _quietly(sock.shutdown, socket.SHUT_RDWR))
        try:
            sock.sendall(data)
            self.end(context, sock)
        finally:
            handle.unregister()
        sock.close()
        FAILED.remove(sock)


FAILED = []
