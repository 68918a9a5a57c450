"""Noticing the first measurement of a process: the one public place that the SDK visits at every measurement."""

from __future__ import annotations

from os import getpid
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, AlwaysOnExemplarFilter, ExemplarFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context as PropagationContext
    from opentelemetry.util.types import Attributes

_ALWAYS: Final[dict[type[ExemplarFilter], bool]] = {AlwaysOffExemplarFilter: False, AlwaysOnExemplarFilter: True}


class FirstMeasurement(ExemplarFilter):
    """An exemplar filter that answers as another one does, and calls back at the first measurement of each process.

    It knows a process by its id, so it also sees a child that was forked in C, where no fork hook has run.

    Args:
        inner: the filter that decides.
        noticed: called without arguments on the thread that records. It must neither raise nor block.
    """

    def __init__(self, inner: ExemplarFilter, noticed: Callable[[], object]) -> None:
        self._ask = inner.should_sample
        self._always = _ALWAYS.get(type(inner))  # saves a call at every measurement
        self._noticed = noticed
        self._process: int | None = None

    @property
    def has_recorded(self) -> bool:
        """True if this process has recorded anything."""
        return self._process == getpid()

    def should_sample(
        self, value: float, time_unix_nano: int, attributes: Attributes, context: PropagationContext
    ) -> bool:
        """Answer as the inner filter does."""
        if self._process != getpid():
            self._process = getpid()
            self._noticed()
        if self._always is not None:
            return self._always
        return self._ask(value, time_unix_nano, attributes, context)
