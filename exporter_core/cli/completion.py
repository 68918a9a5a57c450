"""Completions that a shell asks for; files are completed by the shell itself."""

from __future__ import annotations

from exporter_core.discovery import conflicts, installed, shadowed


def exporter_names(incomplete: str) -> list[str]:
    """The names that select an installed exporter and start so; the qualified ones where a plain one would not do."""
    entries = [entry for entry in installed() if entry.supported]
    rivals, hidden = conflicts(entries), shadowed(entries)
    names = (entry.qualified_name if entry in hidden or entry.name in rivals else entry.name for entry in entries)
    return sorted({name for name in names if name.startswith(incomplete)})
