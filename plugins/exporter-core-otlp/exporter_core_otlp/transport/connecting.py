"""A connection to a server: name, addresses, proxy and TLS, all within one context."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from exporter_core import DeadlineExceededError, ExporterError
from exporter_core_otlp.retry import RetryableError
from exporter_core_otlp.tls import reason
from exporter_core_otlp.transport.address import joined
from exporter_core_otlp.transport.resolving import resolve
from exporter_core_otlp.transport.tunnel import tunnel
from exporter_core_otlp.transport.waiting import READ, WRITE

if TYPE_CHECKING:
    from exporter_core import Context
    from exporter_core_otlp.transport.address import Url
    from exporter_core_otlp.transport.resolving import Address
    from exporter_core_otlp.transport.waiting import Waiter

_HEAD_START: Final = 0.25  # seconds before a further address is tried beside one that does not answer (RFC 8305)


@dataclass(frozen=True, slots=True)
class Route:
    """The way to a server."""

    host: str
    """A name or an address, an IPv6 one without brackets; for a socket in the file system, whose its certificate is."""
    port: int = 0
    socket_path: str | None = None
    """Where in the file system the server's socket is, for one that is there."""
    tls: ssl.SSLContext | None = None
    proxy: Url | None = None
    """The HTTP proxy that is connected to in the server's place."""
    tunnelled: bool = True
    """Whether that is to connect to the server (``CONNECT``), or will be sent requests that it passes on."""

    @property
    def host_port(self) -> str:
        """``host:port``."""
        return joined(self.host, self.port)


def connect(context: Context, waiter: Waiter, route: Route) -> socket.socket:
    """A non-blocking connection over which to talk to the server, or to a proxy that passes requests on.

    Raises:
        RetryableError: the server or the proxy cannot be reached for the moment.
        ExporterError: what it says will not change: its certificate, the proxy's refusal.
        DeadlineExceededError, ContextCancelledError: as soon as the context is done.
    """
    proxy = route.proxy
    sock = _to_path(route.socket_path) if route.socket_path is not None else _to_host(context, waiter, route)
    try:
        if proxy is not None and route.tunnelled:
            tunnel(context, waiter, sock, route.host_port, proxy)
        return sock if route.tls is None else _with_tls(context, waiter, sock, route.host, route.tls)
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
    """A connection to the first address that answers. OSError with the first failure if none does."""
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
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    del waiting[sock]
                    return sock
                del waiting[sock]
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


def _with_tls(context: Context, waiter: Waiter, sock: socket.socket, host: str, tls: ssl.SSLContext) -> ssl.SSLSocket:
    wrapped = tls.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False, suppress_ragged_eofs=False)
    try:
        while True:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                waiter.wait(context, {wrapped: READ})
            except ssl.SSLWantWriteError:
                waiter.wait(context, {wrapped: WRITE})
            else:
                return wrapped
    except BaseException as error:
        wrapped.close()
        if isinstance(error, DeadlineExceededError) or not isinstance(error, OSError):
            raise
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            raise ExporterError(f"TLS: {reason(error)}") from error
        raise RetryableError("the server ended the TLS handshake") from error
