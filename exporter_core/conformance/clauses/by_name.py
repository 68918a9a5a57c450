"""A backend that is reached by a name, whose look-ups can be made to hang or to fail."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from exporter_core.conformance.base_case import describe_call
from exporter_core.conformance.observe.connecting import ADDRESS, NAME, Lookups, lookups_of_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.observe.journal import ObservedCall
    from exporter_core.conformance.observe.tokens import TokenBatch
    from exporter_core.context import Context


class ByName(NamedTuple):
    """The backend, as a clause uses it."""

    lookups: Lookups
    export: Callable[..., ObservedCall]
    """Starts an export of a fresh exporter to it, with a context, and of a batch if one is given."""
    seconds: float
    """The time of an export whose look-ups work."""


@contextmanager
def reached_by_name(case: Case) -> Iterator[ByName | None]:
    """Point exporters at the backend's name in the block, and export once.

    None if no option holds its address, or that export shows no look-up by Python code; those of C code are not seen.
    """
    named = case.pointing(lambda text: text.replace(ADDRESS, NAME))
    if named is None:
        yield None
        return

    def export(context: Context, batch: TokenBatch | None = None) -> ObservedCall:
        return case.send(case.exporter(named), batch or case.batch(), context)

    with lookups_of_name() as lookups:
        control = export(case.long_context())
        case.ends(control, "export to a backend with a name ends")
        if control.error is None and lookups.count:
            yield ByName(lookups, export, control.seconds)
            return
        case.journal.stamp("note", f"{lookups.count} look-ups of a name seen; export, {describe_call(control)}")
    yield None
