"""Right exporters over http.client."""

from __future__ import annotations

import collections
import http.client
import socket
from urllib.parse import urlsplit

from exporter_core import ExporterError
from exporter_core.authoring import SerialExporter, keep_untouched, retry_after_seconds
from exporter_core.otlp import Encoder
from third_party.wild_base import (
    TRANSIENT,
    NetConfig,
    Transient,
    WildHttpHarness,
    attempts,
    connect,
    is_final,
    look_up,
    rejected_in,
    told,
)


class WildHttp(SerialExporter[NetConfig]):
    """Sends OTLP over http.client, on a connection that stays open."""

    conformance_harness = WildHttpHarness

    def __init__(self, config):
        super().__init__(config)
        self._encoder = Encoder()
        self._connection = None
        self._parts = urlsplit(config.endpoint)

    def begin_anew(self):
        keep_untouched(self._connection)
        self._connection = None

    def release(self, context):
        self.drop()

    def drop(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def deliver(self, context, metrics):
        encoded = self.encode(metrics)
        rejected, text = 0, ""
        if encoded.points:
            rejected, text = attempts(
                context, lambda: self.attempt(context, encoded.data), self.sleeper(context), self.most()
            )
        told(rejected + len(encoded.dropped), text)

    def encode(self, metrics):
        return self._encoder.encode(metrics)

    def sleeper(self, context):
        return None

    def most(self):
        return 5

    def headers(self):
        return {
            "Content-Type": "application/x-protobuf",
            "Authorization": "Bearer " + self.config.token.get_secret_value(),
        }

    def open(self, context):
        try:
            address = look_up(context, self._parts.hostname, self._parts.port or 80)
            connection = http.client.HTTPConnection(self._parts.hostname, self._parts.port)
            connection.sock = connect(context, address)
        except OSError as error:
            context.raise_if_done()
            raise Transient(f"no connection: {error.strerror}") from error
        return connection

    def attempt(self, context, body):
        if self._connection is None:
            self._connection = self.open(context)
        connection, sock = self._connection, self._connection.sock
        handle = self.interrupt(context, sock)
        try:
            sock.settimeout(context.remaining())
            connection.request("POST", self._parts.path or "/", body, self.headers())
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.drop()
            context.raise_if_done()
            if is_final(error):
                raise ExporterError(f"no answer of HTTP: {type(error).__name__}") from error
            raise Transient(f"the connection broke: {type(error).__name__}") from error
        except BaseException:
            self.drop()
            raise
        finally:
            handle.unregister()
            if context.done:
                self.drop()
        if response.will_close or connection.sock is None:
            self.drop()
        return self.judge(response.status, response.headers, answer)

    def interrupt(self, context, sock):
        def end():
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

        return context.on_done(end)

    def judge(self, status, headers, answer):
        if status == 200:
            return rejected_in(answer, headers.get("Content-Type"))
        if status in TRANSIENT:
            raise Transient(f"status {status}", self.wish(headers))
        raise ExporterError(f"status {status}")

    def wish(self, headers):
        value = headers.get("Retry-After")
        return None if value is None else retry_after_seconds(value, headers.get("Date"))


class RingExporter(WildHttp):
    """Keeps the bodies of the last 64 attempts, for support: a bounded ring."""

    def __init__(self, config):
        super().__init__(config)
        self.ring = collections.deque(maxlen=64)

    def attempt(self, context, body):
        self.ring.append(bytes(body))
        return super().attempt(context, body)


class SplitExporter(WildHttp):
    """Sends requests of 300 points, of which one that fails for good does not keep the others from going."""

    def deliver(self, context, metrics):
        requests = self._encoder.split(metrics, max_points=300)
        rejected, text, failed = len(requests.dropped), "", None
        for request in requests:
            try:
                one, said = attempts(context, lambda: self.attempt(context, request.data))  # noqa: B023 - called at once
                rejected, text = rejected + one, said or text
            except ExporterError as error:
                failed = failed or error
        if failed is not None:
            raise ExporterError(f"a request of several failed: {failed}") from failed
        told(rejected, text)
