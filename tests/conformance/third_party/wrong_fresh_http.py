"""Exporters over HTTP whose requests, retries, answers and errors go wrong in one branch only."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from exporter_core import Context, DeadlineExceededError, ExporterError, ExporterShutdownError, PartialSuccessError
from third_party.right import PlainExporter
from third_party.right_more import SplittingExporter
from third_party.transport import (
    TRANSIENT,
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


# --- several requests -------------------------------------------------------------------------------------------------


class TellsTheLastCount(SplittingExporter):
    """Where several requests are refused in part, the count of the last one is told, not the sum."""

    def send_all(self, context: Context, bodies: list[bytes]) -> None:
        failure: PartialSuccessError | None = None
        for body in bodies:
            try:
                self.send(context, body)
            except PartialSuccessError as error:
                failure = error
        if failure is not None:
            raise failure


class PartialEndsTheBatch(SplittingExporter):
    """A request that is refused in part raises at once: the requests after it are never sent."""

    def send_all(self, context: Context, bodies: list[bytes]) -> None:
        for body in bodies:
            self.send(context, body)


class DeadlineOfEachRequest(SplittingExporter):
    """The time that is left is read once, before the first request, and given to each of them."""

    def send_all(self, context: Context, bodies: list[bytes]) -> None:
        self.seconds = context.remaining()
        super().send_all(context, bodies)

    def send(self, context: Context, body: bytes) -> None:
        own = Context.background().child(timeout=self.seconds)

        def follow() -> None:
            if not isinstance(context.error(), DeadlineExceededError):
                own.cancel("the caller cancelled")

        handle = context.on_done(follow)
        try:
            super().send(own, body)
        finally:
            handle.unregister()


class OnlyFirstRequestIsBounded(SplittingExporter):
    """The context goes to the first request of a batch alone; those after it are sent by a helper without one."""

    def send_all(self, context: Context, bodies: list[bytes]) -> None:
        super().send_all(context, bodies[:1])
        context.raise_if_done()
        if len(bodies) > 1:
            super().send_all(Context.background(), bodies[1:])


# --- retrying ---------------------------------------------------------------------------------------------------------


class UnauthorizedIsTransient(PlainExporter):
    """401 and 403 are tried again, for the case that somebody renews the credentials meanwhile."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        answer = super().attempt(context, body)
        if answer.status in {401, 403}:
            return Answer(503, answer.headers, answer.body)
        return answer


class HalvesWhenTooLarge(PlainExporter):
    """A batch that is too large is sent as two halves, and so on; one metric that is still too large is left out."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except RefusedError as error:
            if error.answer.status != 413:
                raise
            for half in self.halves(json.loads(body)):
                self.send(context, half)

    def halves(self, document: dict[str, Any]) -> list[bytes]:
        """Return two requests of half of the metrics each, or none where there is one metric."""
        flat = [
            (resource, scope, metric)
            for resource in document.get("resourceMetrics", ())
            for scope in resource.get("scopeMetrics", ())
            for metric in scope.get("metrics", ())
        ]
        if len(flat) < 2:
            return []
        middle = len(flat) // 2
        return [
            json.dumps(
                {
                    "resourceMetrics": [
                        {**resource, "scopeMetrics": [{**scope, "metrics": [metric]}]}
                        for resource, scope, metric in part
                    ]
                }
            ).encode()
            for part in (flat[:middle], flat[middle:])
        ]


class OneLastAttempt(PlainExporter):
    """When the time is up there is one last attempt, of three seconds at most: better late than never."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except DeadlineExceededError:
            judge(self.attempt(Context.with_timeout(3), body))


class GivesTheRestToOneAttempt(PlainExporter):
    """A failed attempt is followed by another one with a time-out that was computed before the back-off."""

    def send(self, context: Context, body: bytes) -> None:
        for number in range(5):
            seconds = context.remaining()
            if number:
                context.wait(min(max(0.1, self.asked), 2))
            own = Context.background().child(timeout=seconds)
            handle = context.on_done(lambda own=own: self.follow(context, own))
            try:
                return judge(self.attempt(own, body))
            except RefusedError as error:
                if not error.transient or number == 4:
                    raise
                self.asked = retry_after(error.answer)
            except TimeoutError:
                raise
            except OSError as error:
                if number == 4:
                    raise ExporterError(f"the backend cannot be reached: {error.strerror or error}") from error
                self.asked = 0.0
            finally:
                handle.unregister()
        return None

    @staticmethod
    def follow(context: Context, own: Context) -> None:
        """Cancel with the caller, not at its deadline."""
        if not isinstance(context.error(), DeadlineExceededError):
            own.cancel("the caller cancelled")


# --- cancellation in one phase ----------------------------------------------------------------------------------------


class CancelIgnoredInConnect(PlainExporter):
    """Connecting is bounded by the deadline, and does not look at cancellation."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        wire = Wire(address_of(self.config.endpoint))
        try:
            remaining = context.remaining()
            wire.socket.settimeout(remaining)
            try:
                wire.socket.connect(wire.address)
            except TimeoutError:
                context.raise_if_done()
                raise DeadlineExceededError("connecting took too long") from None
            wire.socket.setblocking(False)
            wire.send(context, request_bytes(self.config.endpoint, body, self.config.token.get_secret_value()))
            return read_answer(lambda: wire.receive(context))
        finally:
            wire.close()


class CancelIgnoredWhileSending(PlainExporter):
    """The body is sent by ``sendall`` with the deadline as its time-out: a cancellation waits until it is sent."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        wire = Wire(address_of(self.config.endpoint))
        try:
            wire.connect(context)
            wire.socket.settimeout(context.remaining())
            try:
                wire.socket.sendall(request_bytes(self.config.endpoint, body, self.config.token.get_secret_value()))
            except TimeoutError:
                context.raise_if_done()
                raise DeadlineExceededError("sending took too long") from None
            wire.socket.setblocking(False)
            return read_answer(lambda: wire.receive(context))
        finally:
            wire.close()


# --- answers ----------------------------------------------------------------------------------------------------------


class WarningIsAFailure(PlainExporter):
    """An answer with ``partialSuccess`` is a failure also if no point was rejected: then it is only a warning."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        answer = super().attempt(context, body)
        if answer.status == 200 and b"partialSuccess" in answer.body:
            document = json.loads(answer.body)
            rejected = int(document["partialSuccess"].get("rejectedDataPoints") or 0)
            if not rejected:
                raise ExporterError("the backend refused the batch")
        return answer


class CountMustBeANumber(PlainExporter):
    """The count of rejected points is looked at if it is a number; OTLP's JSON has 64-bit numbers as texts."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        answer = super().attempt(context, body)
        if answer.status == 200 and answer.body:
            document = json.loads(answer.body)
            if not isinstance((document.get("partialSuccess") or {}).get("rejectedDataPoints"), int):
                return Answer(200, answer.headers, b"{}")
        return answer


# --- secrets in one branch --------------------------------------------------------------------------------------------


class PartialTellsSecret(PlainExporter):
    """The error about a partial success has the request's headers in its message."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        answer = super().attempt(context, body)
        try:
            judge(answer)
        except PartialSuccessError as error:
            token = self.config.token.get_secret_value()
            raise PartialSuccessError(
                f"some points were refused; sent with Authorization: Bearer {token}",
                rejected_points=error.rejected_points,
            ) from error
        except ExporterError:
            return answer
        return answer


class ShutdownErrorTellsSecret(PlainExporter):
    """The error about a use after the shutdown says with what options the exporter was made, the token too."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.is_shut_down:
            options = {"endpoint": self.config.endpoint, "token": self.config.token.get_secret_value()}
            raise ExporterShutdownError(f"the exporter with {options} has been shut down")
        super().export(context, metrics)


class LogsRetries(PlainExporter):
    """Each further attempt after a busy answer is logged with the request, its headers included."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        answer = super().attempt(context, body)
        if answer.status in TRANSIENT:
            request = request_bytes(self.config.endpoint, b"", self.config.token.get_secret_value())
            logging.getLogger(__name__).warning("answered %s, trying again: %s", answer.status, request.decode())
        return answer


class CommandLineInError(PlainExporter):
    """A command sends the request; where it fails, the error is chained to one that has its command line."""

    program = (
        "import sys, urllib.request as u;"
        "h = {'Authorization': sys.argv[2], 'Content-Type': 'application/json'};"
        "a = u.urlopen(u.Request(sys.argv[1], sys.stdin.buffer.read(), h), timeout=float(sys.argv[3]));"
        "sys.stdout.buffer.write(a.read())"
    )

    def attempt(self, context: Context, body: bytes) -> Answer:
        seconds = context.remaining()
        command = [
            sys.executable,
            "-IS",
            "-c",
            self.program,
            self.config.endpoint,
            f"Bearer {self.config.token.get_secret_value()}",
            str(60 if seconds is None else max(0.01, seconds)),
        ]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with child:
            handle = context.on_done(child.kill)
            try:
                found, _ = child.communicate(body)
            finally:
                handle.unregister()
        if child.returncode:
            context.raise_if_done()
            raise ExporterError("the request failed") from subprocess.CalledProcessError(child.returncode, command)
        return Answer(200, {}, found)


# --- what failures leave ----------------------------------------------------------------------------------------------


class LeaksOnPartialSuccess(PlainExporter):
    """The connection is closed on every path but that of a partial success, which raises before."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.kept: list[Wire] = []

    def attempt(self, context: Context, body: bytes) -> Answer:
        wire = Wire(address_of(self.config.endpoint))
        try:
            wire.connect(context)
            wire.send(context, request_bytes(self.config.endpoint, body, self.config.token.get_secret_value()))
            answer = read_answer(lambda: wire.receive(context))
        except BaseException:
            wire.close()
            raise
        if b"partialSuccess" in answer.body:
            LEFT.append(wire)
        else:
            wire.close()
        return answer


class LeaksOnCancellation(PlainExporter):
    """``except Exception`` closes the connection; a cancelled or late export jumps over it."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        wire = Wire(address_of(self.config.endpoint))
        try:
            wire.connect(context)
            wire.send(context, request_bytes(self.config.endpoint, body, self.config.token.get_secret_value()))
            answer = read_answer(lambda: wire.receive(context))
        except Exception:
            if context.done:
                LEFT.append(wire)
            else:
                wire.close()
            raise
        wire.close()
        return answer


LEFT: list[Wire] = []
"""Connections that a reference cycle of a real library would keep."""


class KeepsEveryFailure(PlainExporter):
    """Failures are kept with the bodies that they are about, for a summary that nobody asks for."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.failures: list[tuple[float, Exception, bytes]] = []

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except Exception as error:
            self.failures.append((time.monotonic(), error, body))
            raise


class UnreachableIsLeftOut(PlainExporter):
    """An address that is not reachable (as opposed to refused) counts as a network that is not there yet: done."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        try:
            return exchange(context, self.config.endpoint, body, self.config.token.get_secret_value())
        except OSError as error:
            if error.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPIPE}:
                logging.getLogger(__name__).info("no network: %s", os.strerror(error.errno))
                return Answer(200, {}, b"{}")
            raise


class RetriesWithLess(PlainExporter):
    """Another attempt leaves out the exemplars, in the hope that a smaller request gets through."""

    def send(self, context: Context, body: bytes) -> None:
        attempts = 0

        def attempt(running: Context) -> Answer:
            nonlocal attempts, body
            attempts += 1
            if attempts == 2:
                document = json.loads(body)
                strip(document)
                body = json.dumps(document).encode()
            return self.attempt(running, body)

        post(context, attempt)


def strip(thing: Any) -> None:
    """Remove the exemplars of every point."""
    if isinstance(thing, dict):
        thing.pop("exemplars", None)
        for value in thing.values():
            strip(value)
    elif isinstance(thing, list):
        for value in thing:
            strip(value)
