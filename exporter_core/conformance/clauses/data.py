"""DAT: the data belongs to the caller."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from exporter_core.conformance.clause import clause
from exporter_core.conformance.clauses.canary import Canary, HoldsUntilFlush
from exporter_core.conformance.observe.tokens import compare, flatten, metrics_in, plain
from exporter_core.conformance.run.verdicts import Failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.observe.tokens import TokenBatch
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context

_TAKEN = 0.2  # seconds in which an exporter that delivers by itself takes up what it holds
_WORDS = "The metrics may be reused once this returns: what is kept is copied. They are never changed."
_AS_GIVEN = "what arrives is what was handed over, not what became of it later"


class HoldsReference(HoldsUntilFlush):
    """Keeps the caller's own batch until the flush or the shutdown."""


@clause(
    "DAT-01",
    "MUST",
    "data may be reused after return, and during a retry the first attempt's data is sent",
    words=_WORDS,
    technique="S",
    check="keep a copy beyond export, attributes included; encode a batch before its first attempt",
    canary=HoldsReference,
    after=("EXP-02",),
    needs=("read_back",),
)
def reused(case: Case) -> None:
    """Change a batch after export has returned, flush, and compare what arrived; change one between two attempts. The
    lists inside its points are changed too: exemplars, counts of buckets, bounds. Export what was exported before, with
    other attributes in the same mappings.
    """
    exporter = case.exporter()
    batch = case.batch()
    case.accepted(exporter, batch)
    _poison(batch.metrics)
    case.succeeded(case.flush(exporter))
    case.delivered(batch, expected=_AS_GIVEN, whole=True)
    if case.canary is None:
        _changed_in_place(case)
    if case.capabilities.holds and case.canary is None:
        _with_every_kind(case, exporter)
    if case.harness.gated and case.capabilities.holds and case.canary is None:
        _while_held(case, exporter)
    if case.harness.gated and "status" in case.harness.faults:
        _between_attempts(case, exporter)


def _changed_in_place(case: Case) -> None:
    """Export a batch twice, with other attributes of its points the second time."""
    exporter, batch = case.exporter(), case.batch()
    case.succeeded(case.sent(exporter, batch))
    changed = case.tokens.changed_in_place(batch)
    case.succeeded(case.sent(exporter, changed))
    case.delivered(changed, expected="what was changed in place since its last export arrives as it is now", whole=True)


def _with_every_kind(case: Case, exporter: Driven) -> None:
    """Spoil a batch of every kind of point, in all its lists."""
    batch = case.rich()
    if case.export(exporter, batch).error is not None:
        return  # another clause's business
    _poison(batch.metrics)
    if case.flush(exporter).error is None:
        case.delivered(batch, expected=_AS_GIVEN, whole=True)


def _while_held(case: Case, exporter: Driven) -> None:
    """Spoil a batch that is held behind another one, so that nothing can have delivered or encoded it before."""
    batch = case.batch()
    case.shut()
    case.export(exporter)
    case.until(lambda: bool(case.harness.entered()), seconds=_TAKEN)
    call = case.export(exporter, batch)
    _poison(batch.metrics)
    case.open()
    if call.error is None:
        case.succeeded(case.flush(exporter))
        case.delivered(batch, expected="what is held is what was handed over, not what became of it later", whole=True)


def _between_attempts(case: Case, exporter: Driven) -> None:
    """Spoil a batch while its first attempt stands before the gate, to be refused with 503 when that opens."""
    case.harness.fault("status:503", "ok")
    batch = case.rich()
    call = case.send_to_gate(exporter, batch)
    _poison(batch.metrics)
    case.open_for(call)
    if call.error is None:  # else it does not try again, which is for EXP-13 to say
        case.delivered(batch, expected="a further attempt sends what the first one did", whole=True)


def _poison(metrics: MetricsData) -> None:
    for metric in metrics_in(metrics):
        for point in metric.data.data_points:
            attributes: Any = point.attributes
            attributes.clear()
            attributes["poisoned"] = True
            for part in _parts(point):
                for value in vars(part).values():
                    if isinstance(value, list):
                        value.clear()
        points: Any = metric.data.data_points
        points.clear()


class Annotates(Canary):
    """Adds an attribute to the caller's points."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        result = self.inner.export(context, metrics)
        for metric in metrics_in(metrics):
            for point in metric.data.data_points:
                point.attributes["exported"] = True  # type: ignore[index]  # made by the kit, of dictionaries
        return result


@clause(
    "DAT-02",
    "MUST",
    "input is unmodified",
    words=_WORDS,
    technique="S",
    check="nothing is added to attributes or lists, no field is set, and no list is sorted in place",
    canary=Annotates,
    derived=True,
)
def unmodified(case: Case) -> None:
    """Compare a batch whose sequences are lists before and after its export, one of metrics without points, one that
    fails and one that is tried again too.
    """
    exporter = case.exporter()
    _unmodified(case, exporter, case.rich())
    _unmodified(case, exporter, case.tokens.hollow())
    if case.refusal is not None and "ok" in case.harness.faults and case.canary is None:
        case.harness.fault(case.refusal)
        _unmodified(case, exporter, case.rich())
        case.harness.fault(*["status:503"] * ("status" in case.harness.faults), "ok")
        _unmodified(case, exporter, case.rich())
    case.observe("the batch is as it was")


def _unmodified(case: Case, exporter: Driven, batch: TokenBatch) -> None:
    _thaw(batch.metrics)
    before, frame = copy.deepcopy(batch.points), list(_frame(batch.metrics))
    fields = [(thing, set(vars(thing))) for thing in _things(batch.metrics)]
    case.export(exporter, batch)
    case.flush(exporter)
    after = list(flatten(batch.metrics))
    found = compare(before, after)
    if found.describe():
        raise Failed("the batch is as it was", found.corrupted[0] if found.corrupted else found.describe())
    if [point.token for point in after] != [point.token for point in before]:
        raise Failed("the batch is as it was", "its points are in another order")
    changed = _difference(frame, list(_frame(batch.metrics)))
    if changed:
        raise Failed("the batch is as it was", changed)
    for thing, names in fields:
        added = set(vars(thing)).difference(names)
        if added:
            seen = f"a {type(thing).__name__} has a further attribute, {', '.join(sorted(map(repr, added)))}"
            raise Failed("the batch is as it was", seen)


def _things(metrics: MetricsData) -> Iterator[object]:
    """Everything in the batch that could get an attribute, from the batch itself to the exemplars of its points."""
    for of_resource in metrics.resource_metrics:
        yield from (of_resource, of_resource.resource)
        for of_scope in of_resource.scope_metrics:
            yield of_scope
            for metric in of_scope.metrics:
                yield from (metric, metric.data)
                for point in metric.data.data_points:
                    yield from (*_parts(point), *point.exemplars)
    yield metrics


def _thaw(metrics: MetricsData) -> None:
    """Put a list in the place of each tuple: exemplars, buckets, bounds and attributes, as callers may have them."""
    for metric in metrics_in(metrics):
        for point in metric.data.data_points:
            for part in (*_parts(point), *point.exemplars):
                for name, value in vars(part).items():
                    if isinstance(value, tuple):
                        object.__setattr__(part, name, list(value))
            attributes: Any = point.attributes
            attributes.update({key: list(value) for key, value in attributes.items() if isinstance(value, tuple)})


def _parts(point: object) -> list[object]:
    """A point, and its buckets where it has some of their own."""
    return [point, *(part for name in ("positive", "negative") if (part := getattr(point, name, None)) is not None)]


class _Part(NamedTuple):
    """A resource, a scope or a metric without what it holds."""

    kind: str
    fields: Mapping[str, object]


def _frame(metrics: MetricsData) -> Iterator[_Part]:
    """List everything around the points, in order: resources, scopes, metrics, empty ones too."""
    for of_resource in metrics.resource_metrics:
        yield _part("resource", of_resource.resource, "attributes schema_url")
        yield _part("resource", of_resource, "schema_url")
        for of_scope in of_resource.scope_metrics:
            yield _part("scope", of_scope.scope, "name version schema_url attributes")
            yield _part("scope", of_scope, "schema_url")
            for metric in of_scope.metrics:
                yield _part("metric", metric, "name description unit")
                yield _part("metric", metric.data, "__class__ aggregation_temporality is_monotonic")


def _part(kind: str, of: object, names: str) -> _Part:
    return _Part(kind, {name: plain(getattr(of, name, None)) for name in names.split()})


def _difference(before: Sequence[_Part], after: Sequence[_Part]) -> str:
    """Say how one frame differs from the other; empty if it does not."""
    for kind in ("resource", "scope", "metric"):
        more = sum(part.kind == kind for part in after) - sum(part.kind == kind for part in before)
        if more:
            return f"a {kind} was {'added' if more > 0 else 'taken away'}"
    for was, now in zip(before, after, strict=True):
        if was.kind != now.kind:
            return f"a {now.kind} stands in another place"
        for name, value in was.fields.items():
            if now.fields[name] != value:
                return f"{name} of a {now.kind} is {now.fields[name]!r}, was {value!r}"
    return ""
