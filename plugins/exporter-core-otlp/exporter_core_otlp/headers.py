"""Headers as options: one by one, or as a text in the form of ``OTEL_EXPORTER_OTLP_HEADERS``."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from pydantic import SecretStr, field_validator

from exporter_core import ExporterConfig

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_A_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class HeaderEntry(ExporterConfig):
    """One header."""

    name: str
    """The header's name."""

    value: SecretStr | None
    """Its value; with null, the entry is ignored."""

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("expected the name of a header, such as api-key")
        return name

    @field_validator("value")
    @classmethod
    def _is_one_line(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(_one_line(value.get_secret_value()))


def listed_headers(text: str) -> dict[str, str]:
    """Names and values of a list of headers. ValueError for what is none; it quotes nothing of the text."""
    headers: dict[str, str] = {}
    for position, entry in enumerate(text.split(","), 1):
        if not entry.strip():
            continue
        name, equals, value = entry.partition("=")
        name = unquote(name.strip())
        if not equals or not _NAME.fullmatch(name):
            raise ValueError(f"expected name=value,name=value, values percent-encoded, which entry {position} is not")
        headers[name] = _one_line(unquote(value))
    return headers


def _one_line(value: str) -> str:
    if _NOT_IN_A_VALUE.search(value):
        raise ValueError("expected the value of a header on one line")
    return value.strip()
