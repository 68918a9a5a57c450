"""URLs taken apart: where to connect, what to ask there, and which credentials stood in them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from exporter_core import ExporterError

__all__ = ["Url", "parse_url", "proxy_for"]

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
        return self.host_port if self.port != _PORTS[self.scheme] else self._bracketed

    @property
    def host_port(self) -> str:
        """``host:port``."""
        return f"{self._bracketed}:{self.port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

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


def proxy_for(url: Url) -> Url | None:
    """The proxy that the environment names for the URL (``HTTP_PROXY``, ``HTTPS_PROXY``, ``NO_PROXY``), or None.

    Raises ExporterError for one that is not an HTTP proxy.
    """
    proxies = getproxies()
    text = proxies.get(url.scheme) or proxies.get("all")
    if not text or proxy_bypass(url.host_port):
        return None
    try:
        proxy = parse_url(text if "://" in text else f"http://{text}")
    except ValueError:
        proxy = None
    if proxy is None or proxy.scheme != "http":
        raise ExporterError(
            f"the environment's proxy for {url.scheme}:// is not supported; expected a URL such as http://proxy:3128"
        )
    return proxy
