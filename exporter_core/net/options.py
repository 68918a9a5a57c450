"""Options that exporters over a network have in common, to be mixed into an exporter's own model.

Names, units and defaults are those of OpenTelemetry's configuration schema where it has them; null is the default.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from exporter_core.authoring.options import Milliseconds, NullIsDefault
from exporter_core.authoring.retry import RetryOptions
from exporter_core.exporter import ExporterConfig
from exporter_core.net.address import basic_authorization, parse_proxy, parse_url
from exporter_core.net.messages import MAX_ANSWER_BYTES
from exporter_core.validation import stated

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FILES: Final = ("ca_file", "key_file", "cert_file")
_NOT_IN_A_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def _is_url(text: str) -> str:
    try:
        parse_url(text)
    except ValueError as error:
        raise stated(str(error)) from None  # it quotes nothing
    return text


def _one_line(value: str) -> str:
    if _NOT_IN_A_VALUE.search(value):
        raise stated("expected the value of a header on one line")
    return value.strip()


def _secret_line(value: SecretStr) -> SecretStr:
    return SecretStr(_one_line(value.get_secret_value()))


PemFile = Annotated[Path, AfterValidator(Path.expanduser)]
HttpUrl = Annotated[str, AfterValidator(_is_url)]
"""A URL with ``http://`` or ``https://``. User and password may stand in it: they are sent, and never shown."""
SecretLine = Annotated[SecretStr, AfterValidator(_secret_line)]
"""A secret that can be the value of a header."""


class TlsOptions(NullIsDefault):
    """TLS towards the server."""

    ca_file: PemFile | None = None
    """Certificates (PEM) that the server's is checked against, instead of the system's."""

    key_file: PemFile | None = None
    """The client's private key (PEM), for mutual TLS. Needs `cert_file`."""

    cert_file: PemFile | None = None
    """The client's certificate (PEM), for mutual TLS. Needs `key_file`."""

    @model_validator(mode="after")
    def _both_or_none(self) -> TlsOptions:
        if (self.key_file is None) != (self.cert_file is None):
            raise stated("key_file and cert_file belong together: give both, or neither")
        return self


class HeaderEntry(ExporterConfig, use_attribute_docstrings=False):
    """One header."""

    name: Annotated[str, Field(examples=["api-key"])]
    """The header's name."""

    value: SecretLine | None
    """Its value; with null, the entry is ignored."""

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise stated("expected the name of a header, such as api-key")
        return name


class ClientOptions(NullIsDefault):
    """Options of every exporter that sends requests to a server."""

    reserved_headers: ClassVar[frozenset[str]] = frozenset()
    """The names, in lower case, of headers that the exporter itself sets."""

    endpoint: str
    """The server's address."""

    tls: TlsOptions = TlsOptions.model_construct()
    """TLS towards the server."""

    headers: Annotated[list[HeaderEntry], Field(min_length=1)] = Field(default=[])
    """Headers to send with each request; they override those of `headers_list`."""

    headers_list: SecretStr | None = None
    """Headers as one text, `name=value,name=value`, values percent-encoded, as in `OTEL_EXPORTER_OTLP_HEADERS`."""

    timeout: Milliseconds = 10_000
    """Milliseconds that one export may take with all its attempts, besides the reader's own timeout; 0 for no limit."""

    retry: RetryOptions = RetryOptions.model_construct()
    """Retries of failed requests."""

    max_response_size: Annotated[int, Field(strict=True, ge=1)] = MAX_ANSWER_BYTES
    """Bytes of an answer that are received; the request of a longer one has failed."""

    @field_validator("headers")
    @classmethod
    def _are_free(cls, entries: list[HeaderEntry]) -> list[HeaderEntry]:
        cls._refuse_reserved(entry.name for entry in entries)
        return entries

    @field_validator("headers_list")
    @classmethod
    def _lists_headers(cls, text: SecretStr | None) -> SecretStr | None:
        if text is not None:
            cls._refuse_reserved(_listed_headers(text.get_secret_value()))
        return text

    @classmethod
    def _refuse_reserved(cls, names: Iterable[str]) -> None:
        for position, name in enumerate(names, 1):
            if name.lower() in cls.reserved_headers:
                reserved = ", ".join(sorted(cls.reserved_headers))
                raise stated(f"entry {position} is one that the exporter sets itself ({reserved}); remove it")

    def config_warnings(self) -> Mapping[str, str]:
        """Warn about certificate files that do not exist."""
        files = {name: getattr(self.tls, name) for name in _FILES}
        return {
            f"tls.{name}": f"the file {path} does not exist: create it, or change the path"
            for name, path in files.items()
            if path is not None and not path.exists()
        }

    def header_values(self) -> dict[str, str]:
        """Return the headers to send: names as configured, each once whatever its case, `headers` first."""
        listed = _listed_headers(self.headers_list.get_secret_value()) if self.headers_list is not None else {}
        given = {entry.name: entry.value.get_secret_value() for entry in self.headers if entry.value is not None}
        unique = {name.lower(): (name, value) for name, value in (*listed.items(), *given.items())}
        return dict(unique.values())

    def refuse_files_without_tls(self, *, secure: bool) -> None:
        """Raise ValueError for certificate files that an endpoint without TLS would ignore."""
        files = [name for name in _FILES if getattr(self.tls, name) is not None]
        if files and not secure:
            raise stated(f"tls.{files[0]} needs an endpoint with TLS")

    @property
    def timeout_seconds(self) -> float | None:
        """The option `timeout` in seconds; None for no limit."""
        return self.timeout / 1000 if self.timeout else None


class HttpOptions(ClientOptions):
    """Options of an exporter that sends HTTP requests; a subclass may give ``endpoint`` a default."""

    reserved_headers: ClassVar[frozenset[str]] = frozenset(
        {"connection", "content-encoding", "content-length", "content-type", "transfer-encoding", "upgrade"}
    )

    endpoint: HttpUrl
    """The URL that requests are sent to, as it is: no path is added."""

    tls: TlsOptions = TlsOptions.model_construct()
    """TLS towards the server, for an endpoint with `https://`."""

    @model_validator(mode="after")
    def _uses_tls(self) -> HttpOptions:
        self.refuse_files_without_tls(secure=parse_url(self.endpoint).scheme == "https")
        return self


class CompressionOptions(NullIsDefault):
    """Requests compressed by the client, for exporters whose backend takes gzip."""

    compression: Literal["none", "gzip"] = "none"
    """Compression of requests."""


class BasicAuth(ExporterConfig, use_attribute_docstrings=False):
    """A user and a password."""

    username: str
    """The user."""

    password: SecretStr
    """The password."""


class AuthOptions(NullIsDefault):
    """Credentials of their own, for backends that people reach with a password or a token."""

    basic_auth: BasicAuth | None = None
    """User and password, sent as `Authorization: Basic`."""

    bearer_token: SecretLine | None = None
    """A token, sent as `Authorization: Bearer`."""

    @model_validator(mode="after")
    def _one_of_them(self) -> AuthOptions:
        if self.basic_auth is not None and self.bearer_token is not None:
            raise stated("give basic_auth or bearer_token, not both")
        return self

    @property
    def authorization(self) -> str | None:
        """The value of the ``Authorization`` header, which is a secret; None without credentials."""
        if self.basic_auth is not None:
            return basic_authorization(self.basic_auth.username, self.basic_auth.password.get_secret_value())
        return f"Bearer {self.bearer_token.get_secret_value()}" if self.bearer_token is not None else None


class ProxyOptions(NullIsDefault):
    """A proxy of the exporter's own, instead of the environment's."""

    proxy: SecretStr | None = None
    """URL of the HTTP proxy, such as `http://user:password@proxy:3128`, instead of the one that the environment names
    (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`)."""

    @field_validator("proxy")
    @classmethod
    def _is_a_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is not None:
            try:
                parse_proxy(proxy.get_secret_value())
            except ValueError as error:
                raise stated(str(error)) from None  # it quotes nothing
        return proxy


def _listed_headers(text: str) -> dict[str, str]:
    """Names and values of a list of headers. ValueError for what is none; it quotes nothing of the text."""
    headers: dict[str, str] = {}
    for position, entry in enumerate(text.split(","), 1):
        if not entry.strip():
            continue
        name, equals, value = entry.partition("=")
        name = unquote(name.strip())
        if not equals or not _NAME.fullmatch(name):
            raise stated(f"expected name=value,name=value, values percent-encoded, which entry {position} is not")
        headers[name] = _one_line(unquote(value))
    return headers
