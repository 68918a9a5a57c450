"""Wrong exporters of the OpenTelemetry SDK."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExportResult

from exporter_core import Context
from exporter_core.otlp import JsonEncoder
from third_party.right import SdkExporter
from third_party.transport import encode, exchange, post

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

ENDPOINT = "http://localhost:4318/v1/metrics"


class SdkAlwaysSuccess(SdkExporter):
    """A failure is logged, and SUCCESS is answered."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        super().send(metrics, seconds)
        return MetricExportResult.SUCCESS


class SdkSendsAfterShutdown(SdkExporter):
    """The shutdown closes nothing, and exports go on."""

    def shutdown(self, timeout_millis: float = 30_000, **kwargs) -> None:
        """Do nothing."""


class SdkIgnoresTimeout(SdkExporter):
    """The time-out is ten seconds, whatever is given."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        return super().send(metrics, 10.0)


class SdkMillisAsSeconds(SdkExporter):
    """Milliseconds are taken for seconds."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        return super().send(metrics, seconds * 1000)


class SdkTimeoutForEachAttempt(SdkExporter):
    """Each attempt has the whole time-out."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        body = encode(metrics)
        for _ in range(3):
            try:
                post(
                    Context.with_timeout(seconds),
                    lambda running: exchange(running, self.endpoint, body, self.token),
                    attempts=1,
                )
            except Exception:  # noqa: BLE001, S112 - tried again
                continue
            return MetricExportResult.SUCCESS
        return MetricExportResult.FAILURE


class SdkDetaches(SdkExporter):
    """Export hands the batch to a thread, and answers SUCCESS; a flush returns True at once."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        body = JsonEncoder().encode(metrics).data
        threading.Thread(target=self.work, args=[body, seconds], daemon=True).start()
        return MetricExportResult.SUCCESS

    def work(self, body: bytes, seconds: float) -> None:
        """Send."""
        post(Context.with_timeout(seconds), lambda running: exchange(running, self.endpoint, body, self.token))


class SdkHoldsTen(SdkExporter):
    """Ten batches are sent together; a shutdown forgets those that are held."""

    def __init__(self, endpoint: str = ENDPOINT, token: str = "") -> None:
        super().__init__(endpoint, token)
        self.held: list[MetricsData] = []

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        self.held.append(metrics)
        if len(self.held) < 10:
            return MetricExportResult.SUCCESS
        held, self.held = self.held, []
        results = [super(SdkHoldsTen, self).send(one, seconds) for one in held]
        return MetricExportResult.FAILURE if MetricExportResult.FAILURE in results else MetricExportResult.SUCCESS


class SdkTextAttributes(SdkExporter):
    """Attributes are turned into text: True becomes "True"."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        text = JsonEncoder().encode(metrics).data
        body = text.replace(b'"boolValue":true', b'"stringValue":"True"').replace(
            b'"boolValue":false', b'"stringValue":"False"'
        )
        try:
            post(Context.with_timeout(seconds), lambda running: exchange(running, self.endpoint, body, self.token))
        except Exception:  # noqa: BLE001 - the interface has one way to say it
            return MetricExportResult.FAILURE
        return MetricExportResult.SUCCESS


class SdkAnswersNone(SdkExporter):
    """A failure is answered with None, which is neither SUCCESS nor FAILURE."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        result = super().send(metrics, seconds)
        return None if result is MetricExportResult.FAILURE else result  # type: ignore[return-value]


class SdkFlips(SdkExporter):
    """The preferred temporality is changed by the first export."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        self._preferred_temporality = {Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA}
        return super().send(metrics, seconds)


class SdkRestsAfterFailure(SdkExporter):
    """After a failure the next export answers FAILURE without sending: the backend needs a rest."""

    failed = False

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        if self.failed:
            self.failed = False
            return MetricExportResult.FAILURE
        result = super().send(metrics, seconds)
        self.failed = result is MetricExportResult.FAILURE
        return result
