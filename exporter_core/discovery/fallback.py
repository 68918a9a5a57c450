"""Distributions as importlib-metadata finds them: in zip files and legacy eggs, and through custom finders.

Nothing else imports importlib-metadata: besides its cost, importing the backport removes
``PathFinder.find_distributions`` from the whole process.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import importlib_metadata

from exporter_core.discovery.entries import is_indexed, normalize
from exporter_core.discovery.metadata import Found, name_of_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from exporter_core.discovery.entries import PluginEntry


def found_in(root: str) -> list[Found]:
    """Return the distributions of one path entry; none if it is no zip file and no egg."""
    return list(_found(importlib_metadata.MetadataPathFinder, [root]))


def found_by_finders(path: Sequence[str]) -> list[Found]:
    """Return the distributions that the finders on ``sys.meta_path`` give for these path entries, in order."""
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_distributions")]
    return [one for finder in finders for one in _found(finder, path)]


def _found(finder: Any, path: Sequence[str]) -> Iterator[Found]:  # Any: whatever stands on sys.meta_path
    context: Any = importlib_metadata.DistributionFinder.Context  # Any: its constructor is untyped
    try:
        for distribution in finder.find_distributions(context(path=list(path))):
            yield _one(distribution)
    except Exception as error:  # noqa: BLE001 - a custom finder may raise anything, and must not hide what others find
        source = f"the finder {type(finder).__module__}.{type(finder).__qualname__}"
        yield Found(source, source, faults=[f"{type(error).__name__}: {error}"])


def _one(distribution: Any) -> Found:  # Any: the class is the custom finder's own
    # Only path distributions have a path, and no public attribute tells it.
    path = str(getattr(distribution, "_path", "")).rstrip("/")
    try:
        name, version = str(distribution.metadata["Name"] or ""), str(distribution.metadata["Version"] or "")
    except Exception:  # noqa: BLE001 - without usable metadata, its directory's name still has both
        name = version = ""
    named = name_of_directory(path.rpartition("/")[2])
    location = path or f"{name} {version} from {type(distribution).__module__}.{type(distribution).__qualname__}"
    key = normalize(named[0] if named else name) or location
    try:
        points = [(point.name, point.value, point.group) for point in distribution.entry_points]
    except Exception as error:  # noqa: BLE001 - see above
        return Found(key, location, faults=[f"entry points: {type(error).__name__}: {error}"], identity=(name, version))
    return Found(key, location, [point for point in points if is_indexed(point[2])], identity=(name, version))


def summary_by_finders(entry: PluginEntry) -> str:
    """Return the Summary of the entry's distribution; empty if it has none."""
    context: Any = importlib_metadata.DistributionFinder.Context  # Any: its constructor is untyped
    wanted = context(name=entry.distribution, path=[entry.location.rpartition("/")[0], *sys.path])
    for finder in sys.meta_path:
        try:
            for distribution in finder.find_distributions(wanted):  # type: ignore[attr-defined]  # see below
                metadata = distribution.metadata
                if normalize(str(metadata["Name"])) == normalize(entry.distribution):
                    return str(metadata["Summary"] or "")
        except Exception:  # noqa: BLE001, S112 - a finder without this ability, or one that fails: others may know
            continue
    return ""
