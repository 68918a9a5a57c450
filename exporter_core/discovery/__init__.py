"""Installed exporters and observers: found, listed and selected without importing them.

Nothing here imports a plugin, pluggy, pydantic or OpenTelemetry.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from exporter_core.discovery.entries import (
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
from exporter_core.discovery.metadata import summary_in
from exporter_core.discovery.select import (
    FIRST_PARTY,
    FIRST_PARTY_PULL,
    PluginPolicy,
    origin_of,
    select,
    select_observer,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "FIRST_PARTY",
    "FIRST_PARTY_PULL",
    "PluginEntry",
    "PluginPolicy",
    "conflicts",
    "failed_over",
    "installed",
    "installed_observers",
    "normalize",
    "origin_of",
    "select",
    "select_observer",
    "shadowed",
    "summary_of",
    "unreadable",
]


def installed(*, path: Sequence[str] | None = None, refresh: bool = False) -> tuple[PluginEntry, ...]:
    """Return every installed exporter, of every contract version and of the SDK's groups, pull exporters included.

    They are in order of name. Shadowed distributions are left out, and the entries by which exporters of the contract
    are given to the SDK.

    Args:
        path: directories to search instead of ``sys.path``.
        refresh: scan although the index looks valid. It misses one change only: an entry_points.txt added to a
            metadata directory that was without one for a minute or more.
    """
    entries = listing(path, refresh=refresh).entries
    kinds = (entry for entry in entries if is_exporter_group(entry.group) or is_pull_group(entry.group))
    hidden = outbound(entries)
    return tuple(entry for entry in kinds if entry not in hidden)


def installed_observers(*, path: Sequence[str] | None = None, refresh: bool = False) -> tuple[PluginEntry, ...]:
    """Return every installed observer; as :func:`installed` does for exporters."""
    return tuple(entry for entry in listing(path, refresh=refresh).entries if is_observer_group(entry.group))


def unreadable(*, path: Sequence[str] | None = None) -> tuple[tuple[str, str], ...]:
    """Return the metadata directories whose entry points cannot be read, each with the problem in one line."""
    return listing(path).problems


def failed_over(error: Exception) -> tuple[str, ...]:
    """Return a line for each metadata directory over which the standard library failed with the error; often none.

    Pydantic and OpenTelemetry read the entry points of every distribution when they are imported or first used.
    """
    from traceback import walk_tb  # noqa: PLC0415 - errors only

    readers = {"importlib.metadata", "importlib_metadata"}
    if not any(frame.f_globals.get("__name__") in readers for frame, _ in walk_tb(error.__traceback__)):
        return ()
    advice = "nothing that looks for entry points works: remove the directory"
    return tuple(f"{location}: {reason}; {advice}" for location, reason in unreadable())


def summary_of(entry: PluginEntry) -> str:
    """Return the one-line summary of the entry's distribution, read at each call; empty if there is none."""
    summary = summary_in(entry.location)
    if summary or os.path.isdir(entry.location):  # noqa: PTH112 - pathlib costs more to import than discovery does
        return summary
    from exporter_core.discovery.fallback import summary_by_finders  # noqa: PLC0415 - it imports importlib-metadata

    return summary_by_finders(entry)
