"""Keeps secrets out of what people and files get to see: errors, log lines, reports.

A :class:`Masker` replaces known secrets, in the forms that libraries print them in, and whatever looks like a
credential by itself: the user part of a URL, ``password=...``, ``Authorization: ...``.
"""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote, quote_plus, unquote

from exporter_core.errors import ExporterCoreError, MaskedCauseError
from exporter_core.untrusted import ErrorSnapshot, is_a, message_of, name_of_type

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = [
    "MASK",
    "Masker",
    "cause_of",
    "describe",
    "masker_for",
    "secrets_of",
]

MASK: Final = "***"
"""The text that replaces a secret."""

_SHORT: Final = 4  # a secret with fewer characters is masked as a whole word only: "a" is in every message
_LINE: Final = 8  # a line of a multi-line secret (a PEM key) that is long enough to be secret by itself
_DEPTH: Final = 32
_LONGEST: Final = 1000  # characters of an error's message that are passed on
_SEARCHED: Final = 16384  # characters of a text that are searched: its caller, and every other thread, waits meanwhile
_BEYOND: Final = 1200  # more of them where it is cut: whatever looks like a credential is recognised by so many
_FORMED: Final = 3 * (_SEARCHED + _BEYOND)  # characters of a secret: more are not searched, even percent-decoded
_NAMES: Final = 100  # characters at the end of a field's name that tell what it holds
_SEQUENCES: Final = (list, tuple, set, frozenset, deque)

_CREDENTIAL_NAME: Final = (
    r"[\w-]{0,40}(?:passw(?:or)?d|passphrase|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credentials?)[\w-]{0,40}"
    r"|pwd|sig|signature"
)
_CREDENTIAL_FIELD: Final = re.compile(rf"(?:{_CREDENTIAL_NAME})", re.IGNORECASE)
_HEADER_FIELD: Final = re.compile(r"[\w-]*(?:headers?|cookies?)(?:[_-][\w-]*)?|metadata", re.IGNORECASE)
_NO_CREDENTIAL: Final = re.compile(r".*[_-](?:file|path|url|uri|env|name|id|type|ttl|seconds|timeout)", re.IGNORECASE)

_TRACEBACK: Final = BaseException.__dict__["__traceback__"]  # the interpreter's own, whatever a plugin's class says

# Each pattern's group "secret" is what is masked. They are narrow enough to leave "token: expected a string" alone.
# The time of a search must be in proportion to the text: repetitions that could be tried again at each of many places
# are bounded, and those that need not be tried shorter are possessive. The end of a cut text may cut off a secret.
_ALWAYS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # user:password@ of a URL; no host is as long as 1000 characters.
        r"://(?P<secret>[^\s/?#\"'<>]{1000,}+|[^\s/?#\"'<>]+(?=@))",
        rf"(?<![\w-])(?:{_CREDENTIAL_NAME})(?:=|%3D)(?P<secret>'[^']*+(?:'|$)|\"[^\"]*+(?:\"|$)|[^\s&;,)\]}}'\"]+)",
        rf"['\"](?:{_CREDENTIAL_NAME})['\"]\s*+:\s*+(?P<secret>'[^']*+(?:'|$)|\"[^\"]*+(?:\"|$))",
        r"[?&](?:key|auth)(?:=|%3D)(?P<secret>[^\s&;,)\]}'\"]{8,})",
        r"authorization['\"]?\s*+:\s*+['\"]?(?P<secret>(?:basic|bearer|digest|token|negotiate|api-?key)\s++[^\s,;'\"]+)",
        r"\b(?:x-[\w-]{0,40}(?:key|token|auth)|api-key)['\"]?\s*+:\s*+['\"]?(?P<secret>[^\s,;'\"]+)",
        r"\b(?:set-)?cookie['\"]?\s*+:\s*+['\"]?(?P<secret>[^\s;'\"]{1,100}=[^'\"\r\n]+)",
        r"\b(?:bearer|basic)\s++(?P<secret>(?=[\w.~+/=-]*[\d_=+/~])[\w.~+/=-]{8,})",
    )
)
# A password may hold an unescaped "/" (people do it), unless it reads like a port.
_UP_TO_AN_AT: Final = re.compile(r"[^\s@\"'<>]++@?")
_USER_AND_COLON: Final = re.compile(r"://(?=[^/?#:@]*+:(?!\d{1,5}[/?#]))")
_PASSWORD: Final = 1000  # characters of one, with its user
_KEY_OF_QUERY: Final = re.compile(r"(?:.*[_-])?(?:key|code|auth)", re.IGNORECASE)
_END_OF_HOST: Final = re.compile(r"[/?#]")


class Masker:
    """Replaces secrets in text by ``***``. Immutable, safe beside itself; its repr shows no secret.

    A secret is found as given, percent-encoded, and escaped as JSON or Python would; overlapping secrets are masked
    whole. Secrets shorter than 4 characters are masked only where they stand as a whole word, because masking them
    everywhere would make every message unreadable; empty ones are ignored.

    A long text is cut, so that its search takes milliseconds; a secret across the cut is masked.

    Args:
        secrets: what must not be seen.
    """

    __slots__ = ("_count", "_forms", "_words")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if secret.strip().strip("*")}
        forms = {form for secret in known for form in _forms_of(secret)}
        self._count = len(known)
        self._forms: dict[str, list[str]] = {}  # by their first characters, the longest first
        for form in sorted(forms, key=len, reverse=True):
            if len(form) >= _SHORT:
                self._forms.setdefault(form[:_SHORT], []).append(form)
        short = sorted((re.escape(form) for form in forms if len(form) < _SHORT), key=len, reverse=True)
        self._words = re.compile(rf"(?<!\w)(?:{'|'.join(short)})(?!\w)") if short else None

    def __call__(self, text: str, longest: int = _SEARCHED) -> str:
        """Return the text with every secret replaced; of a longer one, so many characters and three dots."""
        cut = len(text) > longest
        searched = text[: longest + _BEYOND] if cut else text
        spans = [
            (match.start("secret"), match.end("secret")) for always in _ALWAYS for match in always.finditer(searched)
        ]
        spans.extend(_passwords_with_a_slash(searched))
        if self._forms:
            spans.extend(self._known(searched, cut=len(searched) < len(text)))
        if self._words is not None:
            spans.extend(match.span() for match in self._words.finditer(searched))
        if cut:
            spans = [(start, min(end, longest)) for start, end in spans if start < longest]
            return f"{_replace(searched[:longest], spans)}..."
        return _replace(text, spans) if spans else text

    def __repr__(self) -> str:
        return f"<Masker of {self._count} secrets>"

    def _known(self, text: str, *, cut: bool) -> Iterator[tuple[int, int]]:
        """Find the known secrets; where the text was cut, also one that goes on beyond its end."""
        for start in range(len(text) - _SHORT + 1):
            for form in self._forms.get(text[start : start + _SHORT], ()):
                if text.startswith(form, start):
                    yield start, start + len(form)
                    break  # the others that begin here are shorter
                if cut and len(form) > len(text) - start and form.startswith(text[start:]):
                    yield start, len(text)
                    break


def masker_for(config: BaseModel | Mapping[str, object] | None) -> Masker:
    """Return a masker of every secret in an exporter's validated options, or, by names alone, in options as given.

    Secret are: values of ``SecretStr``, ``SecretBytes`` and ``Secret``; values of fields named like a credential
    (``password``, ``api_key``); the user part of URLs, also as the token of basic authentication; the query of URLs,
    and the keys in it; header values of 4 characters or more (a shorter plain value, such as a tenant's ``"1"``, is no
    credential).
    """
    return Masker(secrets_of(config))


def secrets_of(config: BaseModel | Mapping[str, object] | None) -> set[str]:
    """Return the texts that :func:`masker_for` masks, as they are."""
    return set() if config is None else set(_secrets_in(config, name=""))


def describe(error: BaseException | ErrorSnapshot, masker: Masker) -> str:
    """Return an error in one line that may be shown: its type and message, secrets masked, causes left out.

    Errors of this package go without their type, because their messages are written for people. Never raises for what
    the error's own ``__str__`` does.
    """
    error, text = (error.error, error.text) if type(error) is ErrorSnapshot else (error, message_of(error))
    text = " ".join(masker(text).split())  # in this order: a secret may have two spaces in a row
    if not is_a(error, ExporterCoreError) or not text:
        name = name_of_type(error)
        text = f"{name}: {text}" if text else name
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def cause_of(error: BaseException | ErrorSnapshot, masker: Masker) -> BaseException:
    """Return the error as it may be chained to one of ours: itself, or a stand-in where its text tells a secret.

    The whole chain counts, since a traceback prints the whole of it: causes, contexts, notes, members of groups. One
    that is too long to be searched is stood in for, too.
    """
    snapshot = error if type(error) is ErrorSnapshot else ErrorSnapshot.of(error)
    if snapshot.printed is not None and all(masker(text) == text for text in snapshot.printed):
        return snapshot.error
    stand_in = MaskedCauseError(describe(snapshot, masker))
    return stand_in.with_traceback(_TRACEBACK.__get__(snapshot.error))  # source lines, which hold no values


def _passwords_with_a_slash(text: str) -> Iterator[tuple[int, int]]:
    """Find each ``user:password`` of a URL whose password holds what would end a host."""
    for part in _UP_TO_AN_AT.finditer(text):
        end = part.end() - 1
        if text[end] != "@":
            continue
        begin = max(part.start(), end - _PASSWORD - 3)
        found = _USER_AND_COLON.search(text, begin, end)
        if found is not None:
            yield found.end(), end


def _replace(text: str, spans: list[tuple[int, int]]) -> str:
    """Return the text with the union of the spans masked."""
    pieces: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if start >= end or not pieces:
            pieces += (text[end:start], MASK)
            end = stop
        else:
            end = max(end, stop)
    pieces.append(text[end:])
    return "".join(pieces)


def _forms_of(secret: str) -> Iterator[str]:
    """Return the spellings in which libraries print a secret."""
    beginning = secret[:_FORMED]
    spellings = {beginning, beginning.strip(), unquote(beginning)}
    spellings |= {line.strip()[:_FORMED] for line in secret.splitlines() if len(line.strip()) >= _LINE}
    for spelling in spellings:
        if not spelling.strip("*"):
            continue
        yield spelling
        if spelling.isascii() and spelling.isalnum():
            continue  # it is printed in no other way
        try:
            encoded = [quote(spelling, safe=""), quote(spelling), quote_plus(spelling)]
        except UnicodeEncodeError:  # a lone surrogate, from an undecodable environment variable
            encoded = []
        for form in encoded:
            yield form
            yield re.sub(r"%[0-9A-F]{2}", lambda match: match.group().lower(), form)
        yield json.dumps(spelling)[1:-1]
        yield json.dumps(spelling, ensure_ascii=False)[1:-1]
        yield repr(spelling)[1:-1]
        yield repr(spelling.encode(errors="surrogateescape"))[2:-1]


def _secrets_in(value: object, *, name: str, depth: int = 0) -> Iterator[str]:
    """Every secret inside a value; ``name`` is its field's name, after those of the secret-holding fields around it."""
    from pydantic import BaseModel, Secret, SecretBytes, SecretStr  # noqa: PLC0415 - masking alone stays light

    if depth > _DEPTH:
        return
    if isinstance(value, SecretStr | SecretBytes | Secret):
        yield from _texts_of_secret(value.get_secret_value(), name)
    elif isinstance(value, BaseModel | Mapping) or (is_dataclass(value) and not isinstance(value, type)):
        holds_headers = _holds_headers(name)
        inherited = name if holds_headers or _is_credential(name) else ""
        for key, item in _members(value):
            if not (holds_headers and key in {"name", "key"}):  # a header given as {name: ..., value: ...}
                yield from _secrets_in(item, name=f"{inherited} {str(key)[-_NAMES:]}".strip(), depth=depth + 1)
    elif isinstance(value, _SEQUENCES):
        for item in value:
            yield from _secrets_in(item, name=name, depth=depth + 1)
    elif value is not None and not isinstance(value, bool | int | float):
        yield from _secrets_of_text(_text(value), name)


def _members(value: object) -> Iterable[tuple[object, object]]:
    """Names and values of a model (its extra fields too), a mapping or a dataclass."""
    if isinstance(value, Mapping):
        return value.items()
    if is_dataclass(value):
        return [(field.name, getattr(value, field.name, None)) for field in fields(value)]
    model = cast("BaseModel", value)
    return [*vars(model).items(), *(model.model_extra or {}).items()]


def _secrets_of_text(text: str, name: str) -> Iterator[str]:
    """The secrets in one plain text that stands under this field name."""
    if _is_credential(name):
        yield text
    elif _holds_headers(name):
        yield from _header_secrets(text)
    for word in text.split():
        yield from _secrets_of_urls(word)


def _header_secrets(text: str) -> Iterator[str]:
    """A header's value, without its scheme too; also those of a list like ``key=value,key2=percent%20encoded``."""
    values = [text, *(pair.partition("=")[2] for pair in text.split(","))]
    values += map(unquote, values[1:])
    values += [value.partition(" ")[2] for value in values]
    for value in values:
        if len(value.strip()) >= _SHORT:
            yield value.strip()


def _secrets_of_urls(word: str) -> Iterator[str]:
    """The secrets in the URLs of a text without spaces: user parts up to the last ``@`` of a host, and queries."""
    start = word.find("://")
    if start < 0:
        return
    yield from _keys_in(word)
    while start >= 0:
        first = word.find("@", start + 3)
        if first < 0:
            return
        end_of_host = _END_OF_HOST.search(word, first)
        last = word.rfind("@", first, end_of_host.start() if end_of_host else len(word))
        if first > start + 3:  # else there is no user
            yield from _passwords_in(word[start + 3 : last])
        start = word.find("://", last)


def _passwords_in(user_part: str) -> Iterator[str]:
    """Find passwords before the last ``@`` of a URL: ``user:password``, a token, or several hosts with a user each."""
    user, colon, password = user_part.partition(":")
    yield password if colon else user_part
    yield from _basic_tokens(user, password)
    for host in user_part.split(","):
        user, colon, password = host.rpartition("@")[0 if "@" in host else 2].partition(":")
        if colon:
            yield password
            yield from _basic_tokens(user, password)


def _basic_tokens(user: str, password: str) -> Iterator[str]:
    """The token of ``Authorization: Basic`` for a user and a password, percent-decoded or not."""
    for credentials in {f"{user}:{password}", f"{unquote(user)}:{unquote(password)}"}:
        token = base64.b64encode(credentials.encode(errors="replace")).decode()
        yield from {token, token.rstrip("=")}


def _keys_in(url: str) -> Iterator[str]:
    """The query of a URL, and the values in it that are keys by their names, or look like keys."""
    query = url.partition("?")[2].partition("#")[0]
    if "=" not in query:
        return
    yield query
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        named = _is_credential(name[-_NAMES:]) or _KEY_OF_QUERY.fullmatch(name[-_NAMES:])
        if len(value) >= (_SHORT if named else _LINE) and (named or any(map(str.isdigit, value))):
            yield value


def _texts_of_secret(value: object, name: str) -> Iterator[str]:
    """Every text inside a secret value that stands under this field name; of headers, each one's value too."""
    for text in _all_text(value):
        yield text
        if _holds_headers(name):
            yield from _header_secrets(text)


def _all_text(value: object, depth: int = 0) -> Iterator[str]:
    """Every text inside a secret value, and the password where it is a URL."""
    if depth > _DEPTH or value is None:
        return
    if isinstance(value, Mapping):
        yield from _all_text(list(value.values()), depth + 1)
    elif isinstance(value, _SEQUENCES):
        for item in value:
            yield from _all_text(item, depth + 1)
    else:
        text = _text(value)
        yield text
        yield from _secrets_of_text(text, "")


def _text(value: object) -> str:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)


def _is_credential(name: str) -> bool:
    """Return True if field names say that a value is a credential; ``token_file`` names a path, not a token."""
    if _NO_CREDENTIAL.fullmatch(name):
        return False
    return any(_CREDENTIAL_FIELD.fullmatch(part) for part in name.split())


def _holds_headers(name: str) -> bool:
    return any(_HEADER_FIELD.fullmatch(part) for part in name.split())
