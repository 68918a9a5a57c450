"""The exporter ``otlp_http``: OTLP over HTTP/1.1, protobuf or JSON.

Source: https://opentelemetry.io/docs/specs/otlp/, "OTLP/HTTP Response".
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from exporter_core import ExporterError
from exporter_core.net import RETRYABLE_STATUSES, HttpAnswer, HttpClient, HttpOptions, HttpUrl, masked_line
from exporter_core.otlp import Encoder, JsonEncoder
from exporter_core_otlp.answers import Answer, MalformedAnswerError, answer_in, retry_delay, status_in
from exporter_core_otlp.config import NetworkConfig
from exporter_core_otlp.environment import network_options
from exporter_core_otlp.exporter import USER_AGENT, OtlpNetworkExporter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter_core import Context

_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_OK: Final = 200
_NOT_FOUND: Final = 404
_PATH: Final = "/v1/metrics"
_PATH_HINT: Final = f"the URL does not end in {_PATH}, where OTLP servers take metrics; no path is added to it"


class OtlpHttpConfig(NetworkConfig, HttpOptions):
    """Options of the ``otlp_http`` exporter."""

    endpoint: HttpUrl = "http://localhost:4318/v1/metrics"
    """The URL that requests are sent to, as it is: no path is added."""

    encoding: Literal["protobuf", "json"] = "protobuf"
    """Encoding of requests."""

    @classmethod
    def environment_options(cls, environ: Mapping[str, str]) -> Mapping[str, Any]:  # Any: options
        """Return the options that OpenTelemetry's variables give; the protocol says the encoding."""
        options = network_options(environ, path=_PATH)
        options.get("tls", {}).pop("insecure", None)  # the endpoint's scheme says it
        name = "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"
        protocol = environ.get(name, "").strip() or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip()
        return {**options, **({"encoding": "json"} if protocol == "http/json" else {})}

    def config_warnings(self) -> Mapping[str, str]:
        """Warn about a URL without the path of OTLP for metrics, and about files that do not exist."""
        return {**super().config_warnings(), **({"endpoint": _PATH_HINT} if self.lacks_path else {})}

    @property
    def lacks_path(self) -> bool:
        """True if the endpoint's path is not the one that OTLP servers have for metrics."""
        return not urlsplit(self.endpoint).path.rstrip("/").endswith(_PATH)


class OtlpHttpExporter(OtlpNetworkExporter[OtlpHttpConfig, HttpClient]):
    """Send metrics by OTLP over HTTP."""

    def __init__(self, config: OtlpHttpConfig) -> None:
        client = HttpClient(config, user_agent=USER_AGENT, policy=partial(_raise_for_answer, config=config))
        super().__init__(config, client, JsonEncoder() if config.encoding == "json" else Encoder())
        self._content_type = _JSON if config.encoding == "json" else _PROTOBUF

    def send(self, context: Context, body: bytes) -> Answer:
        """Post a request, and read OTLP's response."""
        answer = self.client.post(context, body, content_type=self._content_type)
        said = f"{self.client.server}: {answer.status}, but the answer is not OTLP"
        kind = _content_type(answer)
        if answer.body and kind not in {"", _PROTOBUF, _JSON}:
            raise ExporterError(f"{said}: it has the type {masked_line(kind, self.client.mask)}")
        try:
            return answer_in(answer.body, json=kind == _JSON or (not kind and answer.body.startswith(b"{")))
        except MalformedAnswerError as error:
            raise ExporterError(f"{said}: {error}") from error


def _raise_for_answer(answer: HttpAnswer, *, config: OtlpHttpConfig) -> None:
    """Raise for a request that the server did not take, with the words and the delay of the status in the body."""
    if answer.status == _OK:
        return
    if answer.ok:
        raise ExporterError(f"{answer.failure()}; an OTLP server answers {_OK} when it has taken the points")
    text, delay = None, None
    kind = _content_type(answer)
    if kind in {_PROTOBUF, _JSON}:
        try:
            status = status_in(answer.body, json=kind == _JSON)
        except MalformedAnswerError:
            pass  # shown as it is
        else:
            if status.message or status.details:
                text, delay = status.message, retry_delay(status)
    failure = answer.failure(text, retryable=answer.status in RETRYABLE_STATUSES, retry_after=delay)
    if answer.status == _NOT_FOUND and config.lacks_path:
        failure = ExporterError(f"{failure}; endpoint: {_PATH_HINT}")
    raise failure


def _content_type(answer: HttpAnswer) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()
