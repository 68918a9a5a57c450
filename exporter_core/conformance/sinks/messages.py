"""Messages between a sink's process and its parent, which ``multiprocessing`` connections carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from exporter_core.conformance.sinks.errors import SinkError


class SinkCall(NamedTuple):
    """A call of an operation of one sink."""

    sink: int
    """The sink's number in its process; unused by ``start``."""
    operation: str
    arguments: tuple[Any, ...]  # Any: as the operation says


class SinkAnswer(NamedTuple):
    """The operation's result, or its error."""

    value: Any = None  # as the operation says
    error: SinkError | None = None
