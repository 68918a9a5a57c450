"""From a name to the one entry that may be imported for it, or the error that says why there is none.

The index only proposes: what it says of the chosen name is read again from the distributions' own files first, so a
stale or tampered index can make a selection slower but never cause an import.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from exporter_core.discovery.distributions import Found
from exporter_core.discovery.entries import (
    SUPPORTED_CONTRACT,
    PluginEntry,
    conflicts,
    is_exporter_group,
    is_observer_group,
    normalize,
    shadowed,
)
from exporter_core.discovery.index import listing
from exporter_core.discovery.metadata import MAX_FILE_BYTES, ReadError, entries_of, read_file
from exporter_core.discovery.scan import absolute
from exporter_core.errors import (
    ExporterConflictError,
    ExporterNotFoundError,
    PluginBlockedError,
    UnsupportedContractError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from exporter_core.discovery.distributions import Listing
    from exporter_core.discovery.policy import PluginPolicy

FIRST_PARTY = {
    "console": "exporter-core-console",
    "kafka": "exporter-core-kafka",
    "nats": "exporter-core-nats",
    "otlp_file": "exporter-core-otlp",
    "otlp_file/development": "exporter-core-otlp",
    "otlp_grpc": "exporter-core-otlp",
    "otlp_http": "exporter-core-otlp",
    "postgresql": "exporter-core-postgresql",
    "prometheus_remote_write": "exporter-core-prometheus",
    "sqlite": "exporter-core-sqlite",
}
"""The distribution that brings each first-party exporter."""


def select(
    name: str,
    *,
    policy: PluginPolicy | None = None,
    path: Sequence[str] | None = None,
    builtin: Iterable[str] = (),
) -> PluginEntry:
    """The entry of the exporter called ``name``, or ``distribution:name``. Imports no plugin.

    A name that an exporter of the contract has means that one, whatever exporters of the SDK have it too.

    Args:
        name: as in a configuration; the form with a distribution settles a conflict.
        policy: what may be imported; None allows everything.
        path: where to look instead of ``sys.path``.
        builtin: names that exist without a plugin, for the error's suggestions.

    Raises:
        ExporterNotFoundError: nothing installed registers the name.
        PluginBlockedError: the policy forbids every entry of the name.
        UnsupportedContractError: the name is registered, under other contract versions only.
        ExporterConflictError: more than one permitted entry has the name.
    """
    known = {**dict.fromkeys(builtin, ""), **FIRST_PARTY}
    return _select(_Kind("exporter", is_exporter_group, known), name, policy, path)


def select_observer(name: str, *, policy: PluginPolicy | None = None, path: Sequence[str] | None = None) -> PluginEntry:
    """The entry of the observer called ``name``, or ``distribution:name``; as :func:`select` does for exporters."""
    return _select(_Kind("observer", is_observer_group, {}), name, policy, path)


class _Kind(NamedTuple):
    """What is looked for: how to call it, which groups are its, and the distribution of each name known anyway."""

    noun: str
    has: Callable[[str], bool]
    known: dict[str, str]


def _select(kind: _Kind, name: str, policy: PluginPolicy | None, path: Sequence[str] | None) -> PluginEntry:
    installed = listing(path)
    candidates = _matching(kind, installed, name)
    roots = {root.rstrip("/") for root in absolute(sys.path if path is None else path)}
    if not candidates or not all(_holds(kind, candidates, entry, roots) for entry in candidates):
        installed = listing(path, refresh=True)
        candidates = _matching(kind, installed, name)
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
    hidden = shadowed(permitted)
    permitted = [entry for entry in permitted if entry not in hidden]
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
    """Whether the entry's own distribution, read again, lies on the path and says the same of this name."""
    if entry.location.rpartition("/")[0] not in roots:
        return False
    try:
        read = read_file(f"{entry.location}/entry_points.txt", MAX_FILE_BYTES + 1)
        fresh = entries_of(read[0])[0] if read else []
    except ReadError:
        return False
    claimed = {(one.name, one.value, one.group) for one in candidates if one.location == entry.location}
    found = {one for one in fresh if one[0] == entry.name and kind.has(one[2])}
    identity = Found("", entry.location, [], []).name_and_version()
    return claimed == found and identity == (entry.distribution, entry.version)


def _not_found(kind: _Kind, installed: Listing, name: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only an error needs it

    ours = [entry for entry in installed.entries if kind.has(entry.group)]
    names = list(dict.fromkeys(entry.name for entry in ours))
    text = f"no {kind.noun} named {name!r} is installed"
    if home := kind.known.get(name):
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
            f"upgrade {entry.distribution}"
        )
    ours = f"this exporter-core supports version {SUPPORTED_CONTRACT}"
    upgrade = "exporter-core" if version > SUPPORTED_CONTRACT else entry.distribution
    other = f", or install a version of {entry.distribution} made for it" if version > SUPPORTED_CONTRACT else ""
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
    """The entry's distribution and version, for messages; quoted if they hold what would break a line."""
    return _shown(f"{entry.distribution} {entry.version}".rstrip())


def _shown(text: str) -> str:
    """The text as it is if it fits into a line of other words, else quoted."""
    return text if text.isprintable() and text == text.strip() and text else repr(text)
