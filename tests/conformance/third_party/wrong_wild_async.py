"""Wrong exporters over asyncio, and more over http.client."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import warnings
import weakref

from opentelemetry.sdk.metrics.export import MetricExportResult

from exporter_core import ExporterError, ExporterShutdownError, PartialSuccessError
from third_party.right_wild_async import WildLoop
from third_party.right_wild_http import WildHttp
from third_party.wild_base import Transient, attempts, told

logger = logging.getLogger("wild.wrong")


class LeavesTheCoroutine(WildLoop):
    """Leaves at the deadline, as future.result(timeout) does, while the task goes on and delivers later."""

    def wait(self, context, coroutine):
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop())
        while True:
            try:
                return future.result(0.02)
            except concurrent.futures.TimeoutError:
                context.raise_if_done()
            except OSError as error:
                raise Transient(f"the connection broke: {type(error).__name__}") from error
            except (asyncio.IncompleteReadError, ValueError) as error:
                if isinstance(error, asyncio.IncompleteReadError) and not error.partial and error.expected is None:
                    raise Transient("no answer") from error
                raise ExporterError("no answer of HTTP") from error


class FireAndForget(WildLoop):
    """Calls run_coroutine_threadsafe without waiting for the future."""

    def wait(self, context, coroutine):
        asyncio.run_coroutine_threadsafe(coroutine, self.loop())
        return 0, ""


class NeverStopsLoop(WildLoop):
    """Does not stop the event loop at shutdown."""

    def release(self, context):
        pass


class StopsWithoutClose(WildLoop):
    """Stops the event loop at shutdown and joins its thread, but does not close it: selector and self-pipe stay."""

    def loop(self):
        if self._loop is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, daemon=True)
            thread.start()
            self._loop, self._thread = loop, thread
            self._finalizer = weakref.finalize(self, loop.call_soon_threadsafe, loop.stop)
            self._finalizer.atexit = False
        return self._loop

    def release(self, context):
        if self._finalizer is not None:
            self._finalizer()
            self._thread.join()


class SetsTheEventLoop(WildLoop):
    """Calls asyncio.set_event_loop in the constructor."""

    def __init__(self, config):
        super().__init__(config)
        asyncio.set_event_loop(self.loop())


class SwallowsCancel(WildLoop):
    """Catches BaseException in the coroutine, CancelledError too, and makes another attempt itself."""

    async def post(self, address, body):
        for _ in range(3):
            try:
                return await super().post(address, body)
            except (Transient, ExporterError, OSError, ValueError, EOFError):
                raise
            except BaseException:
                logger.info("interrupted, sending once more")
        raise ExporterError("interrupted too often")


class InheritsLoop(WildLoop):
    """Goes on with its parent's loop in a forked child, which does not have its thread."""

    def begin_anew(self):
        pass


class ReadsWhatComes(WildLoop):
    """Takes for the answer's body what has come when the connection ends, whatever Content-Length says."""

    async def post(self, address, body):
        reader, writer = await asyncio.open_connection(*address)
        try:
            head = (
                f"POST {self._parts.path or '/'} HTTP/1.1\r\nHost: {self._parts.netloc}\r\nConnection: close\r\n"
                f"Content-Type: application/x-protobuf\r\nContent-Length: {len(body)}\r\n"
                f"Authorization: Bearer {self.config.token.get_secret_value()}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await writer.drain()
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            version, status, *_ = lines[0].split(" ")
            if not version.startswith("HTTP/1."):
                raise ValueError("not HTTP")
            headers = {}
            for line in lines[1:]:
                if line:
                    name, _, value = line.partition(":")
                    headers[name.strip().lower()] = value.strip()
            return self.judge(int(status), headers, await reader.read())
        finally:
            writer.transport.abort()


class AnyBodyIsFine(WildLoop):
    """Takes a 200 whose body is no answer of OTLP's, such as a proxy's sign-in page, for a success."""

    def judge(self, status, headers, answer):
        if status == 200:
            try:
                return super().judge(status, headers, answer)
            except ExporterError:
                return 0, ""
        return super().judge(status, headers, answer)


class SharedLoop(WildLoop):
    """Keeps the event loop in an attribute of the class, and the first shutdown stops it for all."""

    _all = None

    def loop(self):
        cls = type(self)
        if cls._all is None:
            super().loop()
            cls._all = self._loop, self._finalizer
        self._loop, self._finalizer = cls._all
        return self._loop

    def begin_anew(self):
        super().begin_anew()
        type(self)._all = None


class SdkAnswers(WildHttp):
    """Logs a failure and answers it with MetricExportResult.FAILURE, ported from the SDK."""

    def export(self, context, metrics):
        try:
            super().export(context, metrics)
        except (ExporterShutdownError, PartialSuccessError, TimeoutError):
            raise
        except ExporterError as error:
            logger.error("Failed to export metrics: %s", error)
            return MetricExportResult.FAILURE


class DebugLevel(WildHttp):
    """Leaves http.client's debuglevel on, which prints each request with its headers."""

    def open(self, context):
        connection = super().open(context)
        connection.set_debuglevel(1)
        return connection


class TokenInLog(WildLoop):
    """Logs the head of each request at the level DEBUG, with the Authorization header."""

    async def post(self, address, body):
        logger.debug("POST %s Authorization: Bearer %s", self._parts.path, self.config.token.get_secret_value())
        return await super().post(address, body)


class NoBackoff(WildHttp):
    """Makes a hundred attempts without a pause between them."""

    def sleeper(self, context):
        return lambda seconds: None

    def most(self):
        return 100


class NeverReadsRetryAfter(WildHttp):
    """Does not read Retry-After."""

    def wish(self, headers):
        return None


class BusyIsFine(WildHttp):
    """Forgets a 404, as the endpoint may not have been deployed yet."""

    def judge(self, status, headers, answer):
        if status == 404:
            return 0, ""
        return super().judge(status, headers, answer)


class NoRoomForEmpty(WildHttp):
    """Takes the first metric's name for a line in the log, which a batch without metrics does not have."""

    def encode(self, metrics):
        first = metrics.resource_metrics[0].scope_metrics[0].metrics[0]
        logger.debug("exporting %s and others", first.name)
        return super().encode(metrics)


class IgnoresAllWarnings(WildHttp):
    """Calls warnings.simplefilter('ignore') for the sake of a library's noise."""

    def __init__(self, config):
        super().__init__(config)
        warnings.simplefilter("ignore")


class KnowsNoDrop(WildHttp):
    """Says nothing of the points that OTLP cannot hold, which it leaves out."""

    def deliver(self, context, metrics):
        encoded = self.encode(metrics)
        if encoded.points:
            told(*attempts(context, lambda: self.attempt(context, encoded.data)))


class TimeoutResponseKept(WildLoop):
    """Closes the connection after an answer only: one that was not answered in time stays open."""

    def begin_anew(self):
        super().begin_anew()
        self._open = []

    async def post(self, address, body):
        if not hasattr(self, "_open"):
            self._open = []
        reader, writer = await asyncio.open_connection(*address)
        self._open.append(writer)
        head = (
            f"POST {self._parts.path or '/'} HTTP/1.1\r\nHost: {self._parts.netloc}\r\nConnection: close\r\n"
            f"Content-Type: application/x-protobuf\r\nContent-Length: {len(body)}\r\n"
            f"Authorization: Bearer {self.config.token.get_secret_value()}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, status, *_ = lines[0].split(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError("not HTTP")
        headers = {}
        for line in lines[1:]:
            if line:
                name, _, value = line.partition(":")
                headers[name.strip().lower()] = value.strip()
        answer = await reader.readexactly(int(headers.get("content-length", 0)))
        writer.transport.abort()
        self._open.remove(writer)
        return self.judge(int(status), headers, answer)
