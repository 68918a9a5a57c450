"""The HTTP server: waitress, with bounds on everything that a client can make it wait for or keep.

One thread keeps all connections, whatever their clients do; a few others run the application. A connection is closed
when its request is not complete, or its answer not taken, in time. Where there are too many, the oldest that waits for
its client makes room for the new one, so that clients who hold connections never shut a scraper out.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from exporter_core import Context, ExporterError

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS: Final = 8
"""Scrapes that are answered at the same time; all of them wait for one collection."""
CONNECTIONS: Final = 128
REQUEST_BYTES: Final = 16_384
REQUEST_SECONDS: Final = 5.0
"""Seconds for sending a request."""
ANSWER_SECONDS: Final = 150.0
"""Seconds for the answer, from the beginning of the request until the client has taken it all."""
IDLE_SECONDS: Final = 120.0
"""Seconds that a connection may stay open between two requests."""
LOOK_SECONDS: Final = 1.0
_POLL: Final = 0.02

_logger = logging.getLogger(__name__)

_quiet = logging.getLogger(f"{__name__}.queue")
_quiet.disabled = True  # how many clients wait is nothing to fill a log with


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection, which knows since when its request is under way."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # Any: waitress's own, here and below
        self.began = time.monotonic()
        super().__init__(*arguments, **options)

    def received(self, data: bytes) -> bool:
        if self.request is None and not self.requests:
            self.began = time.monotonic()
        return bool(super().received(data))

    def deadline(self) -> float:
        """Return the time at which the connection is closed unless something happens before."""
        if self.requests or self.total_outbufs_len:
            return self.began + ANSWER_SECONDS
        if self.request is not None:
            return self.began + REQUEST_SECONDS
        return self.began + IDLE_SECONDS

    @property
    def runs(self) -> bool:
        """True while the application works for it."""
        return bool(self.requests)

    def end(self) -> None:
        """Cut the client off, and close the connection in the loop's next round.

        The number of its socket stays taken until then: a client that comes in this round would get it, and with it
        the events that this round still holds for the old one.
        """
        self.will_close = True
        if self.socket is not None:
            with contextlib.suppress(OSError):  # the client has gone
                self.socket.shutdown(socket.SHUT_RDWR)


class _Dispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]  # waitress has no types
    """The threads of the application."""

    queue_logger = _quiet


class _Waitress(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    """Waitress, which closes connections by their deadlines, and the oldest where there are too many."""

    channel_class = _Channel

    def maintenance(self, now: float) -> None:  # noqa: ARG002 - waitress's signature; its clock may be set
        """Close the connections whose time is up; waitress calls this every second."""
        channels: Any = self.active_channels
        for channel in list(channels.values()):
            if channel.deadline() <= time.monotonic():
                channel.end()

    def handle_accept(self) -> None:
        """Take a connection, and make room for it."""
        channels: Any = self.active_channels
        if len(channels) >= CONNECTIONS:
            waiting = [channel for channel in list(channels.values()) if not (channel.runs or channel.will_close)]
            if waiting:
                min(waiting, key=lambda channel: channel.began).end()
        super().handle_accept()


class Server:
    """Serves a WSGI application on one address, from :meth:`start` to :meth:`stop`.

    Args:
        application: the application.
        host: the address to serve on, or a name of it.
        port: the port; 0 for a free one.

    Raises:
        ExporterError: the address cannot be had; the message says why, and the way out.
    """

    def __init__(self, application: Callable[..., Any], host: str, port: int) -> None:
        listener = _listener(host, port)
        self.address: tuple[str, int] = listener.getsockname()[:2]
        """The address that it serves on."""
        self._map: dict[int, Any] = {}
        self._dispatcher = _Dispatcher()
        settings = Adjustments(
            sockets=[listener],
            threads=THREADS,
            connection_limit=4 * CONNECTIONS,  # not reached: the oldest makes room before
            cleanup_interval=LOOK_SECONDS,
            asyncore_loop_timeout=LOOK_SECONDS,
            asyncore_use_poll=True,
            max_request_header_size=REQUEST_BYTES,
            max_request_body_size=REQUEST_BYTES,
            log_socket_errors=False,
            clear_untrusted_proxy_headers=False,
            ident=None,
        )
        self._waitress: Any = _Waitress(
            application,
            map=self._map,
            _sock=listener,
            dispatcher=self._dispatcher,
            adj=settings,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            bind_socket=False,
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"exporter-core-prometheus-{self.address[1]}", daemon=True
        )

    def start(self) -> None:
        """Begin to serve."""
        self._dispatcher.set_thread_count(THREADS)
        self._thread.start()

    def stop(self, context: Context) -> None:
        """Take no new connection, answer the requests under way while the context lasts, and close everything."""
        if self._thread.ident is not None:
            self._waitress.trigger.pull_trigger(self._stop_listening)
            while not context.done and not self._ended.is_set() and not self._is_idle():
                context.wait(_POLL)
            self._waitress.trigger.pull_trigger(self._close_all)
            self._dispatcher.set_thread_count(0)  # each ends after its request
            least = Context.with_timeout(_LEAST)
            while (self._dispatcher.threads or not self._ended.is_set()) and not (context.done and least.done):
                time.sleep(_POLL)
        else:
            self._close_all()
        # A thread that still works may wake the server once more: by then the number could be that of another file.
        if not self._dispatcher.threads:
            self._waitress.trigger.close()

    def leave(self) -> None:
        """Close this process's copies of all sockets, in a forked child, without a word to their clients."""
        for one in list(self._map.values()):
            if one is not self._waitress.trigger:
                one.socket.close()
        self._waitress.trigger.close()
        self._map.clear()

    def _run(self) -> None:
        try:
            while self._map:
                try:
                    wasyncore.loop(timeout=LOOK_SECONDS, use_poll=True, map=self._map)
                except Exception:
                    _logger.exception("the server of metrics goes on after an error")
                    time.sleep(LOOK_SECONDS)  # should it come again at once
        finally:
            self._ended.set()

    def _is_idle(self) -> bool:
        channels = list(self._waitress.active_channels.values())
        listens = self._waitress.accepting
        return not listens and not any(channel.runs or channel.total_outbufs_len for channel in channels)

    def _stop_listening(self) -> None:
        self._waitress.accepting = False
        wasyncore.dispatcher.close(self._waitress)

    def _close_all(self) -> None:
        for channel in list(self._waitress.active_channels.values()):
            channel.handle_close()
        if self._waitress.accepting:
            self._stop_listening()
        self._map.clear()  # which ends the thread


_LEAST: Final = 0.5  # seconds for closing, whatever the context says


def _listener(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to the address."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ExporterError(f"host: {host!r} is no address of this machine: {error}") from None
    # A name such as localhost has an address of each family; clients try both, and the older one is always there.
    family, kind, protocol, _, address = min(found, key=lambda one: one[0] is not socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(CONNECTIONS)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        where = f"port {port} of {host}"
        if error.errno == errno.EADDRINUSE:
            hint = "set another port; each process needs one of its own"
            raise ExporterError(f"{where} is taken by another process: {hint}") from None
        if error.errno == errno.EACCES:
            raise ExporterError(f"{where} may not be used: permission denied; set a port above 1023") from None
        raise ExporterError(f"cannot serve on {where}: {error.strerror or error}") from None
    return listener
