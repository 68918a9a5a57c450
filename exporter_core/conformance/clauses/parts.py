"""Batches that an exporter sends in several requests, of which one alone meets something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from exporter_core.conformance.case import Case
    from exporter_core.conformance.subject import Driven

PARTS: Final = 3
"""Metrics of a scope, scopes of a resource, and resources of such a batch."""


def requests_of_parts(case: Case, exporter: Driven) -> int:
    """Export a batch of several resources, scopes and metrics: the number of requests that it is sent in."""
    before = case.harness.requests()
    case.succeeded(case.sent(exporter, case.tokens.wide(PARTS)))
    return case.harness.requests() - before


def sends_parts(case: Case) -> bool:
    """True if such a batch goes out in several requests; False also where nobody counts, or it cannot be sent."""
    if not case.counts_requests:
        return False
    case.harness.fault("ok")
    before = case.harness.requests()
    return case.sent(case.exporter(), case.tokens.wide(PARTS)).succeeded and case.harness.requests() > before + 1


def places(requests: int) -> list[int]:
    """The numbers of the requests of a batch that meet a failure; none for a batch that is sent in one."""
    return sorted({1, 2, requests}) if requests > 1 else []
