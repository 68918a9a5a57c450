"""KND: what an exporter answers about instrument kinds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
from opentelemetry.sdk.metrics.view import Aggregation, DefaultAggregation

from exporter_core.conformance.base_case import describe_call
from exporter_core.conformance.clause import clause
from exporter_core.conformance.clauses.canary import Canary, Serialised
from exporter_core.conformance.observe.journal import words_of
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError
from exporter_core.conformance.scheduled import exercised
from exporter_core.conformance.sdk import SdkDriver
from exporter_core.contract import InstrumentKind
from exporter_core.errors import ContractError, PluginLoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.rounds import Round
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context

_WORDS = (
    "Never None. Safe beside every other operation and itself, and never blocked by one, also after shutdown. "
    "A plain function, never async."
)


def _answers(
    exporter: Driven, kinds: Iterable[InstrumentKind] = InstrumentKind
) -> dict[InstrumentKind, tuple[object, ...]]:
    return {kind: (exporter.temporality(kind), *_described(exporter.aggregation(kind))) for kind in kinds}


def _answer(case: Case, name: str, ask: Callable[[], object], when: str = "") -> Any:  # Any: what a wrong exporter says
    """The answer; fails the clause if it is an error, or never comes."""
    call = case.do(name, ask)
    if call.error is not None:
        raise Failed(f"an answer of {name}{when and ' '}{when}", describe_call(call)) from call.error
    return call.result


def _described(aggregation: object) -> tuple[object, ...]:
    """The type of an aggregation, and those of its options that can be compared."""
    options = vars(aggregation) if hasattr(aggregation, "__dict__") else {}
    plain = {name: value for name, value in options.items() if isinstance(value, bool | int | float | str | tuple)}
    return type(aggregation), plain


class NoneForGauge(Canary):
    """Answers None for gauges."""

    def temporality(self, instrument_kind: InstrumentKind) -> Any:
        return None if instrument_kind is InstrumentKind.GAUGE else self.inner.temporality(instrument_kind)


@clause(
    "KND-01",
    "MUST",
    "a valid temporality and aggregation for every kind",
    words=_WORDS,
    technique="S",
    check="every branch of temporality and aggregation returns a value",
    canary=NoneForGauge,
)
def valid(case: Case) -> None:
    """Ask for both answers for each of the seven kinds; if the guard cannot be built, ask the exporter itself. An
    exporter of the SDK is one that the SDK can make a reader over.
    """
    try:
        exporter = case.exporter()
    except (ContractError, PluginLoadError) as error:
        _have_both(case, case.plain_exporter("raw"))
        raise VerdictError(Verdict.INCONCLUSIVE, f"the exporter cannot be built: {words_of(error)}") from error
    _have_both(case, exporter)
    if isinstance(exporter, SdkDriver):
        call = case.do("PeriodicExportingMetricReader", exporter.read)
        if call.error is not None:
            raise Failed("the SDK makes a reader over it", describe_call(call)) from call.error
    case.observe("both answers are valid for every kind")


def _have_both(case: Case, exporter: Driven) -> None:
    for kind in InstrumentKind:
        temporality = _answer(case, f"temporality({kind})", partial(exporter.temporality, kind))
        aggregation = _answer(case, f"aggregation({kind})", partial(exporter.aggregation, kind))
        if not isinstance(temporality, AggregationTemporality) or temporality == AggregationTemporality.UNSPECIFIED:
            raise Failed(f"temporality({kind}) is CUMULATIVE or DELTA", f"it is {temporality!r}")
        if not isinstance(aggregation, Aggregation):
            raise Failed(f"aggregation({kind}) is an Aggregation", f"it is {aggregation!r}")


class Flips(Canary):
    """Answers another temporality once it has exported."""

    _exported = False

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        answer = self.inner.temporality(instrument_kind)
        cumulative, delta = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA
        return (delta if answer == cumulative else cumulative) if self._exported else answer

    def export(self, context: Context, metrics: MetricsData) -> object:
        self._exported = True
        return self.inner.export(context, metrics)


@clause(
    "KND-02",
    "SHOULD",
    "the same answer before and after export and shutdown",
    words=_WORDS,
    technique="S",
    check="answers depend on the options alone",
    canary=Flips,
    derived=True,
    after=("KND-01",),
)
def stable(case: Case) -> None:
    """Ask, export, ask, flush, ask, let an export fail if the harness can, ask, shut down, ask."""
    exporter = case.exporter()

    def answers_now(when: str) -> dict[InstrumentKind, tuple[object, ...]]:
        answers: dict[InstrumentKind, tuple[object, ...]] = _answer(
            case, "temporality and aggregation", partial(_answers, exporter), when
        )
        return answers

    before = answers_now("before an export")
    case.export(exporter)
    later = {"an export": answers_now("after an export")}
    case.flush(exporter)
    later["a flush"] = answers_now("after a flush")
    if case.has_harness and "status" in case.harness.faults:
        case.harness.fault("status:400", "ok")
        case.sent(exporter, case.batch(), case.short_context(case.patience / 2))
        later["a failed export"] = answers_now("after a failed export")
    case.shut_down(exporter)
    for when, answers in {**later, "shutdown": answers_now("after shutdown")}.items():
        for kind, answer in answers.items():
            if answer != before[kind]:
                raise Failed(f"the same answer for {kind} after {when}", f"it was {before[kind]}, and is {answer}")
    case.observe("the answers stayed the same")


class _Options(DefaultAggregation):
    shared: dict[str, object]


class SharesAnswer(Canary):
    """Hands out one dictionary of its own in every answer."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self._shared: dict[str, object] = {}

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:  # noqa: ARG002 - the same for all
        answer = _Options()
        answer.shared = self._shared
        return answer


@clause(
    "KND-03",
    "SHOULD",
    "the answer is not shared mutable state",
    words=_WORDS,
    technique="S",
    check="hand out a new object, or one that holds nothing that can be changed",
    canary=SharesAnswer,
    derived=True,
    after=("KND-01",),
)
def unshared(case: Case) -> None:
    """Change what an answer holds, and ask again."""
    exporter = case.exporter()
    for kind in InstrumentKind:
        name, ask = f"aggregation({kind})", partial(exporter.aggregation, kind)
        for held in _containers(_answer(case, name, ask)):
            _spoil(held)
        for held in _containers(_answer(case, name, ask, "once more")):
            if _SPOILT in held:
                raise Failed(f"another aggregation({kind}) for every caller", "a change of one answer is in the next")
    case.observe("a change of one answer is not in the next")


_SPOILT = "conformance.spoilt"


def _containers(answer: object) -> list[Any]:
    return [value for value in getattr(answer, "__dict__", {}).values() if isinstance(value, dict | list | set)]


def _spoil(held: Any) -> None:  # Any: a dictionary, a list or a set
    if isinstance(held, dict):
        held[_SPOILT] = True
    elif isinstance(held, list):
        held.append(_SPOILT)
    else:
        held.add(_SPOILT)


class HalfBuiltCache(Canary):
    """Answers from a cache that another caller may still be filling."""

    seed = 2
    _cache: dict[InstrumentKind, AggregationTemporality] | None = None

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        if self._cache is None:
            self._cache = {}
            self.between()
            for one in InstrumentKind:
                self._cache[one] = self.inner.temporality(one)
        return self._cache[instrument_kind]


@clause(
    "KND-04",
    "MUST",
    "concurrent with itself",
    words=_WORDS,
    technique="P",
    check="build a cache of answers completely before others can see it",
    canary=HalfBuiltCache,
    after=("KND-01",),
)
def concurrent(case: Case) -> None:
    """Ask for every kind on three threads, one in the opposite order: all get the answers that a lone caller gets."""
    kinds = list(InstrumentKind)

    def scenario(one: Round) -> None:
        exporter = one.exporter()
        orders = (kinds, kinds[::-1], kinds)
        askers = [one.step("temporality", lambda o=order: _answers(exporter, o)) for order in orders]  # type: ignore[misc]  # binds
        one.beside(*([asker] for asker in askers))
        lone = one.step("temporality", lambda: _answers(exporter))
        one.alone(lone)
        for asker in (lone, *askers):
            if asker.error is not None:
                raise Failed("temporality and aggregation answer beside themselves", describe_call(asker))
            if asker.result != lone.result:
                raise Failed(f"the answers {lone.result} beside themselves", f"they were {asker.result}")

    exercised(case, scenario, "temporality and aggregation answered alike beside themselves", reaching=False)


class LocksAnswers(Serialised):
    """Answers under the lock that it exports under."""

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        with self.turn():
            return self.inner.temporality(instrument_kind)


@clause(
    "KND-05",
    "MUST",
    "never blocked by a running export, flush or shutdown",
    words=_WORDS,
    technique="G",
    check="temporality and aggregation take no lock that an export holds",
    canary=LocksAnswers,
    after=("KND-01",),
    needs=("gate",),
)
def unblocked(case: Case) -> None:
    """Ask while an export waits at the shut gate, and while a flush and a shutdown wait behind it."""
    exporter = case.exporter()
    parked = case.send_to_gate(exporter)
    _asked(case, exporter, "an export stood before the gate")
    if parked.over:
        raise VerdictError(Verdict.INCONCLUSIVE, "the export that was parked has ended")
    flush = case.started("force_flush", lambda: exporter.force_flush(case.long_context()))
    _asked(case, exporter, "a flush was called beside it")
    stopping = case.started("shutdown", lambda: exporter.shutdown(case.long_context()))
    _asked(case, exporter, "a shutdown was called beside it")
    case.open_for(stopping, flush)


def _asked(case: Case, exporter: Driven, when: str) -> None:
    case.succeeded(case.do("temporality", lambda: _answers(exporter)))
    case.observe(f"answers came while {when}")
