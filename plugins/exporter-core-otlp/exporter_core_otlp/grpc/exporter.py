"""The exporter ``otlp_grpc``: its calls, and what their ends mean.

Sources: https://opentelemetry.io/docs/specs/otlp/, "Failures" and "OTLP/gRPC Throttling"; gRPC's documents
PROTOCOL-HTTP2.md ("Errors") and http-grpc-status-mapping.md.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from google.rpc.code_pb2 import Code
from h2.errors import ErrorCodes
from hpack import NeverIndexedHeaderTuple

from exporter_core import ExporterError
from exporter_core.authoring import RetryableError
from exporter_core.net import Client, Route, connect, gzipped, masked_line, proxy_for, tls_context
from exporter_core.otlp import Encoder
from exporter_core_otlp.answers import Answer, MalformedAnswerError, answer_in, retry_delay, status_in
from exporter_core_otlp.exporter import USER_AGENT, OtlpNetworkExporter
from exporter_core_otlp.grpc.config import OtlpGrpcConfig
from exporter_core_otlp.grpc.connection import CallEnd, GrpcConnection
from exporter_core_otlp.grpc.frames import error_name, framed, message_in

if TYPE_CHECKING:
    from hpack import HeaderTuple

    from exporter_core import Context
    from exporter_core.net import Waiter

_METHOD: Final = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
_RETRYABLE: Final = frozenset(
    {Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.ABORTED, Code.OUT_OF_RANGE, Code.UNAVAILABLE, Code.DATA_LOSS}
)
_OF_RESET: Final[dict[int, int]] = {
    ErrorCodes.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCodes.CANCEL: Code.CANCELLED,
    ErrorCodes.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCodes.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}
_OF_HTTP: Final[dict[int, int]] = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
    429: Code.UNAVAILABLE,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}
_OK: Final = 200
_READ: Final = 32768  # bytes of a body that is no message, of which only the beginning is shown
_STATUS: Final = re.compile(r"[0-9]{1,3}")


class OtlpGrpcExporter(OtlpNetworkExporter[OtlpGrpcConfig, "_GrpcClient"]):
    """Send metrics by OTLP over gRPC."""

    def __init__(self, config: OtlpGrpcConfig) -> None:
        super().__init__(config, _GrpcClient(config), Encoder())

    def send(self, context: Context, body: bytes) -> Answer:
        """Make a call, and read OTLP's response."""
        compressed = self.config.compression == "gzip"
        end = self.client.send(context, framed(gzipped(body) if compressed else body, compressed=compressed))
        try:
            encoding = end.headers.get("grpc-encoding", "identity")
            return answer_in(message_in(end.body, encoding, self.config.max_response_size))
        except MalformedAnswerError as error:
            raise ExporterError(f"{self.client.server}: OK, but the answer is not OTLP: {error}") from error


class _GrpcClient(Client[bytes, CallEnd]):
    """Makes calls of the metrics service."""

    def __init__(self, config: OtlpGrpcConfig) -> None:
        super().__init__(config, config.endpoint)
        self._endpoint = config.parsed_endpoint
        self._tls = tls_context(config.tls, "h2") if config.secure else None
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
        if config.compression == "gzip":
            headers["grpc-encoding"] = "gzip"
        # Each of them may be a secret, which must not be kept in the tables of anybody on the way.
        own = {name.lower(): value for name, value in config.header_values().items()}
        self._headers: list[tuple[str, str] | HeaderTuple] = [
            *((name, value) for name, value in headers.items() if name not in own),
            *(NeverIndexedHeaderTuple(*header) for header in own.items()),
        ]
        self._limit = config.max_response_size

    def connect(self, context: Context, waiter: Waiter) -> GrpcConnection:
        """Connect to the server, through the environment's proxy for gRPC if there is one."""
        at = self._endpoint
        # The order is that of gRPC's own libraries.
        proxy = proxy_for(at.host, at.port, "grpc", "https", "http") if at.socket_path is None else None
        if proxy is not None:
            self.keep_secret(*proxy.secrets)
        route = Route(at.host, at.port, at.socket_path, self._tls, proxy, http_2=True)
        return GrpcConnection(connect(context, waiter, route), self._headers, self._limit)

    def check(self, answer: CallEnd) -> None:
        """Raise unless the status is OK; RetryableError where OTLP has the client try again.

        For RESOURCE_EXHAUSTED that is only if the server says when.
        """
        code, details = _status(answer)
        if code == Code.OK:
            if answer.premature:
                raise ExporterError("OK, but before the server has the whole request")
            return
        details = masked_line(details, self.mask)
        name = Code.Name(code) if code in Code.values() else f"status {code}"
        message = f"{name}: {details}" if details else name
        delay = _delay(answer)
        if code in _RETRYABLE or (code == Code.RESOURCE_EXHAUSTED and delay is not None):
            raise RetryableError(message, retry_after=delay)
        raise ExporterError(message)


def _status(end: CallEnd) -> tuple[int, str]:
    """GRPC's status and the text that came with it."""
    if end.reset is not None:
        return _OF_RESET.get(end.reset, Code.INTERNAL), f"the server broke off the call ({error_name(end.reset)})"
    status = end.headers.get("grpc-status")
    if status is not None:
        details = unquote(end.headers.get("grpc-message", ""))
        return (int(status), details) if _STATUS.fullmatch(status) else (Code.UNKNOWN, f"status {status!r}: {details}")
    if end.status != _OK:
        said = end.body[:_READ].decode(errors="replace")
        return _OF_HTTP.get(end.status, Code.UNKNOWN), f"HTTP status {end.status}: {said}".rstrip(": ")
    return Code.UNKNOWN, "the answer is not gRPC: it has no status"


def _delay(end: CallEnd) -> float | None:
    """Seconds to wait by the ``RetryInfo`` that the call ended with; None if it has none that can be read."""
    details = end.headers.get("grpc-status-details-bin")
    if details is None:
        return None
    try:
        return retry_delay(status_in(base64.b64decode(details + "=" * (-len(details) % 4))))
    except ValueError:  # no base64, or no such message
        return None
