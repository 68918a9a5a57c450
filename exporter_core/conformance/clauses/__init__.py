"""The clauses, a module for each family; importing a module registers its clauses."""

from __future__ import annotations

from importlib import import_module

_FAMILIES = (
    "interface",
    "kinds",
    "export",
    "deadlines",
    "retrying",
    "data",
    "flush",
    "shutdown",
    "concurrency",
    "handling",
    "python",
)


def load() -> None:
    """Register every clause; does nothing the second time."""
    for name in _FAMILIES:
        import_module(f"{__name__}.{name}")
