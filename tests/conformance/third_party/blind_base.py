"""What most exporters of this stranger share: options, harnesses, and a plain exporter over one kept connection."""

from pydantic import Field, SecretStr

from exporter_core import ExporterConfig, ExporterError
from exporter_core.authoring import SerialExporter, keep_untouched
from exporter_core.conformance import Capabilities, SinkHarness
from third_party.blind_encoder import Enc
from third_party.blind_wire import Http, send


class Config(ExporterConfig):
    endpoint: str = Field(pattern="^http://")
    token: SecretStr = SecretStr("")


SECRET = "hunter2-very-secret-9f8e"


class Harness(SinkHarness):
    kind = "otlp_http"
    secret = SECRET

    def config(self):
        return {"endpoint": self.endpoint, "token": SECRET}


class HoldingHarness(Harness):
    capabilities = Capabilities(holds=True)


class Base(SerialExporter[Config]):
    conformance_harness = Harness
    enc_class = Enc

    def __init__(self, config):
        super().__init__(config)
        self.enc = self.enc_class()
        self.http = Http(config.endpoint)

    def headers(self):
        return {
            "Content-Type": "application/x-protobuf",
            "Authorization": "Bearer " + self.config.token.get_secret_value(),
        }

    def encode(self, metrics):
        try:
            return self.enc.encode(metrics)
        except (ValueError, TypeError, OverflowError) as e:
            raise ExporterError("the metrics do not fit OTLP") from e

    def deliver(self, context, metrics):
        send(context, self.http, self.encode(metrics), self.headers())

    def release(self, context):
        self.http.close()

    def begin_anew(self):
        keep_untouched(self.http.sock)
        self.http.sock = None
