"""The exporter: where requests go, with which headers, and what the answers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exporter_core import Destination
from exporter_core_otlp.http.config import OtlpHttpConfig
from exporter_core_otlp.http.connection import HttpAnswer, HttpConnection
from exporter_core_otlp.http.verdict import judged
from exporter_core_otlp.network import USER_AGENT, NetworkExporter
from exporter_core_otlp.tls import tls_context
from exporter_core_otlp.transport.address import parse_url, proxy_for
from exporter_core_otlp.transport.connecting import Route, connect
from exporter_core_otlp.transport.wire import Wire

if TYPE_CHECKING:
    from exporter_core import Context
    from exporter_core_otlp.answers import Answer
    from exporter_core_otlp.transport.waiting import Waiter

_CONTENT_TYPES: Final = {"protobuf": "application/x-protobuf", "json": "application/json"}


class OtlpHttpExporter(NetworkExporter[OtlpHttpConfig, HttpAnswer]):
    """Send metrics by OTLP over HTTP."""

    def __init__(self, config: OtlpHttpConfig) -> None:
        self._url = parse_url(config.endpoint)
        super().__init__(config, str(self._url), encoding=config.encoding)
        self._tls = tls_context(config.tls, "http/1.1") if self._url.scheme == "https" else None
        self._headers = self._fixed_headers()

    def destination(self) -> Destination:
        """The URL that is sent to."""
        return Destination(self.server)

    def connect(self, context: Context, waiter: Waiter) -> HttpConnection:
        """Connect to the server, or to the environment's proxy for it."""
        url = self._url
        proxy = proxy_for(url.host, url.port, url.scheme, "all")
        self.keep_secret(url, proxy)
        route = Route(url.host, url.port, tls=self._tls, proxy=proxy, tunnelled=self._tls is not None)
        target, headers = url.target, self._headers
        if proxy is not None and not route.tunnelled:
            target = url.absolute
            if proxy.authorization is not None:
                headers = [*headers, (b"Proxy-Authorization", proxy.authorization.encode())]
        return HttpConnection(Wire(connect(context, waiter, route), waiter), target, headers)

    def judge(self, answer: HttpAnswer) -> Answer:
        """As OTLP has it."""
        return judged(answer, self.server, self.mask)

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
