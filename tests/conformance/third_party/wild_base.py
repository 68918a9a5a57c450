"""What the exporters share: looking up, connecting, attempts, and what an answer means."""

from __future__ import annotations

import errno
import http.client
import logging
import os
import random
import select
import socket
import threading
import weakref

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from pydantic import SecretStr, field_validator

from exporter_core import ExporterConfig, ExporterError, PartialSuccessError
from exporter_core.conformance import SinkHarness

log = logging.getLogger("wild")


SECRET = "tok-5f1c9e77a2b84d3c"


TRANSIENT = (429, 502, 503, 504)


class Transient(Exception):
    """An attempt that failed, of which another may succeed."""

    def __init__(self, text, wish=None):
        super().__init__(text)
        self.wish = wish


class NetConfig(ExporterConfig):
    endpoint: str
    """The URL, http only."""
    token: SecretStr = SecretStr("")
    """The bearer token."""

    @field_validator("endpoint")
    @classmethod
    def plain(cls, value):
        if not value.startswith("http://"):
            raise ValueError("only http:// is spoken here")
        return value


def look_up(context, host, port):
    """Call getaddrinfo on a daemon thread, which is left behind when the context is done."""
    try:
        socket.inet_pton(socket.AF_INET, host)
        return (host, port)
    except OSError:
        pass
    found = []
    ready = threading.Event()

    def run():
        try:
            found.append(socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4])
        except OSError as error:
            found.append(error)
        ready.set()

    threading.Thread(target=run, daemon=True).start()
    while not ready.wait(0.02):
        context.raise_if_done()
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def connect(context, address):
    """Return a connected socket; connecting ends with the context."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        code = sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        while not select.select([], [sock], [], 0.02)[1]:
            context.raise_if_done()
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(context.remaining())
        return sock
    except BaseException:
        sock.close()
        raise


def rejected_in(body, content_type):
    """Return the number of refused points and what the backend says; raise for what is no answer of OTLP's."""
    if not body:
        return 0, ""
    if "protobuf" not in (content_type or ""):
        raise ExporterError("the answer is not OTLP's")
    try:
        partial = ExportMetricsServiceResponse.FromString(body).partial_success
    except DecodeError as error:
        raise ExporterError("the answer cannot be read") from error
    return partial.rejected_data_points, partial.error_message


def told(rejected, text):
    if rejected:
        raise PartialSuccessError(text or "points were refused", rejected_points=rejected)
    if text:
        log.warning("the backend says something about a batch that it took")


def is_final(error):
    """Tell errors of the transport that another attempt does not mend."""
    return isinstance(error, (http.client.HTTPException, ValueError)) and not isinstance(error, ConnectionError)


def attempts(context, once, sleep=None, most=5):
    """Call once() until it succeeds, fails for good, or there is no time for another attempt."""
    for number in range(most):
        context.raise_if_done()
        try:
            return once()
        except Transient as error:
            context.raise_if_done()
            pause = 0.1 * 2**number * random.uniform(0.8, 1.2)
            if error.wish is not None:
                pause = max(pause, error.wish)
            left = context.remaining()
            if number == most - 1 or (left is not None and pause >= left):
                raise ExporterError(str(error)) from error
            (sleep or context.wait)(pause)


class WildHttpHarness(SinkHarness):
    kind = "otlp_http"
    secret = SECRET

    def config(self):
        return {"endpoint": self.endpoint, "token": SECRET}


holding = weakref.WeakSet()


def _anew():
    for one in list(holding):
        one.after_fork()


os.register_at_fork(after_in_child=_anew)
