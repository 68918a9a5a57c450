"""Requests compressed by gzip, and what is read from answers: headers by name, and text fit for a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from isal import igzip_lib

from exporter_core.errors import ExporterError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter_core.masking import Masker

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""Bytes of an answer that are received, unless an option says otherwise."""
RETRYABLE_STATUSES: Final = frozenset({429, 502, 503, 504})
"""HTTP's statuses of a server or proxy that may take the request later, unless a policy says otherwise."""
_MAX_SHOWN: Final = 500
_MAX_SEARCHED: Final = 4096  # characters that are searched for secrets: the host's other threads wait meanwhile
_MAX_DECODED: Final = 32768  # bytes: enough for so many characters, and for the masker to see what is across the cut


def gzipped(data: bytes) -> bytes:
    """Compress by ISA-L's gzip, at a level that was chosen by measurement (CONTRIBUTING.md)."""
    return igzip_lib.compress(data, level=1, flag=igzip_lib.COMP_GZIP)


def answer_too_long(limit: int) -> ExporterError:
    """Return the error of an answer that is longer than is received."""
    return ExporterError(f"the answer is longer than {limit} bytes (max_response_size)")


def first_of_each(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by name, as text; of several with one name, the first."""
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return found


def on_one_line(text: str, max_characters: int = _MAX_SHOWN) -> str:
    """Return what a server says for a message: printable, on one line, not too long. Mask secrets first."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= max_characters else f"{line[:max_characters]}..."


def masked_line(said: str | bytes | bytearray, mask: Masker) -> str:
    """Return what a server says, of whatever length, for a message: secrets masked, on one line, not too long."""
    text = said if isinstance(said, str) else said[:_MAX_DECODED].decode(errors="replace")
    return on_one_line(mask(text, _MAX_SEARCHED))
