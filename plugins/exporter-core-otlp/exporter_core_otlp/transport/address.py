"""URLs taken apart: where to connect, what to ask there, and which credentials stood in them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass, proxy_bypass_environment  # type: ignore[attr-defined]  # not documented

from exporter_core import ExporterError

__all__ = ["Url", "joined", "parse_url", "proxy_for"]

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
    authorization: str | None = field(default=None, repr=False)
    """The value of a header for the user and password that stood in the URL."""

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
        host = parts.hostname.encode("ascii" if parts.hostname.isascii() else "idna").decode()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        target.encode("ascii")
    except UnicodeError:
        raise ValueError("expected a URL of ASCII characters; encode others with %") from None
    return Url(
        scheme=parts.scheme,
        host=host,
        port=_PORTS[parts.scheme] if port is None else port,
        target=target,
        authorization=_basic(parts.username, parts.password),
    )


def _basic(user: str | None, password: str | None) -> str | None:
    if user is None:
        return None
    plain = f"{unquote(user)}:{unquote(password or '')}"
    return f"Basic {base64.b64encode(plain.encode()).decode()}"


def joined(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def proxy_for(host_port: str, *kinds: str) -> Url | None:
    """The proxy that the environment names for a server, or None.

    Args:
        host_port: the server.
        kinds: of proxies, the first one that is there: ``http`` for ``HTTP_PROXY``, and so on. For each there may also
            be a list of servers that no proxy is for, such as ``NO_GRPC_PROXY``, which goes before ``NO_PROXY``.

    Raises ExporterError for one that is not an HTTP proxy.
    """
    proxies = getproxies()
    kind = next((kind for kind in kinds if proxies.get(kind)), None)
    if kind is None:
        return None
    own = next((proxies[f"no_{kind}"] for kind in kinds if f"no_{kind}" in proxies), None)
    if proxy_bypass(host_port) if own is None else proxy_bypass_environment(host_port, {"no": own}):
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
