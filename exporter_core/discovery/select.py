"""From a name to the one entry that may be imported for it, or the error that says why there is none.

Allow and block lists of names and distributions are applied before any import.

The index only proposes: its rows of the chosen name are read again from the distributions' own files first. A stale
or tampered index can make a selection slower but never cause an import.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple, Self

from exporter_core.discovery.entries import (
    SDK_GROUP,
    SUPPORTED_CONTRACT,
    PluginEntry,
    conflicts,
    is_exporter_group,
    is_observer_group,
    is_pull_group,
    normalize,
    outbound,
    shadowed,
)
from exporter_core.discovery.index import listing
from exporter_core.discovery.metadata import MAX_FILE_BYTES, Found, ReadError, entries_of, read_file
from exporter_core.discovery.scan import absolute
from exporter_core.errors import (
    ExporterConflictError,
    ExporterNotFoundError,
    PluginBlockedError,
    UnsupportedContractError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from exporter_core.discovery.scan import Listing

FIRST_PARTY = {
    "console": "exporter-core-console",
    "otlp_file": "exporter-core-otlp",
    "otlp_file/development": "exporter-core-otlp",
    "otlp_grpc": "exporter-core-otlp",
    "otlp_http": "exporter-core-otlp",
    "prometheus_remote_write": "exporter-core-prometheus",
    "sqlite": "exporter-core-sqlite",
}
"""The distribution to install for each first-party exporter that is not part of exporter-core."""

FIRST_PARTY_PULL = {
    "prometheus": "exporter-core-prometheus",
    "prometheus/development": "exporter-core-prometheus",
}
"""The same for pull exporters."""


class _Lists(NamedTuple):
    allow: tuple[str, ...] | None
    block: tuple[str, ...]


class PluginPolicy(_Lists):
    """The allow and block lists. An item is an entry's name or its distribution's, compared normalised.

    Args:
        allow: if not None, nothing else may be imported; an empty one allows nothing.
        block: never imported; stronger than ``allow``.
    """

    __slots__ = ()

    def __new__(cls, allow: Iterable[str] | None = None, block: Iterable[str] = ()) -> Self:  # noqa: D102 - see the class
        if isinstance(allow, str) or isinstance(block, str):
            raise TypeError("allow and block are sequences of names, not one name")
        return super().__new__(cls, None if allow is None else tuple(allow), tuple(block))

    def reason_against(self, entry: PluginEntry) -> str | None:
        """Return the reason why this entry may not be imported, as half a sentence; None if it may."""
        blocked = {*map(normalize, self.block)}
        for kind, name in (("name", entry.name), ("distribution", entry.distribution)):
            if normalize(name) in blocked:
                return f"its {kind} {name!r} is in the block list"
        names = {normalize(entry.name), normalize(entry.distribution)}
        if self.allow is not None and names.isdisjoint(map(normalize, self.allow)):
            return f"neither its name {entry.name!r} nor its distribution {entry.distribution!r} is in the allow list"
        return None


def select(
    name: str, *, pull: bool = False, policy: PluginPolicy | None = None, path: Sequence[str] | None = None
) -> PluginEntry:
    """Return the entry of the exporter called ``name``, or ``distribution:name``. Imports no plugin.

    If an exporter of the contract and one of the SDK have the same name, it selects that of the contract. A pull
    exporter is also looked for in the SDK's group of exporters, where some distributions register a metric reader.

    Args:
        name: as in a configuration; the form with a distribution settles a conflict.
        pull: select a pull exporter.
        policy: the allow and block lists; None allows everything.
        path: directories to search instead of ``sys.path``.

    Raises:
        ExporterNotFoundError: nothing installed registers the name.
        PluginBlockedError: the policy forbids every entry of the name.
        UnsupportedContractError: the name is registered, under other contract versions only.
        ExporterConflictError: more than one permitted entry has the name.
    """
    kind = _PULL if pull else _PUSH
    if pull:
        installed = listing(path)
        of_sdk = set(_matching(_SDK_READER, installed, name)) - outbound(installed.entries)
        if of_sdk and not _matching(_PULL, installed, name):
            kind = _SDK_READER
    return _select(kind, name, policy, path)


def select_observer(name: str, *, policy: PluginPolicy | None = None, path: Sequence[str] | None = None) -> PluginEntry:
    """Return the entry of the observer called ``name``, or ``distribution:name``; as :func:`select` for exporters."""
    return _select(_OBSERVER, name, policy, path)


class _Kind(NamedTuple):
    """A kind of plugin: exporters, pull exporters or observers."""

    noun: str
    has: Callable[[str], bool]
    """Tells the entry-point groups of this kind."""
    known: dict[str, str]
    """The distribution of each name that is known although it is not installed."""


_PUSH = _Kind("exporter", is_exporter_group, FIRST_PARTY)
_PULL = _Kind("pull exporter", is_pull_group, FIRST_PARTY_PULL)
_SDK_READER = _Kind("pull exporter", SDK_GROUP.__eq__, {})
_OBSERVER = _Kind("observer", is_observer_group, {})

_OTHER_KIND = {
    _PUSH.noun: (_PULL, "it is a pull exporter: name it under 'pull:' instead of 'periodic:'"),
    _PULL.noun: (_PUSH, "it is an exporter that pushes: name it under 'periodic:' instead of 'pull:'"),
}
"""By kind: the kind that a name may be of instead, and the way out."""


def _select(kind: _Kind, name: str, policy: PluginPolicy | None, path: Sequence[str] | None) -> PluginEntry:
    if not isinstance(name, str):
        raise TypeError(f"name of a plugin: expected a string, not {type(name).__name__}")
    installed = listing(path)
    candidates = _matching(kind, installed, name)
    roots = {root.rstrip("/") for root in absolute(sys.path if path is None else path)}
    if not candidates or not all(_holds(kind, candidates, entry, roots) for entry in candidates):
        installed = listing(path, refresh=True)
        candidates = _matching(kind, installed, name)
    hidden = outbound(installed.entries)
    candidates = [entry for entry in candidates if entry not in hidden]
    if not candidates:
        raise ExporterNotFoundError(_not_found(kind, installed, name))
    reasons = {entry: policy.reason_against(entry) if policy else None for entry in candidates}
    permitted = [entry for entry in candidates if reasons[entry] is None]
    if not permitted:
        raise PluginBlockedError(
            "; ".join(
                f"{kind.noun} {e.name!r} of {origin_of(e)} may not be used: {reason}" for e, reason in reasons.items()
            )
            + "; the lists are those under exporter_core: plugins:"
        )
    lower = shadowed(permitted)
    permitted = [entry for entry in permitted if entry not in lower]
    supported = [entry for entry in permitted if entry.supported]
    if not supported:
        raise UnsupportedContractError("; ".join(_unsupported(kind.noun, entry) for entry in permitted))
    for rivals in conflicts(supported).values():
        raise ExporterConflictError(_conflict(kind.noun, rivals))
    return supported[0]


def _matching(kind: _Kind, installed: Listing, name: str) -> list[PluginEntry]:
    ours = [entry for entry in installed.entries if kind.has(entry.group)]
    distribution, colon, plain = name.partition(":")
    if colon:
        # First, so that no plugin can put itself in the place of another by having "other:name" for a name.
        wanted = normalize(distribution)
        found = [entry for entry in ours if entry.name == plain and normalize(entry.distribution) == wanted]
        if found:
            return found
    return [entry for entry in ours if entry.name == name]


def _holds(kind: _Kind, candidates: list[PluginEntry], entry: PluginEntry, roots: set[str]) -> bool:
    """Return True if the entry's distribution, read again, lies on the path and says the same of this name."""
    if entry.location.rpartition("/")[0] not in roots:
        return False
    try:
        read = read_file(f"{entry.location}/entry_points.txt", MAX_FILE_BYTES + 1)
        fresh = entries_of(read[0])[0] if read else []
    except ReadError:
        return False
    claimed = {(one.name, one.value, one.group) for one in candidates if one.location == entry.location}
    found = {one for one in fresh if one[0] == entry.name and kind.has(one[2])}
    identity = Found("", entry.location).name_and_version()
    return claimed == found and identity == (entry.distribution, entry.version)


def _not_found(kind: _Kind, installed: Listing, name: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only an error needs it

    hidden = outbound(installed.entries)
    ours = [entry for entry in installed.entries if kind.has(entry.group) and entry not in hidden]
    names = list(dict.fromkeys(entry.name for entry in ours))
    text = f"no {kind.noun} named {name!r} is installed"
    other, way_out = _OTHER_KIND.get(kind.noun, (kind, ""))
    if other is not kind and (name in other.known or _matching(other, installed, name)):
        text += f"; {way_out};"
    elif home := kind.known.get(name):
        present = any(normalize(entry.distribution) == home for entry in installed.entries)
        text += f"; it comes with the distribution {home}: pip install {'-U ' * present}{home};"
    else:
        spellings = [entry.qualified_name for entry in ours] if ":" in name else [*names, *kind.known]
        by_lower = {spelling.lower(): spelling for spelling in reversed(spellings)}
        nearest = next((by_lower[close] for close in get_close_matches(name.lower(), by_lower, 1, 0.6)), "")
        absent = "" if nearest in names else kind.known.get(nearest, "")
        text += f"; did you mean {nearest!r}{absent and f' (pip install {absent})'}?" if nearest else ";"
    text += f" installed: {', '.join(map(_shown, names)) or 'none'}"
    return "; ".join([text, *(f"not readable: {_shown(where)}: {_shown(why)}" for where, why in installed.problems)])


def _unsupported(noun: str, entry: PluginEntry) -> str:
    version = entry.contract_version
    what = f"{noun} {entry.name!r} of {origin_of(entry)}"
    if version is None:
        return (
            f"{what} is registered in the group {entry.group!r}, which names no contract version: "
            f"upgrade {_shown(entry.distribution)}"
        )
    ours = f"this exporter-core supports version {SUPPORTED_CONTRACT}"
    upgrade = "exporter-core" if version > SUPPORTED_CONTRACT else _shown(entry.distribution)
    other = (
        f", or install a version of {_shown(entry.distribution)} made for it" if version > SUPPORTED_CONTRACT else ""
    )
    return f"{what} is made for contract version {version}, {ours}: upgrade {upgrade}{other}"


def _conflict(noun: str, rivals: tuple[PluginEntry, ...]) -> str:
    first = rivals[0]
    origins = list(dict.fromkeys(origin_of(entry) for entry in rivals))
    if len(origins) == 1:
        values = " and ".join(repr(entry.value) for entry in rivals)
        return (
            f"{origins[0]} registers {noun} {first.name!r} more than once, as {values}: install another version of it"
        )
    choices = " or ".join(dict.fromkeys(repr(entry.qualified_name) for entry in rivals))
    return (
        f"{noun} {first.name!r} is registered by {' and by '.join(origins)}: "
        f"name it {choices}, or block one of the distributions"
    )


def origin_of(entry: PluginEntry) -> str:
    """Return the entry's distribution and version, for messages; quoted if they would break a line."""
    return _shown(f"{entry.distribution} {entry.version}".rstrip())


def _shown(text: str) -> str:
    """Return the text as it is if it fits into a line of other words, else quoted."""
    return text if text.isprintable() and text == text.strip() and text else repr(text)
