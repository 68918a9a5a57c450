"""The right HTTP exporter that others are made from."""

from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core import Context
from exporter_core.authoring import SerialExporter, keep_untouched
from exporter_core.conformance import SinkHarness
from third_party.late_transport import HttpConfig, Sender, encode

SECRET = "tk-5f1e77aa90c3b2"


class OtlpHarness(SinkHarness):
    kind = "otlp_http"
    secret = SECRET

    def config(self):
        return {"endpoint": self.endpoint, "token": SECRET}


class PlainHttp(SerialExporter[HttpConfig]):
    """Right: OTLP over http.client, one kept connection."""

    conformance_harness = OtlpHarness
    sender_class = Sender

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.sender = self.sender_class(config)

    def encode(self, metrics: MetricsData) -> bytes:
        return encode(metrics)

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        body = self.encode(metrics)
        self.sender.send(context, body)

    def release(self, context: Context) -> None:
        self.sender.close()

    def begin_anew(self) -> None:
        keep_untouched(*self.sender.inherited())
        self.sender = self.sender_class(self.config)
