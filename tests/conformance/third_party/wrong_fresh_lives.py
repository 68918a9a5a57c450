"""Exporters whose fault shows over a life: what a process, a queue, a database or an event loop keeps."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import logging
import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult, MetricsData

from exporter_core import Context, ExporterError
from exporter_core.authoring import keep_untouched
from exporter_core.conformance import flatten
from exporter_core.otlp import decode_json
from third_party.right import (
    METHOD,
    GrpcExporter,
    PlainExporter,
    PooledExporter,
    QueuedExporter,
    SdkExporter,
    WriteBehindExporter,
)
from third_party.right_fresh import SdkHoldingExporter
from third_party.right_more import PathHarness, SqliteRowsExporter
from third_party.right_unusual import AsyncExporter
from third_party.transport import RefusedError, Wire, address_of, encode, exchange, judge, retry_after

if TYPE_CHECKING:
    from third_party.right import GrpcConfig
    from third_party.transport import Answer, HttpConfig


# --- what belongs to the process --------------------------------------------------------------------------------------


class AdaptsTypesOfSqlite(PlainExporter):
    """An adapter for lists is registered with sqlite3, for every connection of the process."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        sqlite3.register_adapter(list, json.dumps)
        super().deliver(context, metrics)


class SmallThreadStacks(PlainExporter):
    """Threads started from now on have small stacks, also those of the application."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        threading.stack_size(256 * 1024)
        super().deliver(context, metrics)


class SilencesLoggingErrors(PlainExporter):
    """Errors of log handlers are shown no longer, in the whole process."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        logging.raiseExceptions = False


class ReplacesLogRecords(PlainExporter):
    """The factory of log records is replaced in a failed export, so that records have a field of the exporter's."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except ExporterError:
            before = logging.getLogRecordFactory()

            def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
                record = before(*args, **kwargs)
                record.exporter = "metrics"
                return record

            logging.setLogRecordFactory(factory)
            raise


# --- what is kept -----------------------------------------------------------------------------------------------------


class ForkHookKeepsItAlive(PlainExporter):
    """A bound method is registered for forks: no exporter is ever let go of."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.buffer = bytearray(64 * 1024)
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Begin anew in a child."""
        self.buffer = bytearray(64 * 1024)


class ThreadsForLargeBatches(PlainExporter):
    """Batches of more than a thousand points are encoded on a pool of threads, which nobody shuts down."""

    def encode(self, metrics: MetricsData) -> bytes:
        count = sum(
            len(metric.data.data_points)
            for resource in metrics.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        )
        if count <= 1000:
            return encode(metrics)
        if not hasattr(self, "pool"):
            self.pool = concurrent.futures.ThreadPoolExecutor(2)
            POOLS.append(self.pool)
        return self.pool.submit(encode, metrics).result()


POOLS: list[object] = []
"""Pools as a module of helpers keeps them."""


class RemembersEverySeries(PlainExporter):
    """Each series that was ever seen has an entry in a table, also when it never comes again."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.series: dict[tuple[str, Any], list[int]] = {}

    def encode(self, metrics: MetricsData) -> bytes:
        for resource in metrics.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        key = metric.name, repr(sorted((point.attributes or {}).items(), key=str))
                        self.series.setdefault(key, []).clear()
                        self.series[key] += [0] * 100
        return encode(metrics)


class KeepsEveryConnection(PooledExporter):
    """Connections are kept open for later, and a later export looks for one of its own, which there never is."""

    def take(self, context: Context) -> Wire:
        wire = Wire(address_of(self.config.endpoint))
        try:
            wire.connect(context)
        except BaseException:
            self.broken(wire)
            raise
        return wire


class FlipsAfterFlush(PlainExporter):
    """A flush begins a new period, and from then on sums are wanted as deltas."""

    flushed = False

    def temporality(self, instrument_kind: object) -> AggregationTemporality:
        return AggregationTemporality.DELTA if self.flushed else AggregationTemporality.CUMULATIVE

    def force_flush(self, context: Context) -> None:
        super().force_flush(context)
        self.flushed = True


class RepeatsFailureAtShutdown(PlainExporter):
    """A shutdown raises the last export's failure, which that export has raised already."""

    failure: Exception | None = None

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except Exception as error:
            self.failure = error
            raise

    def shutdown(self, context: Context) -> None:
        super().shutdown(context)
        if self.failure is not None:
            raise ExporterError(f"the last export had failed: {self.failure}") from self.failure


class KeywordOnly(PlainExporter):
    """Export takes its arguments by name alone."""

    def export(self, *, context: Context, metrics: MetricsData) -> None:  # type: ignore[override]
        super().export(context, metrics)


# --- holding ----------------------------------------------------------------------------------------------------------


class ShutdownWaitsForBackOff(QueuedExporter):
    """The pause between two attempts is an event that a shutdown does not set, and shutdown joins the thread."""

    def deliver(self, context: Context, body: bytes) -> None:
        token = self.config.token.get_secret_value()
        for number in range(5):
            try:
                return judge(exchange(context, self.config.endpoint, body, token))
            except RefusedError as error:
                if not error.transient or number == 4:
                    raise
                pause = max(0.1 * 2**number, min(retry_after(error.answer), 8))
            except TimeoutError:
                raise
            except OSError as error:
                if number == 4:
                    raise ExporterError(f"the backend cannot be reached: {error.strerror or error}") from error
                pause = 0.1 * 2**number
            threading.Event().wait(pause)
            context.raise_if_done()
        return None

    def shutdown(self, context: Context) -> None:
        try:
            super().shutdown(context)
        finally:
            thread = self.thread
            if thread is not None:
                thread.join()


class FlushNapsInBackOff(WriteBehindExporter):
    """A flush sleeps between two attempts for as long as it was asked to, up to eight seconds."""

    def deliver(self, context: Context, body: bytes) -> None:
        token = self.config.token.get_secret_value()
        for number in range(5):
            try:
                return judge(exchange(context, self.config.endpoint, body, token))
            except RefusedError as error:
                if not error.transient or number == 4:
                    raise
                pause = max(0.1 * 2**number, min(retry_after(error.answer), 8))
            except TimeoutError:
                raise
            except OSError as error:
                if number == 4:
                    raise ExporterError(f"the backend cannot be reached: {error.strerror or error}") from error
                pause = 0.1 * 2**number
            time.sleep(pause)
            context.raise_if_done()
        return None


class HoldsAMegabyte(WriteBehindExporter):
    """At most a megabyte is held: beyond it the oldest batches go, without a word."""

    most = 1_000_000

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        with self.condition:
            while len(self.held) > 1 and not self.busy and sum(map(len, self.held)) > 1_000_000:
                del self.held[0]


class ForgetsAfterAMinute(WriteBehindExporter):
    """What has been held for more than a minute is stale: a flush leaves it out."""

    most = 1_000_000

    def begin(self) -> None:
        super().begin()
        self.since: float | None = None

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        if self.since is None:
            self.since = time.time()

    def flush(self, context: Context) -> None:
        with self.condition:
            if self.since is not None and time.time() - self.since > 60 and not self.busy:
                self.held.clear()
            self.since = None
        super().flush(context)


class ExportsContextEndsDelivery(QueuedExporter):
    """The delivery runs under the context of its export, which has returned: cancelling that drops the batch."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        self.next_context = context
        super().export(context, metrics)

    def prepare(self, metrics: MetricsData) -> object:
        return self.next_context, encode(metrics)

    def body(self, item: object) -> bytes:
        self.working, body = item  # type: ignore[misc]
        return body

    def deliver(self, context: Context, body: bytes) -> None:
        running = context.child()
        handle = self.working.on_done(lambda: running.cancel("the export is over"))
        try:
            super().deliver(running, body)
        except ExporterError:
            if not self.working.done:
                raise
            logging.getLogger(__name__).info("the export was cancelled")
        finally:
            handle.unregister()


# --- a database -------------------------------------------------------------------------------------------------------


class PointsHarness(PathHarness):
    """A database with a row a point."""

    def read_back(self) -> list[Any]:
        if not self.path.is_file():
            return []
        with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE name = 'points'").fetchall()
            rows = database.execute("SELECT body FROM points ORDER BY rowid").fetchall() if tables else []
        return [point for (body,) in rows for point in flatten(decode_json(body))]


class PrimaryKeyOfNameAndTime(SqliteRowsExporter):
    """A row a point, whose key is metric, attributes and time; an insert that breaks it is ignored."""

    conformance_harness = PointsHarness
    schema = "CREATE TABLE IF NOT EXISTS points (series TEXT, time TEXT, body BLOB, PRIMARY KEY (series, time))"

    def store(self, context: Context, body: bytes) -> None:
        with contextlib.closing(self.connect()) as database:
            while True:
                context.raise_if_done()
                try:
                    with database:
                        database.execute(self.schema)
                        database.executemany("INSERT OR IGNORE INTO points VALUES (?, ?, ?)", self.rows(body))
                    return
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error):
                        raise
                context.wait(0.02)

    def rows(self, body: bytes) -> list[tuple[str, str, bytes]]:
        """Return the row of each point."""
        rows = []
        for resource in json.loads(body).get("resourceMetrics", ()):
            for scope in resource.get("scopeMetrics", ()):
                for metric in scope.get("metrics", ()):
                    (kind,) = {"gauge", "sum", "histogram", "exponentialHistogram"} & metric.keys()
                    for point in metric[kind].get("dataPoints", ()):
                        one = {**metric, kind: {**metric[kind], "dataPoints": [point]}}
                        part = {**resource, "scopeMetrics": [{**scope, "metrics": [one]}]}
                        series = json.dumps([metric.get("name"), point.get("attributes")])
                        whole = json.dumps({"resourceMetrics": [part]}).encode()
                        rows.append((series, point.get("timeUnixNano", "0"), whole))
        return rows


# --- an event loop ----------------------------------------------------------------------------------------------------


class KeepsTheFirstLoop(AsyncExporter):
    """Attempts take turns by a lock that is bound to the first event loop on which there was a wait for it."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.loop: asyncio.AbstractEventLoop | None = None

    async def attempt(self, body: bytes) -> Answer:
        if self.loop is None:
            self.loop = asyncio.get_running_loop()
        future = self.loop.create_future()
        self.loop.call_soon(future.set_result, None)
        await future
        return await super().attempt(body)


# --- gRPC -------------------------------------------------------------------------------------------------------------


class ClosesChannelOnCancel(GrpcExporter):
    """One channel is kept; a cancelled or late export closes it, and nobody opens another one."""

    def __init__(self, config: GrpcConfig) -> None:
        super().__init__(config)
        self.channel: grpc.Channel | None = None

    def attempt(self, context: Context, data: bytes) -> bytes:
        if self.channel is None:
            self.channel = grpc.insecure_channel(self.config.address)
        try:
            future = self.channel.unary_unary(METHOD).future(data, timeout=context.remaining())
        except ValueError as error:
            raise ExporterError(f"the channel cannot be used: {error}") from error
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        handle = context.on_done(done.set)
        try:
            done.wait()
        finally:
            handle.unregister()
        if not future.done():
            future.cancel()
            self.channel.close()
            context.raise_if_done()
        return future.result()

    def release(self, context: Context) -> None:
        if self.channel is not None:
            self.channel.close()

    def begin_anew(self) -> None:
        keep_untouched(self.channel)
        self.channel = None


# --- the SDK's interface ----------------------------------------------------------------------------------------------


class SdkFlushAnswersNone(SdkExporter):
    """The flush has nothing to do, and returns nothing: None is no success."""

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # type: ignore[return]
        """Return nothing."""


class SdkForgetsBase(MetricExporter):
    """``super().__init__()`` is forgotten: the preferences that a reader asks for do not exist."""

    def __init__(self, endpoint: str = "http://localhost:4318/v1/metrics") -> None:
        self.inner = SdkExporter(endpoint)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs) -> MetricExportResult:
        return self.inner.export(metrics_data, timeout_millis)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs) -> None:
        self.inner.shutdown(timeout_millis)


class SdkLastBatchDecides(SdkExporter):
    """A batch goes out in a request for each resource; the answer is that of the last one."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        result = MetricExportResult.SUCCESS
        end = time.monotonic() + seconds
        for one in metrics.resource_metrics or [None]:
            part = MetricsData(resource_metrics=[one] if one else [])
            result = super().send(part, max(0, end - time.monotonic()))
        return result


class SdkAnswersForThePrevious(SdkExporter):
    """The answer is how the export before this one ended."""

    previous = MetricExportResult.SUCCESS

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        answer, self.previous = self.previous, super().send(metrics, seconds)
        return answer


class SdkQueuesReferences(SdkHoldingExporter):
    """The caller's own batches are held until the flush, and encoded then."""

    def prepare(self, metrics: MetricsData) -> object:
        return metrics

    def body(self, item: object) -> bytes:
        return encode(item)  # type: ignore[arg-type]


class SdkFlushSaysTrue(SdkHoldingExporter):
    """A flush that has failed says True all the same, since it only promises to try."""

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        super().force_flush(timeout_millis)
        return True
