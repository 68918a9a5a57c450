"""What stands around every call into an exporter: who is inside, and instrumentation held off.

An exporter that calls its own guard from inside one of its operations would wait for itself; the guard asks
:func:`inside` and refuses. Instrumentation of the libraries that an exporter uses would make metrics of the export of
metrics; OpenTelemetry's own suppression keys hold it off.
"""

from __future__ import annotations

from contextvars import ContextVar, Token

from opentelemetry.context import (
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,  # instrumentation libraries look for these two; the API has no public names
    _SUPPRESS_INSTRUMENTATION_KEY,
    attach,
    detach,
    get_current,
)
from opentelemetry.context import Context as PropagationContext

__all__ = ["enter", "enter_for_good", "inside", "leave"]

_Tokens = tuple[Token[tuple[object, ...]], Token[PropagationContext]]

# A context variable, since tasks and asyncio.to_thread inherit it.
_owners: ContextVar[tuple[object, ...]] = ContextVar("exporter_core_guards_entered", default=())


def inside(owner: object) -> bool:
    """Whether the calling code runs inside an operation of this owner's exporter."""
    return owner in _owners.get()


def enter_for_good(owner: object) -> None:
    """Mark the calling thread as the exporter's own, for the whole of its life."""
    _owners.set((owner,))
    attach(_suppressed(get_current()))


def enter(owner: object) -> _Tokens:
    """Mark the calling thread while it makes one call; :func:`leave` takes the tokens."""
    return _owners.set((*_owners.get(), owner)), attach(_suppressed(get_current()))


def leave(tokens: _Tokens) -> None:
    """Undo :func:`enter`."""
    detach(tokens[1])
    _owners.reset(tokens[0])


# The last context that was added to, and what came of it: a thread that exports is in the same one again and again.
_last: tuple[PropagationContext, PropagationContext] = (PropagationContext(), PropagationContext())


def _suppressed(context: PropagationContext) -> PropagationContext:
    """The context with instrumentation suppressed."""
    global _last  # noqa: PLW0603 - a cache of one entry, replaced whole
    base, suppressed = _last
    if base is not context:
        suppressed = PropagationContext(
            {**context, _SUPPRESS_INSTRUMENTATION_KEY: True, _SUPPRESS_HTTP_INSTRUMENTATION_KEY: True}
        )
        _last = (context, suppressed)
    return suppressed
