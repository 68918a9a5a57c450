"""The options that the OTLP exporters share: names, units and defaults as in OpenTelemetry's configuration schema.

What the schema calls null, or leaves out, is the default here. Options that it does not have say so.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from exporter_core import ExporterConfig
from exporter_core.authoring import PreferenceOptions
from exporter_core_otlp.headers import HeaderEntry, listed_headers

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST: Final = 9_223_372_036_000  # milliseconds that a thread can wait at most
Milliseconds = Annotated[int, Field(strict=True, ge=0, le=_LONGEST)]
Interval = Annotated[int, Field(strict=True, gt=0, le=_LONGEST)]


def _or_null(schema: dict[str, Any]) -> None:  # Any: JSON
    """Let every optional key be null in the JSON Schema, as the official schema does."""
    for name, option in schema.get("properties", {}).items():
        if name in schema.get("required", ()) or {"type": "null"} in option.get("anyOf", ()):
            continue
        kept = {key: option.pop(key) for key in ("description", "default", "title") if key in option}
        schema["properties"][name] = {"anyOf": [*option.get("anyOf", [option]), {"type": "null"}], **kept}


class _NullIsDefault(ExporterConfig):
    """A model in which a key with the value null counts as left out."""

    model_config: ClassVar[ConfigDict] = ConfigDict(json_schema_extra=_or_null)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:  # Any: what is to be validated
        if not isinstance(given, dict):
            return given
        required = {name for name, field in cls.model_fields.items() if field.is_required()}
        return {name: value for name, value in given.items() if value is not None or name in required}


class OtlpConfig(PreferenceOptions, _NullIsDefault):
    """The options of every OTLP exporter."""


def _expanded(path: Path) -> Path:
    return path.expanduser()


PemFile = Annotated[Path, AfterValidator(_expanded)]


class Tls(_NullIsDefault):
    """TLS towards the server."""

    ca_file: PemFile | None = None
    """Certificates (PEM) that the server's is checked against, instead of the system's."""

    key_file: PemFile | None = None
    """The client's private key (PEM), for mutual TLS. Needs `cert_file`."""

    cert_file: PemFile | None = None
    """The client's certificate (PEM), for mutual TLS. Needs `key_file`."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Tls:
        if (self.key_file is None) != (self.cert_file is None):
            raise ValueError("key_file and cert_file belong together: give both, or neither")
        return self


class TlsChoice(Tls):
    """TLS towards a server whose endpoint may say nothing about it."""

    insecure: bool = False
    """Send without TLS where the endpoint has neither `http://` nor `https://`."""


class RetryConfig(_NullIsDefault):
    """When a request that failed for now is sent again: exponential back-off with jitter."""

    enabled: bool = True
    """Whether to send again at all."""

    initial_interval: Interval = 1000
    """Milliseconds before the second attempt, give or take half; each further wait is half as long again. A server
    that asks for a longer wait gets it."""

    max_interval: Interval = 5000
    """Milliseconds that the wait grows to."""

    max_elapsed_time: Milliseconds = 60_000
    """Milliseconds after which there is no further attempt; 0 for no such limit."""


class _NetworkOptions(_NullIsDefault):
    """What the exporters that send to a server have beside the options of every exporter."""

    reserved_headers: ClassVar[frozenset[str]] = frozenset()
    """The names, in lower case, of headers that the exporter itself sets."""

    endpoint: str = ""
    """Where the server is."""

    tls: Tls = Tls()
    """TLS towards the server."""

    headers: Annotated[list[HeaderEntry], Field(min_length=1)] = Field(default=[])
    """Headers to send with each request; they go before those of `headers_list`."""

    headers_list: SecretStr | None = None
    """Headers as one text, `name=value,name=value`, values percent-encoded, as in `OTEL_EXPORTER_OTLP_HEADERS`."""

    compression: Literal["none", "gzip"] = "none"
    """How requests are compressed."""

    timeout: Milliseconds = 10_000
    """Milliseconds that one export may take with all its attempts, besides the reader's own timeout; 0 for no limit."""

    retry: RetryConfig = RetryConfig()
    """When failed requests are sent again. Not in OpenTelemetry's schema."""

    max_request_bytes: Annotated[int, Field(strict=True, ge=1024)] = 4_000_000
    """Bytes of one request before compression; a batch that takes more is sent as several. Servers commonly refuse
    more than 4 MiB (gRPC). Not in OpenTelemetry's schema."""

    max_request_points: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Points in one request; a batch that has more is sent as several. Not in OpenTelemetry's schema."""

    @field_validator("headers")
    @classmethod
    def _are_free(cls, entries: list[HeaderEntry]) -> list[HeaderEntry]:
        cls._refuse_reserved(entry.name for entry in entries)
        return entries

    @field_validator("headers_list")
    @classmethod
    def _lists_headers(cls, text: SecretStr | None) -> SecretStr | None:
        if text is not None:
            cls._refuse_reserved(listed_headers(text.get_secret_value()))
        return text

    @classmethod
    def _refuse_reserved(cls, names: Iterable[str]) -> None:
        for position, name in enumerate(names, 1):
            if name.lower() in cls.reserved_headers:
                reserved = ", ".join(sorted(cls.reserved_headers))
                raise ValueError(f"entry {position} is one that the exporter sets itself ({reserved}); remove it")

    def header_values(self) -> dict[str, str]:
        """What is to be sent: names as configured, each once whatever its case, `headers` before `headers_list`."""
        listed = listed_headers(self.headers_list.get_secret_value()) if self.headers_list is not None else {}
        given = {entry.name: entry.value.get_secret_value() for entry in self.headers if entry.value is not None}
        unique = {name.lower(): (name, value) for name, value in (*listed.items(), *given.items())}
        return dict(unique.values())

    def refuse_files_without_tls(self, *, secure: bool) -> None:
        """Raise ValueError for files that an endpoint without TLS has no use for."""
        files = [name for name in ("ca_file", "key_file", "cert_file") if getattr(self.tls, name) is not None]
        if files and not secure:
            raise ValueError(f"tls.{files[0]} is of no use: the endpoint is without TLS")

    @property
    def timeout_seconds(self) -> float | None:
        """The option `timeout` in seconds; None for no limit."""
        return self.timeout / 1000 if self.timeout else None


class NetworkConfig(OtlpConfig, _NetworkOptions):
    """The options of the OTLP exporters that send to a server."""
