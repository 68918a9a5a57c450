"""The installed exporters as rows with a status: for ``list``, and for completion. Imports none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from exporter_core.cli.output import console, emit_json, show
from exporter_core.discovery import (
    PluginEntry,
    PluginPolicy,
    conflicts,
    installed,
    normalize,
    origin_of,
    shadowed,
    summary_of,
    unreadable,
)
from exporter_core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

BUILT_IN_SUMMARY = "Discard all metrics."
"""The summary of ``none``: that of its distribution, exporter-core, describes the whole."""

_COLOURS = {
    "ok": "green",
    "conflict": "yellow",
    "shadowed": "dim",
    "unsupported": "yellow",
    "blocked": "yellow",
    "failed": "red",
}

_NARROWEST_SUMMARY = 40  # columns


class Row(NamedTuple):
    """One exporter in the list."""

    entry: PluginEntry
    status: str
    """``ok``, ``conflict``, ``shadowed``, ``unsupported`` or ``blocked``; with ``--check`` also ``failed``."""
    reason: str | None
    """The reason for a status other than ``ok``, in one line."""
    place: str | None = None
    """FILE:LINE of the code that raised a failure, if that is known."""


def rows(policy: PluginPolicy | None = None, *, refresh: bool = False) -> list[Row]:
    """Return the installed exporters, in order of name.

    Args:
        policy: the allow and block lists; None allows everything.
        refresh: scan whatever the index says.
    """
    entries = installed(refresh=refresh)
    against = {entry: policy.reason_against(entry) if policy else None for entry in entries}
    permitted = [entry for entry in entries if against[entry] is None]
    rivals = conflicts(permitted)
    by = shadowed(permitted)

    def rivals_of(entry: PluginEntry) -> Sequence[PluginEntry]:
        found = rivals.get(entry.name, ())
        return found if entry in found else ()

    return [Row(entry, *_status(entry, against[entry], by.get(entry), rivals_of(entry))) for entry in entries]


def _status(
    entry: PluginEntry, against: str | None, by: PluginEntry | None, rivals: Sequence[PluginEntry]
) -> tuple[str, str | None]:
    if against is not None:
        return "blocked", against
    if by is not None:
        return "shadowed", f"shadowed by {origin_of(by)}; use '{entry.qualified_name}' to select this one"
    if not entry.supported:
        version = entry.contract_version
        what = f"contract version {version}" if version is not None and not entry.pull else f"the group {entry.group}"
        return "unsupported", f"it is registered for {what}; this exporter-core supports version 1"
    if rivals:
        others = list(dict.fromkeys(origin_of(rival) for rival in rivals if rival != entry))
        return "conflict", f"also registered by {' and '.join(others)}; use '{entry.qualified_name}' to select this one"
    return "ok", None


def exporter_names(incomplete: str) -> list[str]:
    """Return the names that select an installed exporter and start so; a qualified name where a plain one is ambiguous.

    Shells ask for them, to complete an argument.
    """
    found = [(row.entry, row.status) for row in rows() if row.entry.supported]
    names = (entry.name if status == "ok" else entry.qualified_name for entry, status in found)
    return sorted({name for name in names if name.startswith(incomplete)})


def _summary(entry: PluginEntry) -> str:
    built_in = entry.name == "none" and normalize(entry.distribution) == "exporter-core"
    return BUILT_IN_SUMMARY if built_in else summary_of(entry)


def _contract(entry: PluginEntry) -> str:
    version = "?" if entry.contract_version is None else f"v{entry.contract_version}"
    return f"{'pull ' * entry.pull}{'SDK' if entry.of_sdk else version}"


def emit_rows(found: Sequence[Row]) -> None:
    """Write the rows as JSON."""
    exporters: list[dict[str, Any]] = [  # Any: JSON
        {
            "name": entry.name,
            "distribution": entry.distribution,
            "version": entry.version,
            "summary": _summary(entry),
            "entry_point": entry.value,
            "group": entry.group,
            "contract_version": entry.contract_version,
            "status": status,
            "reason": reason,
            "place": place,
        }
        for entry, status, reason, place in found
    ]
    problems = [{"location": location, "reason": reason} for location, reason in unreadable()]
    emit_json({"exporters": exporters, "unreadable": problems})


def show_rows(found: Sequence[Row]) -> None:
    """Write the rows as a table, and below it the reason for each status other than ``ok``.

    Where the terminal leaves a summary too little room beside the other columns, they stand below it.
    """
    from rich.table import Table  # noqa: PLC0415 - programs that read JSON need not wait for it
    from rich.text import Text  # noqa: PLC0415 - as above

    cells: list[tuple[Text, ...]] = [
        (
            Text(printable(entry.name), "bold"),
            Text(status, _COLOURS[status]),
            Text(printable(origin_of(entry))),
            Text(_contract(entry)),
            Text(printable(_summary(entry))),
        )
        for entry, status, *_ in found
    ]
    titles: tuple[str, ...] = ("NAME", "STATUS", "DISTRIBUTION", "CONTRACT", "SUMMARY")
    beside = sum(max(map(len, column)) + 2 for column in zip(titles, *cells, strict=True) if column[0] != "SUMMARY")
    if console().width - beside < _NARROWEST_SUMMARY:
        titles = ("NAME", "STATUS", "SUMMARY, DISTRIBUTION, CONTRACT")
        cells = [
            (name, status, Text.assemble(summary, "\n", (f"{origin.plain}, {contract.plain}", "dim")))
            for name, status, origin, contract, summary in cells
        ]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles[:-1]:
        table.add_column(title, no_wrap=True)
    table.add_column(titles[-1])
    for row in cells:
        table.add_row(*row)
    show(table)
    notes = [
        (entry.name, status, reason if place is None else f"{reason} ({place})")
        for entry, status, reason, place in found
        if reason is not None
    ]
    notes += [(location, "unreadable", reason) for location, reason in unreadable()]
    if notes:
        show("")
    for name, status, reason in notes:
        where = Text.assemble((printable(name), "bold"), ": ", (status, _COLOURS.get(status, "red")), ": ")
        show(where.append(printable(reason)))
