"""A connection to a server: name, addresses, proxy and TLS, all within one context."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import h11

from exporter_core.authoring.retry import RetryableError
from exporter_core.errors import DeadlineExceededError, ExporterError
from exporter_core.net.address import join_host_port
from exporter_core.net.messages import RETRYABLE_STATUSES
from exporter_core.net.resolving import resolve
from exporter_core.net.sockets import READ, WRITE, Wire
from exporter_core.net.tls import reason

if TYPE_CHECKING:
    from exporter_core.context import Context
    from exporter_core.net.address import Url
    from exporter_core.net.resolving import Address
    from exporter_core.net.sockets import Waiter

_HEAD_START: Final = 0.25  # seconds before the next address is tried in parallel (RFC 8305)
_NO_PROTOCOL: Final = "TLS: the server does not offer HTTP/{} (no application protocol)"


@dataclass(frozen=True, slots=True)
class Route:
    """The way to a server."""

    host: str
    """A name or an address, an IPv6 one without brackets; with a socket in the file system, the certificate's host."""
    port: int = 0
    socket_path: str | None = None
    """The path of the server's socket, if that is in the file system."""
    tls: ssl.SSLContext | None = None
    proxy: Url | None = None
    """The HTTP proxy that is connected to instead of the server."""
    tunnelled: bool = True
    """True if the proxy has to connect to the server (``CONNECT``), False if it is sent requests to pass on."""

    http_2: bool = False
    """True if the server has to choose HTTP/2 in the TLS handshake."""

    @property
    def host_port(self) -> str:
        """``host:port``."""
        return join_host_port(self.host, self.port)


def connect(context: Context, waiter: Waiter, route: Route) -> Wire:
    """Connect to the server, or to a proxy that passes requests on.

    Raises:
        RetryableError: the server or the proxy cannot be reached for the moment.
        ExporterError: another attempt would fail too: on the certificate, or the proxy's refusal.
        DeadlineExceededError, ContextCancelledError: as soon as the context is done.
    """
    sock = _to_path(route.socket_path) if route.socket_path is not None else _to_host(context, waiter, route)
    try:
        if route.proxy is not None and route.tunnelled:
            _tunnel(context, waiter, sock, route.host_port, route.proxy)
        return Wire(sock if route.tls is None else _with_tls(context, waiter, sock, route, route.tls), waiter)
    except BaseException:
        sock.close()
        raise


def _to_path(path: str) -> socket.socket:
    try:
        return _connecting(socket.AF_UNIX, path)
    except OSError as error:
        raise RetryableError(f"cannot connect: {reason(error)}") from error


def _to_host(context: Context, waiter: Waiter, route: Route) -> socket.socket:
    nearest = route.proxy or route
    of, to = (f" of the proxy {route.proxy}", f" to the proxy {route.proxy}") if route.proxy is not None else ("", "")
    try:
        addresses = resolve(context, nearest.host, nearest.port)
    except DeadlineExceededError:
        raise  # which is an OSError too
    except OSError as error:
        raise RetryableError(f"the host{of} is not found: {reason(error)}") from error
    try:
        return _connected(context, waiter, addresses)
    except DeadlineExceededError:
        raise
    except OSError as error:
        raise RetryableError(f"cannot connect{to}: {reason(error)}") from error


def _connected(context: Context, waiter: Waiter, addresses: list[Address]) -> socket.socket:
    """Connect to the first address that answers. Raises OSError, that of the first failure, if none does."""
    waiting: dict[socket.socket, int] = {}
    failure: OSError | None = None
    coming = iter(addresses)
    try:
        more = True
        while True:
            if more:
                address = next(coming, None)
                if address is not None:
                    try:
                        waiting[_connecting(*address)] = WRITE
                    except OSError as error:
                        failure = failure or error
                        continue
                elif not waiting:
                    raise failure or OSError("it has no address")
            begun = time.monotonic()
            ready = waiter.wait(context, waiting, _HEAD_START)
            more = time.monotonic() - begun >= _HEAD_START
            for sock in [sock for sock in waiting if sock.fileno() in ready]:
                del waiting[sock]
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    return sock
                sock.close()
                failure = failure or OSError(code, os.strerror(code))
                more = True
    finally:
        for sock in waiting:
            sock.close()


def _connecting(family: socket.AddressFamily, address: tuple[object, ...] | str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(address)
    except BlockingIOError as error:
        if error.errno != errno.EINPROGRESS:  # a socket in the file system has too many waiting already
            sock.close()
            raise
    except BaseException:
        sock.close()
        raise
    return sock


def _with_tls(
    context: Context, waiter: Waiter, sock: socket.socket, route: Route, tls: ssl.SSLContext
) -> ssl.SSLSocket:
    wrapped = tls.wrap_socket(
        sock, server_hostname=route.host, do_handshake_on_connect=False, suppress_ragged_eofs=False
    )
    try:
        while True:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                waiter.wait(context, {wrapped: READ})
            except ssl.SSLWantWriteError:
                waiter.wait(context, {wrapped: WRITE})
            else:
                if route.http_2 and wrapped.selected_alpn_protocol() != "h2":
                    raise ExporterError(_NO_PROTOCOL.format("2"))
                return wrapped
    except BaseException as error:
        wrapped.close()
        if isinstance(error, DeadlineExceededError) or not isinstance(error, OSError):
            raise
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            if "no application protocol" in reason(error):
                raise ExporterError(_NO_PROTOCOL.format("2" if route.http_2 else "1.1")) from error
            raise ExporterError(f"TLS: {reason(error)}") from error
        raise RetryableError("the server ended the TLS handshake") from error


def _tunnel(context: Context, waiter: Waiter, sock: socket.socket, host_port: str, proxy: Url) -> None:
    """Have the proxy at the other end connect the socket to a server.

    Raises:
        RetryableError: the proxy cannot do it for the moment, or breaks off.
        ExporterError: it refuses.
        DeadlineExceededError, ContextCancelledError: as soon as the context is done.
    """
    headers = [("Host", host_port)]
    if proxy.authorization is not None:
        headers.append(("Proxy-Authorization", proxy.authorization))
    http = h11.Connection(h11.CLIENT)
    head = http.send(h11.Request(method="CONNECT", target=host_port, headers=headers)) or b""
    try:
        while head:
            try:
                head = head[sock.send(head) :]
            except BlockingIOError:
                waiter.wait(context, {sock: WRITE})
        answer = _answer_of_proxy(context, waiter, sock, http)
    except DeadlineExceededError:
        raise  # which is an OSError too
    except (OSError, h11.RemoteProtocolError) as error:
        raise RetryableError(f"the proxy {proxy} broke off the connection") from error
    if answer.status_code // 100 != 2:  # noqa: PLR2004 - 2xx
        kind = RetryableError if answer.status_code in RETRYABLE_STATUSES else ExporterError
        said = f"{answer.status_code} {answer.reason.decode('latin-1')}".rstrip()
        raise kind(f"the proxy {proxy} refuses to connect to it: {said}")


def _answer_of_proxy(context: Context, waiter: Waiter, sock: socket.socket, http: h11.Connection) -> h11.Response:
    while True:
        context.raise_if_done()  # a proxy may send without end
        event = http.next_event()
        if isinstance(event, h11.Response):
            return event
        if event is h11.NEED_DATA:
            try:
                # A byte at a time, so that nothing is taken of what the server itself has sent by then.
                http.receive_data(sock.recv(1))
            except BlockingIOError:
                waiter.wait(context, {sock: READ})
        elif isinstance(event, h11.ConnectionClosed):
            raise ConnectionResetError
