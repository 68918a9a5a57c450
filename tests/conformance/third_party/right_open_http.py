"""A right exporter over OTLP/HTTP on plain sockets, which sends large batches as several requests."""

from __future__ import annotations

from exporter_core import Context, ExporterError, PartialSuccessError
from exporter_core.authoring import SerialExporter
from exporter_core.otlp import Encoder
from third_party.open_transport import HttpClient, HttpConfig, HttpHarness


class HttpSerial(SerialExporter[HttpConfig]):
    """Sends over one connection that is kept alive, with retries, and a large batch as several requests."""

    conformance_harness = HttpHarness
    client_class = HttpClient
    max_points = 1000

    def __init__(self, config):
        super().__init__(config)
        self.encoder = Encoder()
        self.client = self.client_class(config)

    def encode(self, metrics):
        requests = self.encoder.split(metrics, max_points=self.max_points)
        return [request.data for request in requests], requests

    def deliver(self, context: Context, metrics) -> None:
        bodies, requests = self.encode(metrics)
        rejected, errors = 0, []
        for body in bodies:
            try:
                rejected += self.client.send(context, body)
            except ExporterError as error:
                context.raise_if_done()
                errors.append(error)
        if errors:
            raise ExporterError(f"{len(errors)} of {len(bodies)} requests failed: {errors[0]}") from errors[0]
        dropped = len(requests.dropped)
        if rejected or dropped:
            raise PartialSuccessError(
                f"{rejected} rejected, {dropped} not representable", rejected_points=rejected + dropped
            )

    def release(self, context):
        self.client.close()

    def begin_anew(self):
        self.client.forget()
