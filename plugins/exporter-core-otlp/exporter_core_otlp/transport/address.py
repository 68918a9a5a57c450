"""URLs taken apart: where to connect, what to ask there, and which credentials stood in them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass, proxy_bypass_environment  # type: ignore[attr-defined]  # not documented

from exporter_core import ExporterError

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Url:
    """An HTTP URL."""

    scheme: str
    host: str
    """A name or an address, an IPv6 one without brackets."""
    port: int
    target: str
    """Path and query."""
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    """The user and the password that stood in the URL."""

    @property
    def authorization(self) -> str | None:
        """The value of a header for the credentials."""
        return f"Basic {self._token}" if self.credentials is not None else None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What is not to be shown."""
        return () if self.credentials is None else (self.credentials[1], self._token)

    @property
    def _token(self) -> str:
        return base64.b64encode(":".join(self.credentials or ()).encode()).decode()

    @property
    def authority(self) -> str:
        """``host:port`` as a ``Host`` header has it: without the scheme's own port."""
        return self.host_port.removesuffix(f":{_PORTS[self.scheme]}")

    @property
    def host_port(self) -> str:
        """``host:port``."""
        return joined(self.host, self.port)

    @property
    def absolute(self) -> str:
        """The whole of it, as a proxy is asked for it; not to be shown."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def __str__(self) -> str:
        path, query, _ = self.target.partition("?")
        return f"{self.scheme}://{self.authority}{path}{query and '?***'}"  # keys for a service stand in queries


def parse_url(text: str) -> Url:
    """The URL taken apart. ValueError if it is none that HTTP goes to; its text quotes nothing."""
    if any(character <= " " or character == "\x7f" for character in text):
        raise ValueError("expected a URL without spaces and control characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("expected a URL such as http://host:4318/v1/metrics") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("expected a URL such as http://host:4318/v1/metrics")
    try:
        host = ascii_host(parts.hostname)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        target.encode("ascii")
    except UnicodeError:
        raise ValueError("expected a URL of ASCII characters; encode others with %") from None
    return Url(
        scheme=parts.scheme,
        host=host,
        port=_PORTS[parts.scheme] if port is None else port,
        target=target,
        credentials=None if parts.username is None else (unquote(parts.username), unquote(parts.password or "")),
    )


def ascii_host(name: str) -> str:
    """A host's name as it is looked up. UnicodeError for what cannot be one: a label too long, or empty."""
    return name.encode("idna").decode()


def joined(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def proxy_for(host: str, port: int, *kinds: str) -> Url | None:
    """The proxy that the environment names for a server, or None.

    Args:
        host: the server's name or address.
        port: its port.
        kinds: of proxies, the first one that is there: ``http`` for ``HTTP_PROXY``, and so on. For each there may also
            be a list of servers that no proxy is for, such as ``NO_GRPC_PROXY``, which goes before ``NO_PROXY``.

    Raises ExporterError for one that is not an HTTP proxy.
    """
    proxies = getproxies()
    kind = next((kind for kind in kinds if proxies.get(kind)), None)
    if kind is None:
        return None
    own = next((proxies[f"no_{kind}"] for kind in kinds if f"no_{kind}" in proxies), None)
    if _is_excepted(host, port, own, proxies.get("no", "")):
        return None
    text = proxies[kind]
    try:
        proxy = parse_url(text if "://" in text else f"http://{text}")
    except ValueError:
        proxy = None
    if proxy is None or proxy.scheme != "http":
        raise ExporterError(
            f"the environment's proxy ({kind}_proxy) is not supported; expected a URL such as http://proxy:3128"
        )
    return proxy


def _is_excepted(host: str, port: int, own: str | None, common: str) -> bool:
    """Whether no proxy is for the server: as urllib has it, and by the networks among the exceptions."""
    for name in (host, joined(host, port)):  # an IPv6 address may stand there with brackets or without
        if proxy_bypass(name) if own is None else proxy_bypass_environment(name, {"no": own}):
            return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    entries = (common if own is None else own).split(",")
    return any(address in network for network in map(_network, entries) if network is not None)


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(entry.strip(), strict=False) if "/" in entry else None
    except ValueError:
        return None
