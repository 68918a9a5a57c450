"""The timeline of a run and its requests as JSON; seconds count from the first event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exporter_core.conformance.observe.journal import Event, Exchange


def lines(events: Sequence[Event]) -> list[dict[str, Any]]:  # Any: JSON
    """Events, in the order in which they happened."""
    since = _clock(events)
    ordered = sorted(events, key=lambda event: event.seconds)
    return [{**event._asdict(), "seconds": since(event.seconds)} for event in ordered]


def wire_lines(exchanges: Sequence[Exchange], events: Sequence[Event]) -> list[dict[str, Any]]:  # Any: JSON
    """Exchanges, on the same clock."""
    since = _clock(events)
    return [
        {
            **one._asdict(),
            "seconds": since(one.seconds),
            "stored": since(one.stored),
            "answered": since(one.answered),
            "headers": [list(header) for header in one.headers],
            "problems": list(one.problems),
        }
        for one in sorted(exchanges, key=lambda one: one.seconds)
    ]


def _clock(events: Sequence[Event]) -> Callable[[float | None], float | None]:
    start = min((event.seconds for event in events), default=0.0)
    return lambda seconds: None if seconds is None else round(seconds - start, 6)
