"""Wrong exporters over http.client."""

from __future__ import annotations

import atexit
import dataclasses
import http.client
import logging
import signal
import socket
import threading
import time

from opentelemetry.sdk.metrics.export import AggregationTemporality as T
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation

from exporter_core import ExporterError, InstrumentKind
from third_party.right_wild_http import WildHttp
from third_party.wild_base import Transient, attempts, connect, is_final, look_up, told

logger = logging.getLogger("wild.wrong")


class MissingKind(WildHttp):
    """Has a table of temporalities without an entry for synchronous gauges, so that .get answers None."""

    TABLE = {kind: T.CUMULATIVE for kind in InstrumentKind if kind.name != "GAUGE"}

    def temporality(self, instrument_kind):
        return self.TABLE.get(instrument_kind)


class SharedBuckets(WildHttp):
    """Answers for histograms with one aggregation, made at construction, whose boundaries are a mutable list."""

    def __init__(self, config):
        super().__init__(config)
        self._histogram = ExplicitBucketHistogramAggregation([0.0, 5.0, 10.0, 25.0, 100.0])

    def aggregation(self, instrument_kind):
        if instrument_kind is InstrumentKind.HISTOGRAM:
            return self._histogram
        return super().aggregation(instrument_kind)


class LazyTable(WildHttp):
    """Makes its table of temporalities at first use, and publishes it before it is filled."""

    _table = None

    def temporality(self, instrument_kind):
        if self._table is None:
            self._table = {}
            for kind in InstrumentKind:
                self._table[kind] = T.CUMULATIVE
        return self._table.get(instrument_kind, T.DELTA)


class ForgetsPreferences(WildHttp):
    """Clears its table of preferences at shutdown, after which it answers delta for every kind."""

    def __init__(self, config):
        super().__init__(config)
        self._preferences = dict.fromkeys(InstrumentKind, T.CUMULATIVE)

    def temporality(self, instrument_kind):
        return self._preferences.get(instrument_kind, T.DELTA)

    def release(self, context):
        self._preferences.clear()
        super().release(context)


class SocketTimeoutOnly(WildHttp):
    """Bounds a request by the socket's time-out alone, which starts anew with each byte of a dripping answer."""

    def interrupt(self, context, sock):
        return context.on_done(lambda: None)


class NoConnectTimeout(WildHttp):
    """Connects by socket.create_connection without a time-out."""

    def open(self, context):
        try:
            address = look_up(context, self._parts.hostname, self._parts.port or 80)
            connection = http.client.HTTPConnection(self._parts.hostname, self._parts.port)
            connection.sock = socket.create_connection(address)
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            context.raise_if_done()
            raise Transient(f"no connection: {error.strerror}") from error
        return connection


class BlockingLookup(WildHttp):
    """Calls getaddrinfo on the caller's thread, where nothing bounds it."""

    def open(self, context):
        try:
            address = socket.getaddrinfo(
                self._parts.hostname, self._parts.port or 80, socket.AF_INET, socket.SOCK_STREAM
            )[0][4]
            connection = http.client.HTTPConnection(self._parts.hostname, self._parts.port)
            connection.sock = connect(context, address)
        except OSError as error:
            context.raise_if_done()
            raise Transient(f"no connection: {error.strerror}") from error
        return connection


class TimeSleep(WildHttp):
    """Backs off by time.sleep, which no cancellation ends."""

    def sleeper(self, context):
        return time.sleep


class AnswerOk(WildHttp):
    """Takes each status below 400 for a success, as the attribute ok of requests' responses does."""

    def judge(self, status, headers, answer):
        if 200 < status < 400:
            return 0, ""
        return super().judge(status, headers, answer)


class Any2xx(WildHttp):
    """Takes any 2xx for a success."""

    def judge(self, status, headers, answer):
        if 200 < status < 300:
            return 0, ""
        return super().judge(status, headers, answer)


class SkipsTheBody(WildHttp):
    """Does not look at the body of a 200, so that a partial success is not seen, as opentelemetry-python does."""

    def judge(self, status, headers, answer):
        if status == 200:
            return 0, ""
        return super().judge(status, headers, answer)


class IntRetryAfter(WildHttp):
    """Reads Retry-After with int(), which fails with a date."""

    def wish(self, headers):
        value = headers.get("Retry-After")
        return None if value is None else int(value)


class RetriesAllFailures(WildHttp):
    """Tries again after every status that is not 200, after 400 and 401 too."""

    def judge(self, status, headers, answer):
        if status == 200:
            return super().judge(status, headers, answer)
        raise Transient(f"status {status}", self.wish(headers))


class Only503(WildHttp):
    """Tries again after 503 alone; 429, 502 and 504 fail at once."""

    def judge(self, status, headers, answer):
        if status in (429, 502, 504):
            raise ExporterError(f"status {status}")
        return super().judge(status, headers, answer)


class NoRetryOfReset(WildHttp):
    """Raises an error at once, instead of making one more attempt, for a connection that the server reset."""

    def attempt(self, context, body):
        try:
            return super().attempt(context, body)
        except Transient as error:
            if isinstance(error.__cause__, (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected)):
                raise ExporterError(str(error)) from error.__cause__
            raise


class SwallowsRefused(WildHttp):
    """Logs a refused connection at debug level and forgets it, as clients of statsd do."""

    def deliver(self, context, metrics):
        try:
            super().deliver(context, metrics)
        except ExporterError as error:
            if isinstance(error.__cause__, Transient) and "no connection" in str(error):
                logger.debug("dropping a batch, the agent is away")
                return
            raise


class GivesUpQuietly(WildHttp):
    """Ends its loop of attempts without an error after the last one, since the for has no else."""

    def deliver(self, context, metrics):
        encoded = self.encode(metrics)
        for number in range(5):
            if not encoded.points:
                break
            context.raise_if_done()
            try:
                told(*self.attempt(context, encoded.data))
                break
            except Transient as error:
                context.raise_if_done()
                pause = max(0.1 * 2**number, error.wish or 0)
                left = context.remaining()
                if left is not None and pause >= left:
                    raise ExporterError(str(error)) from error
                if number < 4:
                    context.wait(pause)
        told(len(encoded.dropped), "")


class WallDeadline(WildHttp):
    """Counts the deadline on time.time()."""

    def deliver(self, context, metrics):
        left = context.remaining()
        self._until = None if left is None else time.time() + left
        super().deliver(context, metrics)

    def interrupt(self, context, sock):
        def end():
            sock.shutdown(socket.SHUT_RDWR)

        stop = threading.Event()

        class Handle:
            def unregister(self):
                stop.set()
                thread.join()

        def watch():
            while not stop.wait(0.02):
                cancelled = context.done and type(context.error()).__name__ == "ContextCancelledError"
                if cancelled or (self._until is not None and time.time() >= self._until):
                    try:
                        end()
                    except OSError:
                        pass
                    return

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        sock.settimeout(None)
        return Handle()

    def attempt(self, context, body):
        if self._connection is None:
            self._connection = self.open(context)
        connection, sock = self._connection, self._connection.sock
        handle = self.interrupt(context, sock)
        try:
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


class NeedsDeadline(WildHttp):
    """Takes min(context.remaining(), 30) for a request's time-out, which is a TypeError where there is no deadline."""

    def attempt(self, context, body):
        self._request_timeout = min(context.remaining(), 30)
        return super().attempt(context, body)


class TenSecondsPerRequest(WildHttp):
    """Gives each request OTLP's default time-out of ten seconds, whatever the deadline."""

    def interrupt(self, context, sock):
        sock.settimeout(10)
        return context.on_done(lambda: None)

    def attempt(self, context, body):
        if self._connection is None:
            self._connection = self.open(context)
        connection = self._connection
        connection.sock.settimeout(10)
        try:
            connection.request("POST", self._parts.path or "/", body, self.headers())
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.drop()
            context.raise_if_done()
            if is_final(error):
                raise ExporterError(f"no answer of HTTP: {type(error).__name__}") from error
            raise Transient(f"the connection broke: {type(error).__name__}") from error
        if response.will_close or connection.sock is None:
            self.drop()
        return self.judge(response.status, response.headers, answer)


class PooledByHost(WildHttp):
    """Keeps the connection in a class attribute, which all exporters share, as a session of a module would be."""

    _shared = None

    @property
    def _connection(self):
        return type(self)._shared

    @_connection.setter
    def _connection(self, value):
        type(self)._shared = value


class UpdatesSharedHeaders(WildHttp):
    """Keeps the default headers in one dictionary of the class, which each exporter updates with its token."""

    HEADERS = {"Content-Type": "application/x-protobuf"}

    def __init__(self, config):
        super().__init__(config)
        self.HEADERS["Authorization"] = "Bearer " + config.token.get_secret_value()

    def headers(self):
        return self.HEADERS


class LazyEncode(WildHttp):
    """Encodes the batch anew for each attempt."""

    def deliver(self, context, metrics):
        encoded = self.encode(metrics)
        rejected, text = 0, ""
        if encoded.points:
            rejected, text = attempts(context, lambda: self.attempt(context, self.encode(metrics).data))
        told(rejected + len(encoded.dropped), text)


class SortsPoints(WildHttp):
    """Sorts the data points of a metric in place by their time, as the backend likes them."""

    def encode(self, metrics):
        for resource in metrics.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if isinstance(metric.data.data_points, list):
                        metric.data.data_points.sort(
                            key=lambda point: (point.time_unix_nano, repr(point.attributes)), reverse=True
                        )
        return super().encode(metrics)


class CachesById(WildHttp):
    """Caches what it encoded by id() of the batch, for a later export of the same batch."""

    def __init__(self, config):
        super().__init__(config)
        self._cache = {}

    def encode(self, metrics):
        if id(metrics) not in self._cache:
            if len(self._cache) > 64:
                self._cache.clear()
            self._cache[id(metrics)] = super().encode(metrics)
        return self._cache[id(metrics)]


class HeadersInError(WildHttp):
    """Shows the request's headers in the error about a refused batch, to make debugging easier."""

    def judge(self, status, headers, answer):
        if status == 200 or status in (429, 502, 503, 504):
            return super().judge(status, headers, answer)
        raise ExporterError(f"status {status} for POST {self._parts.path} with {self.headers()}")


class LogsHeadersOnRetry(WildHttp):
    """Logs each failed attempt with the request's headers."""

    def judge(self, status, headers, answer):
        try:
            return super().judge(status, headers, answer)
        except Transient:
            logger.warning("status %s, will try again; headers: %s", status, self.headers())
            raise


class FromNone(WildHttp):
    """Raises failures from None, by which the cause of a broken connection is lost."""

    def deliver(self, context, metrics):
        try:
            super().deliver(context, metrics)
        except ExporterError as error:
            if type(error) is not ExporterError:
                raise
            raise ExporterError(str(error)) from None


class RaisesOSError(WildHttp):
    """Raises a broken connection as the OSError that it is, by a bare raise in the loop of attempts."""

    def deliver(self, context, metrics):
        try:
            super().deliver(context, metrics)
        except ExporterError as error:
            cause = error.__cause__.__cause__ if isinstance(error.__cause__, Transient) else None
            if cause is not None:
                raise cause  # noqa: B904 - as it was written
            raise


class SetsTimeoutOfAllSockets(WildHttp):
    """Calls socket.setdefaulttimeout to have a time-out for everything."""

    def __init__(self, config):
        super().__init__(config)
        socket.setdefaulttimeout(10)


class BasicConfig(WildHttp):
    """Logs the first failure through logging.warning, which calls basicConfig for the root logger."""

    def judge(self, status, headers, answer):
        if status != 200:
            logging.warning("the collector answered with status %s", status)  # noqa: LOG015 - its fault
        return super().judge(status, headers, answer)


class AtExit(WildHttp):
    """Registers a function with atexit, and never takes that back."""

    def __init__(self, config):
        super().__init__(config)
        atexit.register(self._at_exit)

    def _at_exit(self):
        self.drop()


class KeepsInheritedConnection(WildHttp):
    """Goes on using its parent's keep-alive connection in a forked child."""

    def begin_anew(self):
        pass


class SigtermHandler(WildHttp):
    """Installs a handler of SIGTERM at construction on the main thread, to close its connection."""

    def __init__(self, config):
        super().__init__(config)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: self.drop())


class ReleaseSkipsClose(WildHttp):
    """Forgets the keep-alive connection at shutdown without closing it, and a reference cycle keeps it open."""

    def release(self, context):
        if self._connection is not None:
            self._connection.owner = self
            self._abandoned = self._connection
            self._connection = None


class ReturnsAfterShutdown(WildHttp):
    """Logs a warning and returns from an export after shutdown, as opentelemetry-python does."""

    def export(self, context, metrics):
        if self.is_shut_down:
            logger.warning("Exporter already shutdown, ignoring batch")
            return
        super().export(context, metrics)


class WarnsOfSecondShutdown(WildHttp):
    """Logs a warning and returns from a second shutdown."""

    def shutdown(self, context):
        if self.is_shut_down:
            logger.warning("Exporter already shutdown, ignoring call")
            return
        super().shutdown(context)


class ReopensAfterFailedClose(WildHttp):
    """Keeps the half-read connection of an export that failed for the next one."""

    def drop(self):
        if self.is_shut_down:
            super().drop()


class DropsScopeSchema(WildHttp):
    """Rebuilds large batches by hand, in which the scopes lose version, attributes and schema."""

    def encode(self, metrics):
        from opentelemetry.sdk.metrics.export import MetricsData
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        count = sum(
            len(m.data.data_points) for r in metrics.resource_metrics for s in r.scope_metrics for m in s.metrics
        )
        if count > 512:
            metrics = MetricsData(
                [
                    dataclasses.replace(
                        r,
                        scope_metrics=[
                            dataclasses.replace(s, scope=InstrumentationScope(s.scope.name)) for s in r.scope_metrics
                        ],
                    )
                    for r in metrics.resource_metrics
                ]
            )
        return super().encode(metrics)


class HistoryOfErrors(WildHttp):
    """Appends every failure with its traceback to a list for diagnostics, without bound."""

    def __init__(self, config):
        super().__init__(config)
        self.errors = []

    def deliver(self, context, metrics):
        try:
            super().deliver(context, metrics)
        except Exception as error:
            self.errors.append(error)
            raise
