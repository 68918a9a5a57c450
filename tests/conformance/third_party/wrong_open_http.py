"""Wrong exporters in how they connect, send, wait, try again and read answers."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

from exporter_core import Context, ExporterError
from third_party.open_transport import Again, HttpClient, _quietly
from third_party.right_open_http import HttpSerial

log = logging.getLogger("open.wrong")


def over(client):
    """A HttpSerial with this client."""

    def make(cls):
        cls.client_class = client
        return cls

    return make


class _PerRead(HttpClient):
    def request(self, context, body):
        if self.sock is not None and self.is_stale():
            self.close()
        if self.sock is None:
            self.connect(context)
        self.sock.settimeout(context.remaining())
        try:
            self.write(context, self.sock, ("\r\n".join(self.headers(body)) + "\r\n\r\n").encode() + body)
            answer, keep = self.read_answer(context, self.sock)
        except BaseException:
            self.close()
            raise
        if not keep:
            self.close()
        return answer


class PerReadTimeout(HttpSerial):
    """Bounds each read by a socket time-out, as requests does, not the whole request."""

    client_class = _PerRead


class _WholeEach(_PerRead):
    def send(self, context, body):
        self.whole = context.remaining()
        return super().send(context, body)

    def request(self, context, body):
        whole = self.whole

        class Shim:
            remaining = staticmethod(lambda: whole)
            on_done, raise_if_done = context.on_done, context.raise_if_done

        return super().request(Shim, body)


class TimeoutOfTheStart(HttpSerial):
    """Reads the time that is left once, and gives it to every attempt."""

    client_class = _WholeEach


class _DnsOnCaller(HttpClient):
    def resolve(self, context):
        try:
            return socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise Again("the host is not found") from error


class DnsOnCaller(HttpSerial):
    """Looks the name up on the calling thread, where nothing bounds it."""

    client_class = _DnsOnCaller


class _TlsUnbounded(HttpClient):
    def start_tls(self, context, sock):
        try:
            return ssl.create_default_context().wrap_socket(sock, server_hostname=self.host)
        except OSError as error:
            sock.close()
            raise ExporterError("TLS fails") from error


class TlsUnbounded(HttpSerial):
    """Bounds connecting and the request, but not the TLS handshake."""

    client_class = _TlsUnbounded


class _BodyUnbounded(HttpClient):
    def read_answer(self, context, sock):
        self.context = context
        return super().read_answer(context, sock)

    def request(self, context, body):
        if self.sock is not None and self.is_stale():
            self.close()
        if self.sock is None:
            self.connect(context)
        sock = self.sock
        self.handle = context.on_done(lambda: _quietly(sock.shutdown, socket.SHUT_RDWR))
        try:
            self.write(context, sock, ("\r\n".join(self.headers(body)) + "\r\n\r\n").encode() + body)
            answer, keep = self.read_answer(context, sock)
        except BaseException:
            self.close()
            raise
        finally:
            self.handle.unregister()
        if not keep:
            self.close()
        return answer

    def read_body(self, file, status, headers):
        self.handle.unregister()  # the answer is here
        return super().read_body(file, status, headers)


class BodyUnbounded(HttpSerial):
    """Bounds everything until the headers of the answer; its body is read without a time-out."""

    client_class = _BodyUnbounded


class _SendUnbounded(HttpClient):
    def request(self, context, body):
        if self.sock is not None and self.is_stale():
            self.close()
        if self.sock is None:
            self.connect(context)
        sock = self.sock
        handle = None
        try:
            self.write(context, sock, ("\r\n".join(self.headers(body)) + "\r\n\r\n").encode() + body)
            handle = context.on_done(lambda: _quietly(sock.shutdown, socket.SHUT_RDWR))
            answer, keep = self.read_answer(context, sock)
        except BaseException:
            self.close()
            raise
        finally:
            if handle:
                handle.unregister()
        if not keep:
            self.close()
        return answer


class SendUnbounded(HttpSerial):
    """Bounds the wait for the answer, but not the sending of the request."""

    client_class = _SendUnbounded


class _FollowsRedirects(HttpClient):
    def attempt(self, context, body):
        answer = self.request(context, body)
        if answer.status in (301, 302, 307, 308) and "location" in answer.headers:
            url = urlsplit(answer.headers["location"])
            host, port, path = self.host, self.port, self.path
            self.close()
            self.host, self.port, self.path = url.hostname or host, url.port or port, url.path or "/"
            try:
                answer = self.request(context, body)
            except OSError as error:
                context.raise_if_done()
                raise Again("reset") from error
            finally:
                self.close()
                self.host, self.port, self.path = host, port, path
            if answer.status == 200:
                return 0
        return self.judge(answer)


class _FollowsRedirects2(_FollowsRedirects):
    def attempt(self, context, body):
        try:
            return super().attempt(context, body)
        except OSError as error:
            context.raise_if_done()
            raise Again("the connection broke") from error


class FollowsRedirects(HttpSerial):
    """Follows a redirect, and takes any 200 at its end for a success."""

    client_class = _FollowsRedirects2


class _RetryAfterInt(HttpClient):
    def retry_after(self, headers):
        value = headers.get("retry-after")
        return None if value is None else float(int(value))


class RetryAfterInt(HttpSerial):
    """Reads Retry-After with int(), which a date ends with ValueError."""

    client_class = _RetryAfterInt


class _BodyIsAStream(HttpClient):
    def send(self, context, body):
        import io

        self.stream = io.BytesIO(self.compress(body))
        return super().send(context, b"")

    def compress(self, body):
        return super().compress(body) if body else b""

    def request(self, context, body):
        return super().request(context, self.stream.read())

    def headers(self, body):
        lines = super().headers(body)
        return lines if body else [line for line in lines if "Encoding" not in line]


class BodyIsAStream(HttpSerial):
    """Hands its request to the client as a file, which a second attempt finds at its end."""

    client_class = _BodyIsAStream


class _CompressesEachTime(HttpClient):
    def send(self, context, body):
        self.body = body
        return super().send(context, body)

    def compress(self, body):
        return body

    def request(self, context, body):
        self.body = HttpClient.compress(self, self.body)
        return super().request(context, self.body)


class CompressesEachTime(HttpSerial):
    """Compresses the request in place at every attempt, so that a second one is compressed twice."""

    client_class = _CompressesEachTime


class _IncompleteIsFine(HttpClient):
    def read_exactly(self, file, size):
        return file.read(size)  # http.client.IncompleteRead.partial


class IncompleteIsFine(HttpSerial):
    """Takes the part of a body that has arrived for the body."""

    client_class = _IncompleteIsFine


class _AcceptsAny2xx(HttpClient):
    def judge(self, answer):
        if 200 < answer.status < 300:
            answer.status = 200
        return super().judge(answer)


class AcceptsAny2xx(HttpSerial):
    """Takes response.ok for a success."""

    client_class = _AcceptsAny2xx


class _IgnoresBody(HttpClient):
    def judge(self, answer):
        if answer.status == 200:
            return 0
        return super().judge(answer)


class IgnoresBody(HttpSerial):
    """Looks at the status 200 alone, never at the body of the answer."""

    client_class = _IgnoresBody


class _LogsExhaustion(HttpClient):
    def send(self, context, body):
        try:
            return super().send(context, body)
        except ExporterError as error:
            if isinstance(error.__cause__, Again) and "gave up" in str(error):
                log.error("dropping a batch after %d attempts", self.max_attempts)  # noqa: TRY400 - as it was written
                return 0
            raise


class LogsExhaustion(HttpSerial):
    """Logs an error and drops the batch, instead of raising, once all attempts are made."""

    client_class = _LogsExhaustion


class _RetryAfterWins(HttpClient):
    def pause(self, number, retry_after):
        return retry_after if retry_after is not None else super().pause(number, None)


class RetryAfterWins(HttpSerial):
    """Waits exactly what Retry-After says, so with 0 not at all."""

    client_class = _RetryAfterWins


class _Sleeps(HttpClient):
    def send(self, context, body):
        class Shim:
            @staticmethod
            def wait(seconds):
                remaining = context.remaining()
                time.sleep(seconds if remaining is None else min(seconds, remaining))

            remaining, raise_if_done, on_done = context.remaining, context.raise_if_done, context.on_done

        return super().send(Shim, body)


class Sleeps(HttpSerial):
    """Backs off with time.sleep, which no cancellation ends."""

    client_class = _Sleeps


class _WallClock(HttpClient):
    def request(self, context, body):
        if self.sock is not None and self.is_stale():
            self.close()
        if self.sock is None:
            self.connect(context)
        remaining = context.remaining()
        end = None if remaining is None else time.time() + remaining
        sock = self.sock
        finished = threading.Event()

        def watch():
            while not finished.wait(0.01):
                if (end is not None and time.time() >= end) or (context.done and remaining is None):
                    _quietly(sock.shutdown, socket.SHUT_RDWR)
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            self.write(context, sock, ("\r\n".join(self.headers(body)) + "\r\n\r\n").encode() + body)
            answer, keep = self.read_answer(context, sock)
        except BaseException:
            self.close()
            raise
        finally:
            finished.set()
            watcher.join()
        if not keep:
            self.close()
        return answer


class WallClock(HttpSerial):
    """Counts the deadline of a request by time.time()."""

    client_class = _WallClock


class _KeepsHandles(HttpClient):
    def request(self, context, body):
        if self.sock is not None and self.is_stale():
            self.close()
        if self.sock is None:
            self.connect(context)
        context.on_done(self.interrupt)
        try:
            self.write(context, self.sock, ("\r\n".join(self.headers(body)) + "\r\n\r\n").encode() + body)
            answer, keep = self.read_answer(context, self.sock)
        except BaseException:
            self.close()
            raise
        if not keep:
            self.close()
        return answer

    def interrupt(self):
        sock = self.sock
        if sock is not None:
            _quietly(sock.shutdown, socket.SHUT_RDWR)


class KeepsHandles(HttpSerial):
    """Never takes back its on_done callback, so that the end of an earlier context cuts a later export's connection."""

    client_class = _KeepsHandles


class _StopIsNeverCleared(HttpClient):
    def __init__(self, config):
        super().__init__(config)
        self.stop = threading.Event()

    def send(self, context, body):
        stop = self.stop
        handle = context.on_done(stop.set)

        class Shim:
            @staticmethod
            def wait(seconds):
                stop.wait(seconds)

            remaining, raise_if_done, on_done = context.remaining, context.raise_if_done, context.on_done

        try:
            return super().send(Shim, body)
        finally:
            handle.unregister()


class StopIsNeverCleared(HttpSerial):
    """Backs off on an event of its own that the first ended context sets for ever: later attempts are a storm."""

    client_class = _StopIsNeverCleared


class _Retries413(HttpClient):
    def judge(self, answer):
        if answer.status == 413:
            raise Again("the server answered 413", self.retry_after(answer.headers))
        return super().judge(answer)


class Retries413(HttpSerial):
    """Tries again after 413: the same batch, which is too large, six times."""

    client_class = _Retries413


class _ThrottlingIsFinal(HttpClient):
    def judge(self, answer):
        if answer.status == 429:
            raise ExporterError("the server answered 429")
        return super().judge(answer)


class ThrottlingIsFinal(HttpSerial):
    """Does not try again after 429, with or without Retry-After: a throttled batch is lost."""

    client_class = _ThrottlingIsFinal


class _OnlyConnectRetries(HttpClient):
    def attempt(self, context, body):
        if self.sock is None or self.is_stale():
            self.close()
            self.connect(context)
        try:
            return self.judge(self.request(context, body))
        except OSError as error:
            context.raise_if_done()
            raise ExporterError("the connection broke") from error


class OnlyConnectRetries(HttpSerial):
    """Tries connecting again, but not a request whose connection is reset."""

    client_class = _OnlyConnectRetries


class _PartialByMessage(HttpClient):
    def judge(self, answer):
        rejected = super().judge(answer)
        if rejected:
            from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

            partial = ExportMetricsServiceResponse.FromString(answer.body).partial_success
            if not partial.error_message:
                return 0
        return rejected


class PartialByMessage(HttpSerial):
    """Takes an answer for a partial success only if it has an error message, which OTLP lets be empty."""

    client_class = _PartialByMessage


class _NeverAbandoned(HttpClient):
    def attempt(self, context, body):
        box = []
        finished = threading.Event()

        def run():
            try:
                box.append(HttpClient.attempt(self, Context.background(), body))
            except BaseException as error:  # noqa: BLE001 - whoever waits is told
                box.append(error)
            finished.set()

        threading.Thread(target=run, daemon=True).start()
        handle = context.on_done(finished.set)
        finished.wait()
        handle.unregister()
        if not box:
            self.sock = None
            context.raise_if_done()
        if isinstance(box[0], BaseException):
            raise box[0]
        return box[0]


class NeverAbandoned(HttpSerial):
    """Runs each request on a thread of its own and leaves it behind at the deadline, where it goes on."""

    client_class = _NeverAbandoned
