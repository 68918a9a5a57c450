"""The forms that the endpoint of a gRPC server has in OpenTelemetry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from exporter_core_otlp.transport.address import ascii_host, joined

_PORTS: Final = {"http": 80, "https": 443}
_EXPECTED: Final = "expected http://host:4317, https://host:4317, host:4317 or unix:///path"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server."""

    host: str
    """A name or an address, an IPv6 one without brackets; ``localhost`` for a socket in the file system."""
    port: int
    socket_path: str | None
    """Where the socket is, for one in the file system."""
    tls: bool | None
    """Whether to use TLS, as the scheme says; None where there is no scheme, so that ``tls.insecure`` decides."""

    @property
    def authority(self) -> str:
        """What the server is called in a call."""
        return self.host if self.socket_path is not None else joined(self.host, self.port)


def parse_endpoint(text: str) -> Endpoint:
    """The endpoint taken apart. ValueError if it is none; its text quotes nothing.

    Without a port, that of the scheme is meant (80, 443), as for any URL.
    """
    if any(character <= " " or character == "\x7f" for character in text):
        raise ValueError("expected an endpoint without spaces and control characters")
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path or (text.startswith("unix://") and not path.startswith("/")):
            raise ValueError(_EXPECTED)
        return Endpoint("localhost", 0, path, None)
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        port = parts.port
    except ValueError:
        raise ValueError(_EXPECTED) from None
    if parts.scheme not in {"", *_PORTS} or not parts.hostname:
        raise ValueError(_EXPECTED)
    if parts.username is not None:
        raise ValueError(f"{_EXPECTED}; user and password go into headers: gRPC has no place for them in an address")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{_EXPECTED}, without a path: gRPC knows the service by its name")
    try:
        host = ascii_host(parts.hostname)
    except UnicodeError:
        raise ValueError(f"{_EXPECTED}: the host is no name of one") from None
    if port is None and not parts.scheme:
        raise ValueError(f"{_EXPECTED}: the port is missing")
    return Endpoint(
        host=host,
        port=_PORTS[parts.scheme] if port is None else port,
        socket_path=None,
        tls=parts.scheme == "https" if parts.scheme else None,
    )
