"""Batches that an exporter sends in several requests, of which one alone meets something."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.observe.tokens import TokenBatch
    from exporter_core.conformance.subject import Driven

_PARTS = 3  # metrics of a scope, scopes of a resource, and resources of a batch
ORDINARY: Final = 2_000
"""Points of a batch: what the SDK lets one instrument have, unless it is told otherwise."""
_MORE = 10_021  # points that few send in one request if they have a limit


class Parts(NamedTuple):
    """Batches of one form, and how an exporter sends them."""

    make: Callable[[], TokenBatch]
    """Makes one."""
    requests: int
    """The number of requests that each is sent in."""

    @property
    def places(self) -> list[int]:
        """The numbers of the requests that meet a failure; none where there is one request."""
        return sorted({1, 2, self.requests}) if self.requests > 1 else []


def parts_of(case: Case, exporter: Driven, *, largest: bool = False) -> Parts:
    """Export batches of several resources, scopes and metrics, and of many points, to find those sent in several
    requests; one request where there are none, and where nobody counts.

    ``largest`` is True to try many more points as well.
    """
    for make in _forms(case, (ORDINARY, _MORE) if largest else (ORDINARY,)) if case.counts_requests else ():
        before = case.harness.requests()
        call = case.sent(exporter, make())
        requests = case.harness.requests() - before
        if call.error is not None:
            break  # another clause's business
        if requests > 1:
            return Parts(make, requests)
    return Parts(case.batch, 1)


def _forms(case: Case, points: Iterable[int]) -> Iterator[Callable[[], TokenBatch]]:
    yield partial(case.tokens.wide, _PARTS)
    if not case.capabilities.translates:
        yield from (partial(case.tokens.large, min(number, case.points)) for number in points)
