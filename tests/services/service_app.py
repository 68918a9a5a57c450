"""The service that the servers of this folder run: every request, task or child records one measurement of its own.

Each measurement has an attribute of its own, so that a point is a measurement, and is written to a file of records when
it has been made: what the file holds is what the service has recorded. With ``SERVICE_STOCK`` it uses the SDK's own
reader and exporter instead; with ``SERVICE_FOREIGN`` the pipeline is installed beside a provider that exists already.
``SERVICE_FIRST`` is code that runs before the pipeline is made.
"""

from __future__ import annotations

import asyncio
import os
import sys


class Ours:
    """A pipeline of the config file."""

    def __init__(self) -> None:
        from exporter_core import Pipeline

        shutdown = float(os.environ["SERVICE_SHUTDOWN"])
        self._pipeline = Pipeline.from_file(os.environ["SERVICE_CONFIG"], shutdown_timeout=shutdown)
        self.provider = self._pipeline.meter_provider

    def flush(self) -> None:
        """Deliver what was recorded, and log what is not delivered."""
        self._log(self._pipeline.flush(timeout=10))

    def shutdown(self) -> None:
        """Deliver the last metrics, and log what is not delivered."""
        self._log(self._pipeline.shutdown())

    @staticmethod
    def _log(report) -> None:
        """Log what a report says: who asks for one is told by it alone."""
        for reader in report.readers:
            if reader.error is not None:
                lost = reader.points_handed_over - reader.points_accepted
                sys.stderr.write(f"{reader.name}: {reader.error}; {lost} data points were not delivered\n")


class Foreign(Ours):
    """A pipeline whose readers are added to the SDK provider that the program has set before.

    It imports uWSGI's decorators last, which set the hook of a forked worker, too.
    """

    def __init__(self) -> None:
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics import MeterProvider

        metrics.set_meter_provider(MeterProvider(shutdown_on_exit=False))
        super().__init__()
        self._pipeline.install()
        self.provider = metrics.get_meter_provider()
        if "uwsgi" in sys.modules:
            import uwsgidecorators  # noqa: F401


class Stock:
    """The SDK's periodic reader with the official exporter."""

    def __init__(self, exporter: str) -> None:
        from opentelemetry.sdk import metrics as sdk
        from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader

        endpoint = os.environ["SERVICE_ENDPOINT"]
        delta = {sdk.Counter: AggregationTemporality.DELTA}
        if exporter == "otlp_grpc":
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

            options = {"insecure": True}
        else:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

            options = {}
        interval, count = float(os.environ["SERVICE_INTERVAL"]), int(os.environ["SERVICE_READERS"])
        self.provider = sdk.MeterProvider(
            [
                PeriodicExportingMetricReader(
                    OTLPMetricExporter(endpoint=endpoint, preferred_temporality=delta, **options),
                    export_interval_millis=interval,
                )
                for _ in range(count)
            ]
        )

    def flush(self) -> None:
        """Deliver what was recorded."""
        self.provider.force_flush(10_000)

    def shutdown(self) -> None:
        """Deliver the last metrics."""
        self.provider.shutdown()


exec(os.environ.get("SERVICE_FIRST", ""))  # noqa: S102 - a line of the documentation
if os.environ.get("SERVICE_STOCK"):
    metrics: Ours | Stock = Stock(os.environ["SERVICE_STOCK"])
else:
    metrics = Foreign() if os.environ.get("SERVICE_FOREIGN") else Ours()
_counter = metrics.provider.get_meter("service").create_counter("requests")
_records = os.open(os.environ["SERVICE_RECORDS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def record(number: str) -> None:
    """Record one measurement, and then note that it was recorded."""
    _counter.add(1, {"number": number})
    os.write(_records, f"{number} {os.getpid()}\n".encode())


def application(environ, start_response):
    """WSGI."""
    number = environ["QUERY_STRING"]
    if number:
        record(number)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


async def asgi(scope, receive, send):
    """ASGI. It shuts down in its lifespan: uvicorn then ends its worker by SIGTERM, which runs no Python."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await asyncio.to_thread(metrics.shutdown)
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["query_string"]:
        record(scope["query_string"].decode())
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
