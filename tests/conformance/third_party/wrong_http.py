"""Wrong exporters over HTTP: retrying, deadlines, answers, and what remains after a failure."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import logging
import math
import socket
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request
import warnings
from typing import IO

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData

from exporter_core import Context, DeadlineExceededError, ExporterError
from third_party.right import PlainExporter, PooledExporter
from third_party.transport import (
    TRANSIENT,
    Answer,
    HttpConfig,
    RefusedError,
    Wire,
    address_of,
    judge,
    post,
    read_answer,
    request_bytes,
    retry_after,
)

# --- retrying ---------------------------------------------------------------------------------------------------------


class FallsOffTheLoop(PlainExporter):
    """After three failed attempts the loop is over, and export returns."""

    def send(self, context: Context, body: bytes) -> None:
        for pause in (0.1, 0.2, 0.4):
            try:
                return judge(self.attempt(context, body))
            except RefusedError as error:
                if not error.transient:
                    raise
            except OSError as error:
                if isinstance(error, TimeoutError):
                    raise
            context.wait(pause)
            context.raise_if_done()
        return None


class ReadsTheBodyOnce(PlainExporter):
    """The body is a stream: a second attempt finds it at its end, and sends nothing of it."""

    def send(self, context: Context, body: bytes) -> None:
        stream = io.BytesIO(body)
        post(context, lambda running: self.attempt(running, stream.read()))


class SendsLessWhenBusy(PlainExporter):
    """A busy backend gets only the first resource at the second attempt, and half of the metrics of its first scope."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        bodies = itertools.chain([self.encode(metrics)], itertools.repeat(self.encode(self.half(metrics))))
        post(context, lambda running: self.attempt(running, next(bodies)))

    def half(self, metrics: MetricsData) -> MetricsData:
        """Return some of the batch."""
        if not metrics.resource_metrics or not metrics.resource_metrics[0].scope_metrics:
            return metrics
        resource = metrics.resource_metrics[0]
        scope = resource.scope_metrics[0]
        scope = dataclasses.replace(scope, metrics=scope.metrics[: len(scope.metrics) // 2])
        return MetricsData(resource_metrics=[dataclasses.replace(resource, scope_metrics=[scope])])


class EncodesAtEveryAttempt(PlainExporter):
    """Every attempt encodes the batch again, as it is by then."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        post(context, lambda running: self.attempt(running, self.encode(metrics)))


class RetriesEverything(PlainExporter):
    """Every status but 200 is tried again, 400 and 401 too."""

    def send(self, context: Context, body: bytes) -> None:
        for number in range(5):
            answer = self.attempt(context, body)
            try:
                return judge(answer)
            except RefusedError:
                if number == 4:
                    raise
            context.wait(0.1)
            context.raise_if_done()
        return None


class StormsOnTooMany(PlainExporter):
    """429 is tried again at once and for ever, when the backend does not say how long to wait."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        while True:
            answer = super().attempt(context, body)
            if answer.status != 429 or retry_after(answer):
                return answer


class StormsOnBrokenConnections(PlainExporter):
    """A reset connection is tried again at once and for ever."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        while True:
            try:
                return super().attempt(context, body)
            except ConnectionError:
                context.raise_if_done()


class RetryBudgetOfALifetime(PlainExporter):
    """Three retries are allowed, counted over the exporter's whole life instead of over one export."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.budget = 4

    def attempt(self, context: Context, body: bytes) -> Answer:
        try:
            answer = super().attempt(context, body)
        except ConnectionError:
            self.budget -= 1
            if self.budget <= 0:
                raise ExporterError("too many retries") from None
            raise
        if answer.status in TRANSIENT:
            self.budget -= 1
            if self.budget <= 0:
                raise ExporterError("too many retries")
        return answer


class ResetIsFinal(PlainExporter):
    """A connection that was reset in mid-request is not tried again."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        try:
            return super().attempt(context, body)
        except ConnectionError as error:
            raise ExporterError("the connection was lost") from error


# --- answers ----------------------------------------------------------------------------------------------------------


class ForgivesStatuses(PlainExporter):
    """Take some statuses for success."""

    forgiven: frozenset[int] = frozenset()

    def attempt(self, context: Context, body: bytes) -> Answer:
        answer = super().attempt(context, body)
        return Answer(200, {}, b"{}") if answer.status in self.forgiven else answer


class BelowFiveHundredIsFine(ForgivesStatuses):
    """Only ``status >= 500`` and 429 are failures."""

    forgiven = frozenset(range(200, 500)) - {429, 200}


class NotFoundIsFine(ForgivesStatuses):
    """404 means that the tenant is not provisioned yet: the batch is dropped, and export returns."""

    forgiven = frozenset({404})


class TooLargeIsDone(ForgivesStatuses):
    """413 is logged, the batch is dropped, and export returns."""

    forgiven = frozenset({413})


class TooManyIsDone(ForgivesStatuses):
    """429 means that the quota is used up: the batch is dropped, and export returns."""

    forgiven = frozenset({429})


class RefreshesTheToken(PlainExporter):
    """After 401 the token is fetched anew, and the batch is not sent again."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except RefusedError as error:
            if error.answer.status != 401:
                raise
            self.token = "fetched anew"  # noqa: S105 - not one


class UnavailableIsDone(ForgivesStatuses):
    """501 and 505 are no concern of the client's: export returns."""

    forgiven = frozenset({501, 505})


class StatusLineOnly(PlainExporter):
    """The status line is read, and nothing after it: neither half an answer nor a partial success is noticed."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        wire = Wire(address_of(self.config.endpoint))
        try:
            wire.connect(context)
            wire.send(context, request_bytes(self.config.endpoint, body, self.config.token.get_secret_value()))
            data = b""
            while b"\r\n" not in data:
                more = wire.receive(context)
                if not more:
                    raise ConnectionResetError("no answer")
                data += more
            try:
                status = int(data.split(b" ")[1])
            except (IndexError, ValueError) as error:
                raise ExporterError("not HTTP") from error
            if status != 200:
                read = [data]
                return read_answer(lambda: read.pop() if read else wire.receive(context))
            return Answer(200, {}, b"")
        finally:
            wire.close()


class AnyPageIsFine(PlainExporter):
    """200 is success, whatever page comes with it: a sign-in page too. A partial success is not looked for."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        answer = super().attempt(context, body)
        return Answer(200, {}, b"{}") if answer.status == 200 else answer


class UrllibFollows(PlainExporter):
    """urllib follows a 302 with a GET, and the page there answers 200. Deadlines are those of a single read."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        context.raise_if_done()
        request = urllib.request.Request(  # noqa: S310 - http
            self.config.endpoint,
            body,
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.config.token.get_secret_value()}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=context.remaining()) as found:  # noqa: S310 - http
                return Answer(found.status, {}, b"{}" if found.geturl() != self.config.endpoint else found.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())
        except urllib.error.URLError as error:
            context.raise_if_done()
            if isinstance(error.reason, OSError):
                raise error.reason from error
            raise


class FollowsSeeOther(PlainExporter):
    """303 and 302 are followed with a GET, and a 200 there is success."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        answer = super().attempt(context, body)
        if answer.status in {301, 302, 303, 307, 308}:
            return Answer(200, {}, b"{}")
        return answer


class ReturnsTheError(PlainExporter):
    """A failure is returned, as in Go, instead of raised."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        try:
            return super().export(context, metrics)
        except RefusedError as error:
            return error  # type: ignore[return-value]


class ExitsWhenUnauthorized(PlainExporter):
    """A refusal ends in ``sys.exit``, as in the script that this once was."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except RefusedError as error:
            if error.transient:
                raise
            sys.exit(1)


class CountsRejectedSeries(PlainExporter):
    """A partial success is raised as a plain error, with the count in its words only."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except ExporterError as error:
            count = getattr(error, "rejected_points", None)
            if count is None:
                raise
            raise ExporterError(f"{count} points were refused") from error


# --- deadlines and cancellation ---------------------------------------------------------------------------------------


class WholeDeadlineEachAttempt(PlainExporter):
    """The time-out is computed once, at the beginning, and every attempt may take all of it."""

    def send(self, context: Context, body: bytes) -> None:
        seconds = context.remaining()
        post(context, lambda _: self.bounded(context, seconds, body))

    def bounded(self, context: Context, seconds: float | None, body: bytes) -> Answer:
        """Send once, within the seconds, and end when the caller cancels."""
        own = Context.background() if seconds is None else Context.with_timeout(seconds)

        def follow() -> None:
            if not isinstance(context.error(), DeadlineExceededError):
                own.cancel("the caller cancelled")

        handle = context.on_done(follow)
        try:
            return self.attempt(own, body)
        finally:
            handle.unregister()


class WholeSeconds(PlainExporter):
    """The time-out of an attempt is rounded up to whole seconds."""

    def send(self, context: Context, body: bytes) -> None:
        seconds = context.remaining()
        whole = Context.background() if seconds is None else Context.with_timeout(math.ceil(seconds))

        def follow() -> None:
            if not isinstance(context.error(), DeadlineExceededError):
                whole.cancel("the caller cancelled")

        handle = context.on_done(follow)
        try:
            super().send(whole, body)
        finally:
            handle.unregister()


class AtLeastFiveSeconds(PlainExporter):
    """The time-out of an attempt is never less than five seconds, so that it has a chance."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        seconds = context.remaining()
        if seconds is None or seconds >= 5:
            return super().attempt(context, body)
        own = Context.with_timeout(5)

        def follow() -> None:
            if not isinstance(context.error(), DeadlineExceededError):
                own.cancel("the caller cancelled")

        handle = context.on_done(follow)
        try:
            return super().attempt(own, body)
        finally:
            handle.unregister()


class ReconnectsWithoutTimeout(PlainExporter):
    """Only the first connection of an exporter's life has a time-out: a later one waits as the system does."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.connected = False

    def attempt(self, context: Context, body: bytes) -> Answer:
        if not self.connected:
            answer = super().attempt(context, body)
            self.connected = True
            return answer
        wire = Wire(address_of(self.config.endpoint))
        try:
            wire.socket.setblocking(True)
            wire.socket.connect(wire.address)
            wire.socket.setblocking(False)
            wire.send(context, request_bytes(self.config.endpoint, body, self.config.token.get_secret_value()))
            return read_answer(lambda: wire.receive(context))
        finally:
            wire.close()


class SecondAttemptWithoutTimeout(PlainExporter):
    """Only the first attempt is bounded: the retry's code has forgotten the time-out, and hears no cancellation."""

    def send(self, context: Context, body: bytes) -> None:
        contexts = itertools.chain([context], itertools.repeat(Context.background()))
        post(context, lambda _: self.attempt(next(contexts), body))


class WallClockBackOff(PlainExporter):
    """The back-off gives up by the wall clock: when that jumps, there seems to be no time left."""

    def send(self, context: Context, body: bytes) -> None:
        seconds = context.remaining()
        end = None if seconds is None else time.time() + seconds
        post(context, lambda running: self.bounded(running, end, body))

    def bounded(self, context: Context, end: float | None, body: bytes) -> Answer:
        """Send once, unless the time is up."""
        if end is not None and time.time() >= end:
            raise DeadlineExceededError("no time is left")
        return self.attempt(context, body)


class NapsInTheBackOff(PlainExporter):
    """The back-off sleeps, in slices of five seconds, and looks at the context between them."""

    def send(self, context: Context, body: bytes) -> None:
        for number in range(5):
            answer = self.attempt(context, body)
            try:
                return judge(answer)
            except RefusedError as error:
                if not error.transient or number == 4:
                    raise
                wait = max(0.1 * 2**number, retry_after(answer))
                remaining = context.remaining()
                if remaining is not None and wait >= remaining:
                    raise DeadlineExceededError("no time is left for another attempt") from error
            end = time.monotonic() + wait
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(left, 5))
                context.raise_if_done()
        return None

    def attempt(self, context: Context, body: bytes) -> Answer:
        for number in itertools.count():
            try:
                return super().attempt(context, body)
            except ConnectionError:
                if number == 4:
                    raise ExporterError("the backend cannot be reached") from None
                time.sleep(0.1)
        raise AssertionError


class LooksEveryTwoSeconds(PlainExporter):
    """The deadline bounds every read, but a cancellation is noticed between two reads of two seconds each."""

    slice = 2.0

    def attempt(self, context: Context, body: bytes) -> Answer:
        with contextlib.closing(socket.socket()) as plain:
            self.bound(context, plain)
            plain.connect(address_of(self.config.endpoint))
            plain.sendall(request_bytes(self.config.endpoint, body, self.config.token.get_secret_value()))
            return read_answer(lambda: self.read(context, plain))

    def bound(self, context: Context, plain: socket.socket) -> None:
        """Bound the next wait."""
        context.raise_if_done()
        remaining = context.remaining()
        plain.settimeout(self.slice if remaining is None else max(0.001, min(remaining, self.slice)))

    def read(self, context: Context, plain: socket.socket) -> bytes:
        """Read some bytes."""
        while True:
            self.bound(context, plain)
            with contextlib.suppress(TimeoutError):
                return plain.recv(65536)


class LooksEveryFiveSeconds(LooksEveryTwoSeconds):
    """The same with five seconds."""

    slice = 5.0


class DeadlineOfAByte(PlainExporter):
    """Each read may take the time that was left at the beginning: an answer that drips goes on."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        seconds = context.remaining()
        with contextlib.closing(socket.socket()) as plain:
            handle = context.on_done(lambda: self.interrupt(context, plain))
            try:
                plain.settimeout(seconds)
                plain.connect(address_of(self.config.endpoint))
                plain.sendall(request_bytes(self.config.endpoint, body, self.config.token.get_secret_value()))
                return read_answer(lambda: plain.recv(65536))
            except (OSError, ExporterError):
                context.raise_if_done()
                raise
            finally:
                handle.unregister()

    def interrupt(self, context: Context, plain: socket.socket) -> None:
        """End the reads when the caller cancels."""
        if not isinstance(context.error(), DeadlineExceededError):
            with contextlib.suppress(OSError):
                plain.shutdown(socket.SHUT_RDWR)


# --- after a failure --------------------------------------------------------------------------------------------------


class LeaksBrokenConnections(PooledExporter):
    """A connection that failed is set aside for a look at it later, and never closed."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.failed: list[Wire] = []

    def broken(self, wire: Wire) -> None:
        self.failed.append(wire)


class WatchdogOutlives(PlainExporter):
    """A watchdog thread is told of the end of an export that succeeds; that of one that fails waits for ever."""

    def send(self, context: Context, body: bytes) -> None:
        done = threading.Event()
        threading.Thread(target=done.wait, daemon=True).start()
        super().send(context, body)
        done.set()


class DumpsRequests(PlainExporter):
    """Every failed request is kept in a temporary file that stays open."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.dumps: list[IO[bytes]] = []

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except Exception:
            self.dumps.append(tempfile.TemporaryFile())  # noqa: SIM115 - the fault
            raise


class CircuitBreaker(PlainExporter):
    """After three failures in a row the circuit is open: exports return at once for half a minute."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.failures = 0
        self.opened = 0.0

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        if self.failures >= 3 and time.monotonic() - self.opened < 30:
            return
        try:
            super().deliver(context, metrics)
        except Exception:
            self.failures += 1
            self.opened = time.monotonic()
            raise
        self.failures = 0


class ReportsOnce(PlainExporter):
    """A failure that is the same as the last one is not raised again, so as not to flood the log."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.last = ""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().deliver(context, metrics)
        except RefusedError as error:
            if str(error) == self.last:
                return
            self.last = str(error)
            raise
        self.last = ""


class FreesInputOnFailure(PlainExporter):
    """A batch that failed is emptied, to free its memory."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().deliver(context, metrics)
        except Exception:
            with contextlib.suppress(AttributeError):
                metrics.resource_metrics.clear()  # type: ignore[attr-defined]
            raise


class MarksRetried(PlainExporter):
    """A batch that is sent again is marked so in its resources' list: the last one is moved to the front."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        body = self.encode(metrics)
        attempts = itertools.count()

        def attempt(running: Context) -> Answer:
            if next(attempts):
                for resource in metrics.resource_metrics:
                    with contextlib.suppress(AttributeError):
                        resource.scope_metrics.reverse()  # type: ignore[attr-defined]
                        for scope in resource.scope_metrics:
                            scope.metrics.reverse()  # type: ignore[attr-defined]
            return self.attempt(running, body)

        post(context, attempt)


class KeepsDesynchronized(PooledExporter):
    """A connection whose answer was not awaited goes back to the pool: the next export reads the last one's answer."""

    def take(self, context: Context) -> Wire:
        if self.idle:
            return self.idle.pop()
        return super().take(context)

    def broken(self, wire: Wire) -> None:
        try:
            wire.socket.getpeername()
        except OSError:
            wire.close()
        else:
            self.idle.append(wire)


class NeverReconnects(PooledExporter):
    """An idle connection that the backend has closed is used all the same, and its failure is final."""

    def take(self, context: Context) -> Wire:
        if self.idle:
            return self.idle.pop()
        return super().take(context)

    def attempt(self, context: Context, body: bytes) -> Answer:
        try:
            return super().attempt(context, body)
        except ConnectionError as error:
            raise ExporterError("the connection was closed") from error


class StaleCallback(PooledExporter):
    """The callback that interrupts an export stays: cancelling a context later breaks the connection of another one."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        answer = super().attempt(context, body)
        for wire in self.idle:
            context.on_done(lambda wire=wire: wire.socket.close())
        return answer


class DeltaAfterFailure(PlainExporter):
    """Counters are deltas once an export has failed."""

    failed = False

    def temporality(self, instrument_kind: object) -> AggregationTemporality:
        return AggregationTemporality.DELTA if self.failed else AggregationTemporality.CUMULATIVE

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().deliver(context, metrics)
        except Exception:
            self.failed = True
            raise


class AsksTheBackend(PlainExporter):
    """The temporality is asked of the backend, under the lock of an export."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.lock = threading.Lock()

    def temporality(self, instrument_kind: object) -> AggregationTemporality:
        with self.lock:
            return AggregationTemporality.CUMULATIVE

    def attempt(self, context: Context, body: bytes) -> Answer:
        with self.lock:
            return super().attempt(context, body)


class NeedsAResource(PlainExporter):
    """An empty batch is an IndexError."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        self.service = metrics.resource_metrics[0].resource
        super().deliver(context, metrics)


class ShutdownSaysDelivered(PlainExporter):
    """An export whose connection ends because of the shutdown returns: it is only the shutdown, after all."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        was_open = not self.is_shut_down
        try:
            super().export(context, metrics)
        except Exception:
            if not (was_open and self.is_shut_down):
                raise


class ShutdownOnlyWithTime(PooledExporter):
    """The idle connections stay open when a shutdown has no time left."""

    def release(self, context: Context) -> None:
        context.raise_if_done()
        super().release(context)


# --- secrets ----------------------------------------------------------------------------------------------------------


class NotesTheRequest(PlainExporter):
    """An error has a note with the request's headers."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except Exception as error:
            error.add_note(f"Authorization: Bearer {self.config.token.get_secret_value()}")
            raise


class LogsTheRequest(PlainExporter):
    """A failed request is logged at DEBUG, with its headers."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except Exception as error:
            head = request_bytes(self.config.endpoint, b"", self.config.token.get_secret_value())
            logging.getLogger(__name__).debug("the request failed: %s %r", error, head)
            raise


class WarnsOfTheRequest(PlainExporter):
    """A failed request is a warning that quotes the token."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except Exception:
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.warn(f"refused, with the token {self.config.token.get_secret_value()}", stacklevel=2)
            raise


class CausedBySecret(PlainExporter):
    """The cause of an error's cause quotes the request."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except ExporterError as error:
            deep = RuntimeError(f"POST with {self.config.token.get_secret_value()}")
            middle = ValueError("the request failed")
            middle.__cause__ = deep
            raise ExporterError(str(error)) from middle


class CarriesTheRequest(PlainExporter):
    """An error has an attribute with the whole request, which its repr() shows."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except ExporterError as error:
            raise RequestError(str(error), self.config.token.get_secret_value()) from error


class RequestError(ExporterError):
    """An error with the request in it."""

    def __init__(self, message: str, token: str) -> None:
        super().__init__(message)
        self.request = {"Authorization": f"Bearer {token}"}

    def __repr__(self) -> str:
        return f"RequestError({self.args[0]!r}, request={self.request!r})"


class PrintsTheTraceback(PlainExporter):
    """A failed request is printed to standard error, with the token."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except Exception:
            token = self.config.token.get_secret_value()
            sys.stderr.write(f"request failed: Authorization: {token}\n{traceback.format_exc()}")
            raise
