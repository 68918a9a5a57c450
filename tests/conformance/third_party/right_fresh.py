"""Right exporters of unusual design once more: chunked requests, pipelining, deltas, and an SDK exporter that holds."""

from __future__ import annotations

import gzip
import threading
import time
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult
from opentelemetry.sdk.metrics.view import DefaultAggregation, ExponentialBucketHistogramAggregation

from exporter_core import Context, ExporterError, PartialSuccessError
from third_party.right import PlainExporter, renew_in_child
from third_party.right_more import SplittingExporter
from third_party.transport import (
    Answer,
    Wire,
    address_of,
    encode,
    exchange,
    post,
    read_answer,
    request_bytes,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation


class ChunkedExporter(PlainExporter):
    """Send each batch compressed and in chunks, as an exporter does that encodes while it sends."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        packed = gzip.compress(body, 1)
        head, _, _ = request_bytes(self.config.endpoint, b"", self.config.token.get_secret_value()).partition(
            b"\r\n\r\n"
        )
        head = head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip")
        wire = Wire(address_of(self.config.endpoint))
        try:
            wire.connect(context)
            wire.send(context, head + b"\r\n\r\n")
            for first in range(0, len(packed), 4000):
                piece = packed[first : first + 4000]
                wire.send(context, b"%x\r\n%s\r\n" % (len(piece), piece))
            wire.send(context, b"0\r\n\r\n")
            return read_answer(lambda: wire.receive(context))
        finally:
            wire.close()


class TwoAtATimeExporter(SplittingExporter):
    """Send the requests of a batch by two threads that live as long as the batch; all are tried, then failures told."""

    def send_all(self, context: Context, bodies: list[bytes]) -> None:
        waiting = list(reversed(bodies))
        failures: list[Exception] = []

        def work() -> None:
            while waiting:
                try:
                    body = waiting.pop()
                except IndexError:
                    return
                try:
                    self.send(context, body)
                except Exception as error:  # noqa: BLE001 - raised below
                    failures.append(error)

        threads = [threading.Thread(target=work, daemon=True) for _ in bodies[:2]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rejected = sum(one.rejected_points for one in failures if isinstance(one, PartialSuccessError))
        for failure in failures:
            if not isinstance(failure, PartialSuccessError):
                raise failure
        if rejected:
            raise PartialSuccessError("the backend refused some points", rejected_points=rejected)


class DeltaExporter(SplittingExporter):
    """Ask for deltas and exponential histograms; a request that fails does not keep those after it from being sent."""

    def temporality(self, instrument_kind: object) -> AggregationTemporality:
        if "up_down" in str(instrument_kind):
            return AggregationTemporality.CUMULATIVE
        return AggregationTemporality.DELTA

    def aggregation(self, instrument_kind: object) -> Aggregation:
        if "histogram" in str(instrument_kind).lower():
            return ExponentialBucketHistogramAggregation(max_size=80)
        return DefaultAggregation()

    def send_all(self, context: Context, bodies: list[bytes]) -> None:
        rejected, failure = 0, None
        for body in bodies:
            try:
                self.send(context, body)
            except PartialSuccessError as error:
                rejected += error.rejected_points
            except ExporterError as error:
                context.raise_if_done()
                failure = failure or error
        if failure is not None:
            raise failure
        if rejected:
            raise PartialSuccessError("the backend refused some points", rejected_points=rejected)


class SdkHoldingExporter(MetricExporter):
    """Hold batches of the SDK until a flush, a shutdown or the fiftieth; a lock with a time-out guards the delivery."""

    def __init__(self, endpoint: str = "http://localhost:4318/v1/metrics", token: str = "") -> None:
        super().__init__()
        self.endpoint = endpoint
        self.token = token
        self.closed = False
        self.begin()
        renew_in_child(self, self.begin)

    def begin(self) -> None:
        """Begin with nothing, also in a forked child."""
        self.lock = threading.Lock()
        self.delivering = threading.Lock()
        self.held: list[object] = []

    def prepare(self, metrics: MetricsData) -> object:
        """Return what is held: nothing of the caller's."""
        return encode(metrics)

    def body(self, item: object) -> bytes:
        """Return the request's body of what is held."""
        return item  # type: ignore[return-value]

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs) -> MetricExportResult:
        item = self.prepare(metrics_data)
        with self.lock:
            if self.closed:
                return MetricExportResult.FAILURE
            self.held.append(item)
            full = len(self.held) >= 50
        if full and not self.deliver(timeout_millis / 1000):
            return MetricExportResult.FAILURE
        return MetricExportResult.SUCCESS

    def deliver(self, seconds: float) -> bool:
        """Deliver what is held; False if something was not delivered in time."""
        end = time.monotonic() + seconds
        if not self.delivering.acquire(timeout=max(0, seconds)):
            return False
        delivered = True
        try:
            while True:
                with self.lock:
                    if not self.held:
                        return delivered
                    item = self.held[0]
                context = Context.with_timeout(max(0, end - time.monotonic()))
                try:
                    body = self.body(item)
                    post(context, lambda running, body=body: exchange(running, self.endpoint, body, self.token))
                except TimeoutError:
                    return False
                except Exception:  # noqa: BLE001 - the interface has one way to say it
                    delivered = False
                with self.lock:
                    del self.held[0]
        finally:
            self.delivering.release()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self.closed or self.deliver(timeout_millis / 1000)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs) -> None:
        with self.lock:
            if self.closed:
                return
            self.closed = True
        if not self.deliver(timeout_millis / 1000):
            raise RuntimeError("not everything was delivered before the shutdown")
