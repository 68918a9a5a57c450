"""A way through an HTTP proxy: ``CONNECT``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import h11

from exporter_core import DeadlineExceededError, ExporterError
from exporter_core_otlp.retry import RetryableError
from exporter_core_otlp.transport.waiting import READ, WRITE

if TYPE_CHECKING:
    import socket

    from exporter_core import Context
    from exporter_core_otlp.transport.address import Url
    from exporter_core_otlp.transport.waiting import Waiter

_BUSY: Final = frozenset({429, 502, 503, 504})


def tunnel(context: Context, waiter: Waiter, sock: socket.socket, host_port: str, proxy: Url) -> None:
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
        _send(context, waiter, sock, head)
        answer = _answer(context, waiter, sock, http)
    except DeadlineExceededError:
        raise  # which is an OSError too
    except (OSError, h11.RemoteProtocolError) as error:
        raise RetryableError(f"the proxy {proxy} broke off the connection") from error
    if answer.status_code // 100 != 2:  # noqa: PLR2004 - 2xx
        kind = RetryableError if answer.status_code in _BUSY else ExporterError
        said = f"{answer.status_code} {answer.reason.decode('latin-1')}".rstrip()
        raise kind(f"the proxy {proxy} refuses to connect to it: {said}")


def _send(context: Context, waiter: Waiter, sock: socket.socket, data: bytes) -> None:
    while data:
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            waiter.wait(context, {sock: WRITE})


def _answer(context: Context, waiter: Waiter, sock: socket.socket, http: h11.Connection) -> h11.Response:
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
