"""DAT: the data belongs to the caller."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.canaries.data import Annotates, HoldsReference
from exporter_core.conformance.clause import clause
from exporter_core.conformance.tokens import compare, flatten, metrics_in
from exporter_core.conformance.verdicts import Failed

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.subject import Driven

_WORDS = "The metrics may be reused once this returns: what is kept is copied. They are never changed."


@clause(
    "DAT-01",
    "MUST",
    "data may be reused after return, and during a retry the first attempt's data is sent",
    words=_WORDS,
    technique="S",
    check="what is kept beyond export is a copy, attributes included; a batch is encoded before its first attempt",
    canary=HoldsReference,
    after=("EXP-02",),
    needs=("read_back",),
)
def reused(case: Case) -> None:
    """Spoil a batch when export has returned, flush, and look at what arrived; then one between two attempts."""
    exporter = case.exporter()
    batch = case.batch()
    case.accepted(exporter, batch)
    _poison(batch.metrics)
    case.succeeded(case.do("force_flush", lambda: exporter.force_flush(case.calm())))
    case.delivered(batch, expected="what arrives is what was handed over, not what became of it later", whole=True)
    if case.harness.gated and "status" in case.harness.faults:
        _between_attempts(case, exporter)


def _between_attempts(case: Case, exporter: Driven) -> None:
    """Spoil a batch while its first attempt stands before the gate, to be refused with 503 when that opens."""
    case.harness.fault("status:503", "ok")
    case.shut()
    batch = case.batch()
    call = case.send(exporter, batch)
    case.await_entry(call)
    _poison(batch.metrics)
    case.open()
    case.ends(call, "export ends once the gate is open")
    if call.error is None:  # else it does not try again, which is for EXP-13 to say
        case.delivered(batch, expected="a further attempt sends what the first one did", whole=True)


def _poison(metrics: MetricsData) -> None:
    for metric in metrics_in(metrics):
        for point in metric.data.data_points:
            attributes: Any = point.attributes
            attributes.clear()
            attributes["poisoned"] = True
        points: Any = metric.data.data_points
        points.clear()


@clause(
    "DAT-02",
    "MUST",
    "input is unmodified",
    words=_WORDS,
    technique="S",
    check="nothing is added to attributes, and no list is sorted in place",
    canary=Annotates,
    derived=True,
)
def unmodified(case: Case) -> None:
    """Compare a batch before and after its export."""
    exporter = case.exporter()
    batch = case.tokens.rich()
    before = copy.deepcopy(batch.points)
    case.do("export", lambda: exporter.export(case.calm(), batch.metrics))
    case.do("force_flush", lambda: exporter.force_flush(case.calm()))
    after = list(flatten(batch.metrics))
    found = compare(before, after)
    if found.describe():
        raise Failed("the batch is as it was", found.corrupted[0] if found.corrupted else found.describe())
    if [point.token for point in after] != [point.token for point in before]:
        raise Failed("the batch is as it was", "its points are in another order")
    case.observe("the batch is as it was")
