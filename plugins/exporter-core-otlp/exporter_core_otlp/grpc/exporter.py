"""The exporter: where calls go, with which headers, and what their ends mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exporter_core import Destination
from exporter_core_otlp.grpc.config import OtlpGrpcConfig
from exporter_core_otlp.grpc.connection import CallEnd, GrpcConnection
from exporter_core_otlp.grpc.verdict import judged
from exporter_core_otlp.network import USER_AGENT, NetworkExporter
from exporter_core_otlp.tls import tls_context
from exporter_core_otlp.transport.address import proxy_for
from exporter_core_otlp.transport.connecting import Route, connect
from exporter_core_otlp.transport.wire import Wire

if TYPE_CHECKING:
    from exporter_core import Context
    from exporter_core_otlp.answers import Answer
    from exporter_core_otlp.transport.waiting import Waiter

_METHOD: Final = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


class OtlpGrpcExporter(NetworkExporter[OtlpGrpcConfig, CallEnd]):
    """Send metrics by OTLP over gRPC."""

    def __init__(self, config: OtlpGrpcConfig) -> None:
        super().__init__(config, config.endpoint)
        self._endpoint = config.parsed_endpoint
        self._tls = tls_context(config.tls, "h2") if config.secure else None
        self._headers = self._fixed_headers()

    def destination(self) -> Destination:
        """The server that is sent to."""
        return Destination(self.server)

    def connect(self, context: Context, waiter: Waiter) -> GrpcConnection:
        """Connect to the server, through the environment's proxy for gRPC if there is one."""
        at = self._endpoint
        # The order is that of gRPC's own libraries.
        proxy = proxy_for(at.host, at.port, "grpc", "https", "http") if at.socket_path is None else None
        self.keep_secret(proxy)
        route = Route(at.host, at.port, at.socket_path, self._tls, proxy)
        wire = Wire(connect(context, waiter, route), waiter)
        return GrpcConnection(wire, self._headers, compressed=self.config.compression == "gzip")

    def judge(self, answer: CallEnd) -> Answer:
        """As OTLP has it."""
        return judged(answer, self.server, self.mask)

    def _fixed_headers(self) -> list[tuple[str, str]]:
        """What every call has; options go before what is only usual."""
        headers = {
            ":method": "POST",
            ":scheme": "http" if self._tls is None else "https",
            ":path": _METHOD,
            ":authority": self._endpoint.authority,
            "te": "trailers",
            "content-type": "application/grpc",
            "grpc-accept-encoding": "identity,gzip",
            "user-agent": USER_AGENT,
        }
        if self.config.compression == "gzip":
            headers["grpc-encoding"] = "gzip"
        headers |= {name.lower(): value for name, value in self.config.header_values().items()}
        return list(headers.items())
