"""Calls over a network that end on time: for exporters whose backend is reached over HTTP, or over another protocol.

An exporter over HTTP needs :class:`HttpOptions`, :class:`HttpClient` and :class:`NetworkExporter`. One that speaks
another protocol subclasses :class:`ClientOptions`, :class:`Client` and :class:`Connection`, and calls :func:`connect`.
Needs the extra ``net``: ``pip install 'exporter-core[net]'``.
"""

from exporter_core.net.address import Url, ascii_host, join_host_port, parse_url, proxy_for
from exporter_core.net.client import Client, ClosedError, Connection, NetworkExporter
from exporter_core.net.connecting import Route, connect
from exporter_core.net.http import HttpAnswer, HttpClient, raise_for_status
from exporter_core.net.messages import (
    MAX_ANSWER_BYTES,
    RETRYABLE_STATUSES,
    answer_too_long,
    first_of_each,
    gzipped,
    masked_line,
    on_one_line,
)
from exporter_core.net.options import (
    AuthOptions,
    BasicAuth,
    ClientOptions,
    CompressionOptions,
    HeaderEntry,
    HttpOptions,
    HttpUrl,
    ProxyOptions,
    TlsOptions,
)
from exporter_core.net.sockets import Waiter, Wire
from exporter_core.net.tls import tls_context

__all__ = [
    "MAX_ANSWER_BYTES",
    "RETRYABLE_STATUSES",
    "AuthOptions",
    "BasicAuth",
    "Client",
    "ClientOptions",
    "ClosedError",
    "CompressionOptions",
    "Connection",
    "HeaderEntry",
    "HttpAnswer",
    "HttpClient",
    "HttpOptions",
    "HttpUrl",
    "NetworkExporter",
    "ProxyOptions",
    "Route",
    "TlsOptions",
    "Url",
    "Waiter",
    "Wire",
    "answer_too_long",
    "ascii_host",
    "connect",
    "first_of_each",
    "gzipped",
    "join_host_port",
    "masked_line",
    "on_one_line",
    "parse_url",
    "proxy_for",
    "raise_for_status",
    "tls_context",
]
