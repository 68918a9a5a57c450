"""Further wrong exporters over HTTP: retrying, deadlines, answers and what a failure leaves."""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from exporter_core import Context, DeadlineExceededError, ExporterError, PartialSuccessError
from third_party.right import PlainExporter
from third_party.transport import (
    Answer,
    RefusedError,
    Wire,
    address_of,
    exchange,
    judge,
    post,
    read_answer,
    request_bytes,
    retry_after,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from third_party.transport import HttpConfig


def follow_cancellation(context: Context, own: Context) -> None:
    """Cancel ``own`` when the caller has cancelled ``context``."""
    if not isinstance(context.error(), DeadlineExceededError):
        own.cancel("the caller cancelled")


# --- retrying ---------------------------------------------------------------------------------------------------------


class RetryAfterInMilliseconds(PlainExporter):
    """Retry-After is taken for milliseconds: an exporter that is asked to wait a second does not."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        answer = super().attempt(context, body)
        asked = retry_after(answer)
        return Answer(answer.status, {**answer.headers, "retry-after": str(asked / 1000)}, answer.body)


class ChokesOnDates(PlainExporter):
    """A Retry-After that is a date is not expected: ``float()`` raises ValueError, in the place of another attempt."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        answer = super().attempt(context, body)
        float(answer.headers.get("retry-after", 0))
        return answer


class RetriesWhenAsked(PlainExporter):
    """A busy backend is tried again only if it says with Retry-After when: a bare 503 is final."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        answer = super().attempt(context, body)
        if answer.status in {429, 503} and "retry-after" not in answer.headers:
            raise ExporterError(f"the backend answered {answer.status}")
        return answer


class BackOffOfALifetime(PlainExporter):
    """The pause before another attempt is an attribute that every failure doubles, and no success sets back."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.pause = 0.1

    def send(self, context: Context, body: bytes) -> None:
        pause = self.pause
        attempts = 0

        def attempt(running: Context) -> Answer:
            nonlocal attempts
            attempts += 1
            if attempts > 1:
                self.pause *= 2
            return self.attempt(running, body)

        post(context, attempt, pause=pause)


class RetriesWithinDeadlineOnly(PlainExporter):
    """The time for another attempt is ``remaining() or 0``: without a deadline there is never another attempt."""

    def send(self, context: Context, body: bytes) -> None:
        attempts = 1 if context.remaining() is None else 5
        post(context, lambda running: self.attempt(running, body), attempts=attempts)


class SendsFailedBatchesLater(PlainExporter):
    """A batch whose export has raised is kept, and sent before the next one, although its failure was told."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.failed: list[bytes] = []

    def send(self, context: Context, body: bytes) -> None:
        while self.failed:
            super().send(context, self.failed[0])
            del self.failed[0]
        try:
            super().send(context, body)
        except PartialSuccessError:
            raise
        except (ExporterError, OSError) as error:
            if getattr(error, "transient", True):
                self.failed.append(body)
            raise


# --- answers ----------------------------------------------------------------------------------------------------------


class NoContentIsFine(PlainExporter):
    """204 is success, as with other backends."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        answer = super().attempt(context, body)
        return Answer(200, {}, b"{}") if answer.status == 204 else answer


class FollowsTemporaryRedirects(PlainExporter):
    """307 and 308 are followed with the same POST, wherever they lead, and any 200 there is success."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        answer = super().attempt(context, body)
        if answer.status not in {307, 308} or "location" not in answer.headers:
            return answer
        place = urljoin(self.config.endpoint, answer.headers["location"])
        found = exchange(context, place, body, self.config.token.get_secret_value())
        return Answer(200, {}, b"{}") if found.status == 200 else found


class WarnsOfPartialSuccess(PlainExporter):
    """Points that the backend has rejected are a warning in the log, and export returns."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except PartialSuccessError as error:
            logging.getLogger(__name__).warning("%d points were rejected", error.rejected_points)


class CountIsText(PlainExporter):
    """The count of rejected points is passed on as the text that it is in OTLP's JSON."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except PartialSuccessError as error:
            error.rejected_points = str(error.rejected_points)  # type: ignore[assignment]
            raise


class NotYetUp(PlainExporter):
    """A refused connection means that the backend is not up yet: it is logged, and export returns."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        try:
            return super().attempt(context, body)
        except ConnectionRefusedError:
            logging.getLogger(__name__).info("the backend is not up yet")
            return Answer(200, {}, b"{}")


# --- deadlines and cancellation ---------------------------------------------------------------------------------------


class BelowASecondIsNone(PlainExporter):
    """The time-out is ``int(remaining) or None``: what is left below one second is no limit at all."""

    def send(self, context: Context, body: bytes) -> None:
        remaining = context.remaining()
        if remaining is None or int(remaining):
            return super().send(context, body)
        own = Context.background().child()
        handle = context.on_done(lambda: follow_cancellation(context, own))
        try:
            return super().send(own, body)
        finally:
            handle.unregister()


class ExtendsTheDeadline(PlainExporter):
    """A backend that asks to wait is given the time for it: its Retry-After is added to the caller's deadline."""

    def send(self, context: Context, body: bytes) -> None:
        for number in range(5):
            answer = self.attempt(context, body)
            try:
                return judge(answer)
            except RefusedError as error:
                if not error.transient or number == 4:
                    raise
            asked = max(0.1 * 2**number, retry_after(answer))
            remaining = context.remaining()
            extended = Context.background() if remaining is None else Context.with_timeout(remaining + asked)
            extended = extended.child()
            context.on_done(lambda context=context, own=extended: follow_cancellation(context, own))
            context = extended
            context.wait(asked)
            context.raise_if_done()
        return None

    def attempt(self, context: Context, body: bytes) -> Answer:
        for number in range(5):
            try:
                return super().attempt(context, body)
            except ConnectionError as error:
                if number == 4:
                    raise ExporterError(f"the backend cannot be reached: {error.strerror or error}") from error
            context.wait(0.1 * 2**number)
            context.raise_if_done()
        raise AssertionError


class DrainsAnswers(PlainExporter):
    """Also an interrupted answer is read to its end, up to three seconds, so that the connection ends in order."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        wire = Wire(address_of(self.config.endpoint))
        connected = False
        try:
            wire.connect(context)
            connected = True
            wire.send(context, request_bytes(self.config.endpoint, body, self.config.token.get_secret_value()))
            return read_answer(lambda: wire.receive(context))
        finally:
            if connected:
                self.drain(wire.socket)
            wire.close()

    def drain(self, plain: socket.socket) -> None:
        """Read until the other end closes."""
        end = time.monotonic() + 3
        with contextlib.suppress(OSError):
            while (left := end - time.monotonic()) > 0:
                plain.settimeout(left)
                if not plain.recv(65536):
                    break


class TimerOutlives(PlainExporter):
    """A timer closes the connection at the deadline; where the export is done before, nobody cancels the timer."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        wire = Wire(address_of(self.config.endpoint))
        timer = threading.Timer(context.remaining() or 60, wire.close)
        timer.daemon = True
        timer.start()
        try:
            wire.connect(context)
            wire.send(context, request_bytes(self.config.endpoint, body, self.config.token.get_secret_value()))
            return read_answer(lambda: wire.receive(context))
        except OSError:
            context.raise_if_done()
            raise
        finally:
            wire.close()


class AbandonsTheRequest(PlainExporter):
    """A thread sends, and export waits for it no longer than its context lasts: the thread goes on, and sends later."""

    def send(self, context: Context, body: bytes) -> None:
        done: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        threading.Thread(target=self.work, args=[body, done], daemon=True).start()
        handle = context.on_done(lambda: done.put(context.error()))
        try:
            failure = done.get()
        finally:
            handle.unregister()
        if failure is not None:
            raise failure

    def work(self, body: bytes, done: queue.SimpleQueue[Exception | None]) -> None:
        """Send with retries, and hand over the outcome."""
        try:
            super().send(Context.background(), body)
        except Exception as error:  # noqa: BLE001 - raised by the thread that waits
            done.put(error)
        else:
            done.put(None)


class StaysCancelled(PlainExporter):
    """A cancellation sets an event that ends the running export, and that nothing clears: later exports end at once."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.stopped = Context.background().child()

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        handle = context.on_done(lambda: follow_cancellation(context, self.stopped))
        try:
            self.stopped.raise_if_done()
            super().deliver(context, metrics)
        finally:
            handle.unregister()


class KeepsTheFirstDeadline(PlainExporter):
    """The deadline of the first export becomes an attribute, and bounds all later ones too."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.until: float | None = None

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        if self.until is None:
            self.until = context.deadline
        if self.until is not None:
            context = context.child(timeout=self.until - time.monotonic())
        super().deliver(context, metrics)


class FirstFailureDecides(PlainExporter):
    """What the first attempt raised is raised in the end, also where a later attempt has delivered."""

    def send(self, context: Context, body: bytes) -> None:
        failure: Exception | None = None
        for number in range(5):
            try:
                judge(self.attempt(context, body))
                break
            except RefusedError as error:
                failure = failure or error
                if not error.transient or number == 4:
                    break
                context.wait(max(0.1, retry_after(error.answer)))
            except TimeoutError:
                raise
            except OSError as error:
                if failure is None:
                    failure = ExporterError(f"the backend cannot be reached: {error.strerror or error}")
                    failure.__cause__ = error
                context.wait(0.1)
            context.raise_if_done()
        if failure is not None:
            raise failure
