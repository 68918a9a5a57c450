"""The exporter: one attempt of a request, over a connection that is kept for the next."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import h11

from exporter_core import DeadlineExceededError, Destination, ExporterError
from exporter_core_otlp.http.address import parse_url, proxy_for
from exporter_core_otlp.http.compression import gzipped
from exporter_core_otlp.http.config import OtlpHttpConfig
from exporter_core_otlp.http.connecting import connect
from exporter_core_otlp.http.connection import ClosedError, Connection
from exporter_core_otlp.http.verdict import judged
from exporter_core_otlp.http.waiting import Waiter
from exporter_core_otlp.network import USER_AGENT, NetworkExporter
from exporter_core_otlp.retry import RetryableError
from exporter_core_otlp.tls import reason, tls_context

if TYPE_CHECKING:
    from exporter_core import Context
    from exporter_core_otlp.answers import Answer
    from exporter_core_otlp.encoding import Request
    from exporter_core_otlp.http.connection import HttpAnswer

__all__ = ["OtlpHttpExporter"]

_CONTENT_TYPES: Final = {"protobuf": "application/x-protobuf", "json": "application/json"}


class OtlpHttpExporter(NetworkExporter[OtlpHttpConfig]):
    """Send metrics by OTLP over HTTP."""

    def __init__(self, config: OtlpHttpConfig) -> None:
        super().__init__(config, encoding=config.encoding, compress=gzipped if config.compression == "gzip" else None)
        self._url = parse_url(config.endpoint)
        self._shown = str(self._url)
        self._tls = tls_context(config.tls, "http/1.1") if self._url.scheme == "https" else None
        self._headers = self._fixed_headers()
        self._target: bytes | str = self._url.target
        self._proxy_headers: list[tuple[bytes, bytes]] = []
        self._doing = ""  # for the error of a deadline
        self._waiter: Waiter | None = None
        self._connection: Connection | None = None

    def destination(self) -> Destination:
        """The URL that is sent to."""
        return Destination(self._shown)

    def attempt(self, context: Context, request: Request) -> Answer:
        """Send the request once; twice if the server had closed the kept connection before it could read."""
        try:
            answer = self._ask(context, request)
        except ClosedError as error:
            if error.status is not None and error.status // 100 == 2:  # noqa: PLR2004 - 2xx
                # Sent again, the points would most likely arrive twice.
                raise ExporterError(f"{self._shown}: {error}, after status {error.status}") from error
            raise RetryableError(f"{self._shown}: {error}") from error
        except DeadlineExceededError as error:
            raise DeadlineExceededError(f"{self._shown}: {self._doing} took until the deadline") from error
        except ssl.SSLError as error:
            raise ExporterError(f"{self._shown}: TLS: {reason(error)}") from error
        return judged(answer, self._shown, self.mask)

    def release(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        if self._waiter is not None:
            self._waiter.close()
        self._connection = self._waiter = None

    def forget(self) -> None:
        """Let go of the connection that is the parent's."""
        if self._connection is not None:
            self._connection.forget()
        if self._waiter is not None:
            self._waiter.close()
        self._connection = self._waiter = None

    def _ask(self, context: Context, request: Request) -> HttpAnswer:
        waiter = self._waiter = self._waiter or Waiter()
        with waiter.woken_by(context):
            connection = self._connection
            if connection is not None:
                if connection.idle():
                    try:
                        return self._exchange(context, connection, request)
                    except ClosedError as error:
                        if not error.unanswered:
                            raise
                        # The server closed it while the request was on its way: no fault of the request.
                else:
                    self._drop(connection)
            self._doing = "connecting"
            proxy = proxy_for(self._url)
            connection = Connection(connect(context, waiter, self._url, proxy, self._tls), waiter)
            forwarding = proxy is not None and self._tls is None
            self._target = self._url.absolute if forwarding else self._url.target
            authorization = proxy.authorization if proxy is not None and forwarding else None
            self._proxy_headers = [(b"Proxy-Authorization", authorization.encode())] if authorization else []
            self._connection = connection
            return self._exchange(context, connection, request)

    def _exchange(self, context: Context, connection: Connection, request: Request) -> HttpAnswer:
        head = h11.Request(
            method="POST",
            target=self._target,
            headers=[*self._headers, *self._proxy_headers, (b"Content-Length", b"%d" % len(request.body))],
        )
        self._doing = "waiting for the answer"
        try:
            answer = connection.exchange(context, head, request.body)
        except ExporterError as error:
            self._drop(connection)
            raise ExporterError(f"{self._shown}: {self.mask(str(error))}") from error
        except BaseException:
            self._drop(connection)
            raise
        if not connection.reusable:
            self._drop(connection)
        return answer

    def _drop(self, connection: Connection) -> None:
        self._connection = None
        connection.close()

    def _fixed_headers(self) -> list[tuple[bytes, bytes]]:
        """What every request has; options go before what is only usual."""
        headers = {
            "host": ("Host", self._url.authority),
            "user-agent": ("User-Agent", USER_AGENT),
            "content-type": ("Content-Type", _CONTENT_TYPES[self.config.encoding]),
        }
        if self.config.compression == "gzip":
            headers["content-encoding"] = ("Content-Encoding", "gzip")
        if self._url.authorization is not None:
            headers["authorization"] = ("Authorization", self._url.authorization)
        headers |= {name.lower(): (name, value) for name, value in self.config.header_values().items()}
        return [(name.encode(), value.encode()) for name, value in headers.values()]
