"""The options of ``otlp_grpc``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import AfterValidator, model_validator

from exporter_core_otlp.config import NetworkConfig, TlsChoice
from exporter_core_otlp.grpc.endpoint import Endpoint, parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEY: Final = re.compile(r"(?!grpc-)[0-9a-z_.-]+(?<!-bin)")


def _is_an_endpoint(text: str) -> str:
    parse_endpoint(text)
    return text


class OtlpGrpcConfig(NetworkConfig):
    """Options of the ``otlp_grpc`` exporter."""

    reserved_headers: ClassVar[frozenset[str]] = frozenset(
        {
            "connection",
            "content-length",
            "content-type",
            "host",
            "keep-alive",
            "proxy-connection",
            "te",
            "transfer-encoding",
            "upgrade",
        }
    )

    endpoint: Annotated[str, AfterValidator(_is_an_endpoint)] = "http://localhost:4317"
    """The server: `http://host:port` (without TLS), `https://host:port`, or without a scheme `host:port` and
    `unix:///path`, with TLS unless `tls.insecure` says otherwise."""

    tls: TlsChoice = TlsChoice()  # pyright: ignore[reportIncompatibleVariableOverride] # options are frozen
    """TLS, for an endpoint that has it."""

    @classmethod
    def _refuse_reserved(cls, names: Iterable[str]) -> None:
        names = list(names)
        super()._refuse_reserved(names)
        for position, name in enumerate(names, 1):
            if not _KEY.fullmatch(name.lower()):
                raise ValueError(
                    f"entry {position} has a name that gRPC cannot send; expected letters, digits, -, _ and ., without "
                    "grpc- in front and -bin at the end"
                )

    @model_validator(mode="after")
    def _fits_grpc(self) -> OtlpGrpcConfig:
        if not all(value.isascii() and value.isprintable() for value in self.header_values().values()):
            raise ValueError("a header has a value that gRPC cannot send; expected printable ASCII characters")
        self.refuse_files_without_tls(secure=self.secure)
        return self

    @property
    def parsed_endpoint(self) -> Endpoint:
        """The endpoint, taken apart."""
        return parse_endpoint(self.endpoint)

    @property
    def secure(self) -> bool:
        """Whether TLS is used."""
        tls = self.parsed_endpoint.tls
        return not self.tls.insecure if tls is None else tls
