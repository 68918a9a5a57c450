"""What a command asks of an exporter that it must not import: description and options, from a child process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.discovery import select
from exporter_core.discovery.check import CheckResult, check_all
from exporter_core.errors import PluginLoadError, SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable


def ask(names: Iterable[str], *, build: bool = False) -> dict[str, CheckResult]:
    """What each exporter says of itself, by the name asked for.

    Args:
        names: as in a config file, perhaps ``distribution:name``.
        build: also build them, with their options' defaults, for their temporality.

    Raises:
        SetupError: one of them is not installed, ambiguous, or cannot be loaded; a line for each.
    """
    entries = {}
    problems: list[SetupError] = []
    for name in dict.fromkeys(names):
        try:
            entries[name] = select(name)
        except SetupError as error:
            problems.append(error)
    results = dict(zip(entries, check_all(entries.values(), build=build), strict=True))
    for name, result in results.items():
        if result.failure is not None:
            problems.append(PluginLoadError(f"exporter {name!r} ({_origin(result)}): {reason(result)}"))
    if len(problems) > 1:
        raise SetupError("\n".join(map(str, problems)))
    if problems:
        raise problems[0]
    return results


def reason(result: CheckResult) -> str:
    """Why the exporter cannot be used, one line that does not name it."""
    title = f"exporter {result.entry.qualified_name!r} ({_origin(result)})"
    return (result.failure or "").replace(f" {title} ", "; ").removeprefix(f"{title} ")


def _origin(result: CheckResult) -> str:
    return f"{result.entry.distribution} {result.entry.version}".strip()
