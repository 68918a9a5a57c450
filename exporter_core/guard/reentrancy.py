"""Marks the code that runs inside an exporter: calls of its own guard are refused, and it is not instrumented.

An exporter that calls its own guard from inside one of its operations would wait for itself. Instrumentation of the
libraries that an exporter uses would make metrics of the export of metrics; OpenTelemetry's own suppression keys
prevent that.
"""

from __future__ import annotations

import contextvars

from opentelemetry.context import (
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,  # instrumentation libraries look for these two; the API has no public names
    _SUPPRESS_INSTRUMENTATION_KEY,
    Context as PropagationContext,
    attach,
    get_current,
)

# A context variable, since tasks and asyncio.to_thread inherit it.
_guards: contextvars.ContextVar[tuple[object, ...]] = contextvars.ContextVar("exporter_core_guards_entered", default=())

guards_entered = _guards.get
"""Return the marks of the guards inside whose exporters the calling code runs."""


def mark_thread(guard: object) -> None:
    """Mark the calling thread, or the ``contextvars`` context that it runs in, as inside this guard's exporter."""
    _guards.set((*_guards.get(), guard))
    suppressed = {_SUPPRESS_INSTRUMENTATION_KEY: True, _SUPPRESS_HTTP_INSTRUMENTATION_KEY: True}
    attach(PropagationContext({**get_current(), **suppressed}))


def marked_context(guard: object) -> contextvars.Context:
    """Return a marked copy of the current ``contextvars`` context, whose ``run`` makes a call inside it.

    That is a tenth of the cost of marking and unmarking. One thread at a time can be in it.
    """
    context = contextvars.copy_context()
    context.run(mark_thread, guard)
    return context
