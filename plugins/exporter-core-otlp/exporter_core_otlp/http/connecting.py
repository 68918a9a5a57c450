"""A connection to a server: name, addresses, proxy and TLS, all within one context."""

from __future__ import annotations

import os
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final

from exporter_core import DeadlineExceededError, ExporterError
from exporter_core_otlp.http.resolving import resolve
from exporter_core_otlp.http.tunnel import tunnel
from exporter_core_otlp.http.waiting import READ, WRITE
from exporter_core_otlp.retry import RetryableError
from exporter_core_otlp.tls import reason

if TYPE_CHECKING:
    from exporter_core import Context
    from exporter_core_otlp.http.address import Url
    from exporter_core_otlp.http.resolving import Address
    from exporter_core_otlp.http.waiting import Waiter

__all__ = ["connect"]

_HEAD_START: Final = 0.25  # seconds before a further address is tried beside one that does not answer (RFC 8305)


def connect(context: Context, waiter: Waiter, url: Url, proxy: Url | None, tls: ssl.SSLContext | None) -> socket.socket:
    """A non-blocking connection over which to talk to the URL's server, or to a proxy that passes requests on.

    Raises:
        RetryableError: the server or the proxy cannot be reached for the moment.
        ExporterError: what it says will not change: its certificate, the proxy's refusal.
        DeadlineExceededError, ContextCancelledError: as soon as the context is done.
    """
    nearest = proxy or url
    via = f" of the proxy {proxy}" if proxy is not None else ""
    try:
        addresses = resolve(context, nearest.host, nearest.port)
    except DeadlineExceededError:
        raise  # which is an OSError too
    except OSError as error:
        raise RetryableError(f"{url}: the host{via} is not found: {reason(error)}") from error
    try:
        sock = _connected(context, waiter, addresses)
    except DeadlineExceededError:
        raise
    except OSError as error:
        raise RetryableError(f"{url}: cannot connect{via}: {reason(error)}") from error
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            if proxy is not None:
                tunnel(context, waiter, sock, url, proxy)
            sock = _with_tls(context, waiter, sock, url, tls)
    except BaseException:
        sock.close()
        raise
    return sock


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


def _connecting(family: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.connect(address)
    except BlockingIOError:
        pass  # under way
    except BaseException:
        sock.close()
        raise
    return sock


def _with_tls(context: Context, waiter: Waiter, sock: socket.socket, url: Url, tls: ssl.SSLContext) -> ssl.SSLSocket:
    wrapped = tls.wrap_socket(sock, server_hostname=url.host, do_handshake_on_connect=False)
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
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError) as error:
        wrapped.close()
        raise RetryableError(f"{url}: the server ended the TLS handshake") from error
    except ssl.SSLError as error:
        wrapped.close()
        raise ExporterError(f"{url}: TLS: {reason(error)}") from error
    except BaseException:
        wrapped.close()
        raise
