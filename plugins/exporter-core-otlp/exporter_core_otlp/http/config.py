"""The options of ``otlp_http``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, model_validator

from exporter_core_otlp.config import NetworkConfig, Tls
from exporter_core_otlp.transport.address import parse_url


def _is_a_url(text: str) -> str:
    parse_url(text)
    return text


class OtlpHttpConfig(NetworkConfig):
    """Options of the ``otlp_http`` exporter."""

    reserved_headers: ClassVar[frozenset[str]] = frozenset(
        {"connection", "content-encoding", "content-length", "content-type", "transfer-encoding", "upgrade"}
    )

    endpoint: Annotated[str, AfterValidator(_is_a_url)] = "http://localhost:4318/v1/metrics"
    """The URL that requests are sent to, as it is: no path is added."""

    tls: Tls = Tls()
    """TLS towards the server, for an endpoint with `https://`."""

    encoding: Literal["protobuf", "json"] = "protobuf"
    """How requests are encoded."""

    @model_validator(mode="after")
    def _uses_tls(self) -> OtlpHttpConfig:
        self.refuse_files_without_tls(secure=parse_url(self.endpoint).scheme == "https")
        return self
