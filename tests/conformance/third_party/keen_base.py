"""What the exporters of this stranger share: options, harnesses, and copies of batches."""

from __future__ import annotations

import dataclasses

from opentelemetry.sdk.metrics.export import MetricsData
from pydantic import SecretStr, field_validator

from exporter_core import ExporterConfig
from exporter_core.conformance import Capabilities, SinkHarness

SECRET = "s3cr3t-t0ken-kkq"  # noqa: S105 - not one


class Conf(ExporterConfig):
    endpoint: str
    """Where to send to; http only."""
    token: SecretStr | None = None
    """Bearer token."""

    @field_validator("endpoint")
    @classmethod
    def plain(cls, value):
        if not value.startswith("http://"):
            raise ValueError("an http:// URL is needed")
        return value


class Harness(SinkHarness):
    """An OTLP/HTTP server for each clause."""

    kind = "otlp_http"
    secret = SECRET

    def config(self):
        return {"endpoint": self.endpoint, "token": self.secret}


class HoldingHarness(Harness):
    """The same for exporters that hold batches."""

    capabilities = Capabilities(holds=True)


class GrpcHarness(Harness):
    """An OTLP/gRPC server for each clause."""

    kind = "otlp_grpc"


def copied(metrics, point):
    return MetricsData(
        [
            dataclasses.replace(
                r,
                scope_metrics=[
                    dataclasses.replace(
                        s,
                        metrics=[
                            dataclasses.replace(
                                m, data=dataclasses.replace(m.data, data_points=[point(p) for p in m.data.data_points])
                            )
                            for m in s.metrics
                        ],
                    )
                    for s in r.scope_metrics
                ],
            )
            for r in metrics.resource_metrics
        ]
    )
