"""URLs taken apart, and the proxy that the environment names for a server."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass, proxy_bypass_environment  # type: ignore[attr-defined]  # not documented

from exporter_core.errors import ExporterError

_PORTS: Final = {"http": 80, "https": 443}
_EXPECTED: Final = "expected a URL such as http://host:8080/path"


@dataclass(frozen=True, slots=True)
class Url:
    """An HTTP URL. As text it has no credentials."""

    scheme: str
    host: str
    """A name or an address, an IPv6 one without brackets."""
    port: int
    target: str
    """Path and query."""
    authorization: str | None = field(default=None, repr=False)
    """The value of a header for the user and the password that stood in the URL."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Texts that must not be shown: the password, and the header's token."""

    @property
    def authority(self) -> str:
        """``host:port`` as a ``Host`` header has it: without the scheme's own port."""
        return self.host_port.removesuffix(f":{_PORTS[self.scheme]}")

    @property
    def host_port(self) -> str:
        """``host:port``."""
        return join_host_port(self.host, self.port)

    @property
    def absolute(self) -> str:
        """The whole URL, for a request to a proxy; not to be shown."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def __str__(self) -> str:
        path, query, _ = self.target.partition("?")
        return f"{self.scheme}://{self.authority}{path}{query and '?***'}"  # keys for a service stand in queries


def parse_url(text: str) -> Url:
    """Take an HTTP URL apart. Raises ValueError for anything else; its message quotes nothing."""
    if any(character <= " " or character == "\x7f" for character in text):
        raise ValueError("expected a URL without spaces and control characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(_EXPECTED) from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(_EXPECTED)
    try:
        host = ascii_host(parts.hostname)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        target.encode("ascii")
    except UnicodeError:
        raise ValueError("expected a URL of ASCII characters; encode others with %") from None
    authorization: str | None = None
    secrets: tuple[str, ...] = ()
    if parts.username is not None:
        password = unquote(parts.password or "")
        authorization = basic_authorization(unquote(parts.username), password)
        secrets = (password, authorization.partition(" ")[2])
    return Url(parts.scheme, host, _PORTS[parts.scheme] if port is None else port, target, authorization, secrets)


def parse_proxy(text: str) -> Url:
    """Take a proxy's URL apart, whose ``http://`` may be missing. Raises ValueError for what is no HTTP proxy."""
    try:
        proxy = parse_url(text if "://" in text else f"http://{text}")
    except ValueError:
        proxy = None
    if proxy is None or proxy.scheme != "http":
        raise ValueError("expected the URL of an HTTP proxy such as http://proxy:3128")
    return proxy


def basic_authorization(user: str, password: str) -> str:
    """Return the value of an ``Authorization`` header for a user and a password."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def ascii_host(name: str) -> str:
    """Return a host's name as it is looked up. Raises UnicodeError for a label that is too long or empty."""
    return name.encode("idna").decode()


def join_host_port(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def proxy_for(host: str, port: int, *kinds: str) -> Url | None:
    """Return the proxy that the environment names for a server, or None.

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
    try:
        return parse_proxy(proxies[kind])
    except ValueError as error:
        raise ExporterError(f"the environment's proxy ({kind}_proxy) is not supported; {error}") from None


def _is_excepted(host: str, port: int, own: str | None, common: str) -> bool:
    """Return True if no proxy is for the server: as urllib has it, and by the networks among the exceptions."""
    for name in (host, join_host_port(host, port)):  # an IPv6 address may stand there with brackets or without
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
