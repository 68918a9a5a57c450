"""The options of ``otlp_grpc``, and the forms that the endpoint of a gRPC server has in OpenTelemetry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from exporter_core.authoring import stated
from exporter_core.net import TlsOptions, ascii_host, join_host_port
from exporter_core_otlp.config import NetworkConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

_PORTS: Final = {"http": 80, "https": 443}
_EXPECTED: Final = "expected http://host:4317, https://host:4317, host:4317 or unix:///path"
_KEY: Final = re.compile(r"(?!grpc-)[0-9a-z_.-]+(?<!-bin)")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server."""

    host: str
    """A name or an address, an IPv6 one without brackets; ``localhost`` for a socket in the file system."""
    port: int
    socket_path: str | None
    """The path of the socket, for one in the file system."""
    tls: bool | None
    """Use TLS, by the scheme; None where there is no scheme, so that ``tls.insecure`` decides."""

    @property
    def authority(self) -> str:
        """The server's name in a call."""
        return self.host if self.socket_path is not None else join_host_port(self.host, self.port)


def parse_endpoint(text: str) -> Endpoint:
    """Take an endpoint apart. Raises ValueError for what is none.

    The port may be left out after a scheme, and is then the scheme's (80, 443), as in any URL.
    """
    if any(character <= " " or character == "\x7f" for character in text):
        raise stated("expected an endpoint without spaces and control characters")
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path or (text.startswith("unix://") and not path.startswith("/")):
            raise stated(_EXPECTED)
        return Endpoint("localhost", 0, path, None)
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        port = parts.port
    except ValueError:
        raise stated(_EXPECTED) from None
    if parts.scheme not in {"", *_PORTS} or not parts.hostname:
        raise stated(_EXPECTED)
    if parts.username is not None:
        raise stated(f"{_EXPECTED}; user and password go into headers: gRPC has no place for them in an address")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise stated(f"{_EXPECTED}, without a path: gRPC knows the service by its name")
    try:
        host = ascii_host(parts.hostname)
    except UnicodeError:
        raise stated(f"{_EXPECTED}: the host name is not valid") from None
    if port is None and not parts.scheme:
        raise stated(f"{_EXPECTED}: the port is missing")
    tls = parts.scheme == "https" if parts.scheme else None
    return Endpoint(host, _PORTS[parts.scheme] if port is None else port, None, tls)


def _is_an_endpoint(text: str) -> str:
    parse_endpoint(text)
    return text


class GrpcTlsOptions(TlsOptions):
    """TLS towards a server whose endpoint may say nothing about it."""

    insecure: Annotated[bool, Field(strict=True)] = False
    """Send without TLS where the endpoint has neither `http://` nor `https://`."""


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

    tls: GrpcTlsOptions = GrpcTlsOptions.model_construct()  # pyright: ignore[reportIncompatibleVariableOverride] # options are frozen
    """TLS, for an endpoint that has it."""

    @classmethod
    def _refuse_reserved(cls, names: Iterable[str]) -> None:
        names = list(names)
        super()._refuse_reserved(names)
        for position, name in enumerate(names, 1):
            if not _KEY.fullmatch(name.lower()):
                raise stated(
                    f"entry {position} has a name that gRPC cannot send; expected letters, digits, -, _ and ., without "
                    "grpc- in front and -bin at the end"
                )

    @model_validator(mode="after")
    def _fits_grpc(self) -> OtlpGrpcConfig:
        if not all(value.isascii() and value.isprintable() for value in self.header_values().values()):
            raise stated("a header has a value that gRPC cannot send; expected printable ASCII characters")
        self.refuse_files_without_tls(secure=self.secure)
        return self

    @property
    def parsed_endpoint(self) -> Endpoint:
        """The endpoint, taken apart."""
        return parse_endpoint(self.endpoint)

    @property
    def secure(self) -> bool:
        """True if TLS is used."""
        tls = self.parsed_endpoint.tls
        return not self.tls.insecure if tls is None else tls
