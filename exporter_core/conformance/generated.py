"""Metrics data that Hypothesis makes up: what nobody thought of when the fixed examples were written.

The values are those that any format can be expected to carry, or its harness to declare: no surrogates and no control
characters. A seed makes the same batches again, with the same version of Hypothesis.
"""

from __future__ import annotations

import copy
from bisect import bisect_left
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings, strategies as st
from hypothesis.internal.conjecture import providers
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

from exporter_core.conformance.observe.tokens import TokenBatch, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_EXAMPLES: Final = 12
_START: Final = 1_700_000_000_000_000_000
_TIME: Final = 1_700_000_060_000_000_000

_LETTERS: Final = "aZ09 .:-_/\\\"'`=,;{}()<>&%#\u00e9\u0416\u4e2d\u2699\U0001f9ed"
_text: Final = st.lists(st.sampled_from(_LETTERS), max_size=8).map("".join)  # st.text reads all of Unicode first
_names: Final = st.lists(st.sampled_from("abz019_."), max_size=8).map("".join).map("n{}".format)
_integers: Final = st.integers(-(2**63), 2**63 - 1)
_values: Final = _integers | st.floats()
_finite: Final = st.floats(allow_nan=False, allow_infinity=False)  # formats have texts for others, as for their like
_plain_values: Final = st.one_of(_text, _integers, _finite, st.booleans())
_attributes: Final = st.dictionaries(_names, _plain_values | st.lists(_text, max_size=3).map(tuple), max_size=4)
_temporalities: Final = st.sampled_from([AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
_recorded: Final = st.floats(-1e6, 1e6)


def batches(tokens: Tokens) -> st.SearchStrategy[TokenBatch]:
    """Gauges, sums and histograms, whose points get their identities from ``tokens``."""
    attributes = _attributes.map(lambda own: tokens.identified(**own))
    numbers = st.builds(NumberDataPoint, attributes, st.just(_START), st.just(_TIME), _values)
    growing = st.builds(NumberDataPoint, attributes, st.just(_START), st.just(_TIME), st.integers(0, 2**63 - 1))
    histograms = st.builds(_histogram, attributes, st.lists(_recorded, max_size=5), st.sets(_recorded, max_size=3))

    def some(points: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:  # Any: a kind of point
        return st.lists(points, min_size=1, max_size=3)

    data = st.one_of(
        st.builds(Gauge, some(numbers)),
        st.builds(Sum, some(numbers), _temporalities, st.just(False)),
        st.builds(Sum, some(growing), _temporalities, st.just(True)),
        st.builds(Histogram, some(histograms), _temporalities),
    )
    named = _names.map("conformance.{}".format)
    metrics = st.builds(Metric, named, _text, st.sampled_from(["", "1", "By", "{request}"]), data)
    return st.lists(metrics, min_size=1, max_size=3, unique_by=lambda metric: metric.name).map(tokens.of)


def _histogram(attributes: dict[str, Any], recorded: list[float], bounds: set[float]) -> HistogramDataPoint:
    """The point that the SDK makes of these measurements."""
    ordered = sorted(bounds)
    counts = [0] * (len(ordered) + 1)
    for value in recorded:
        counts[bisect_left(ordered, value)] += 1
    least, most = min(recorded, default=float("inf")), max(recorded, default=float("-inf"))
    return HistogramDataPoint(
        attributes, _START, _TIME, len(recorded), float(sum(recorded)), counts, ordered, least, most
    )


def batches_of(number: int) -> list[TokenBatch]:
    """Batches of this number, which a process and all that are forked from it make once; copies of the caller's own."""
    return [replace(batch, metrics=copy.deepcopy(batch.metrics)) for batch in _made(number)]


@cache
def _made(number: int) -> list[TokenBatch]:
    made: list[TokenBatch] = []
    for_each_batch(Tokens(f"generated-{number}"), number, made.append, examples=_EXAMPLES)
    return made


def for_each_batch(tokens: Tokens, number: int, check: Callable[[TokenBatch], None], *, examples: int) -> None:
    """Call ``check`` with so many batches, the same ones for the same number; raises what it raises first, at once."""
    failures: list[Exception] = []

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(batches(tokens))
    def run(batch: TokenBatch) -> None:
        if failures:  # Hypothesis looks whether it fails again; what was sent once is not sent again
            raise failures[0]
        try:
            check(batch)
        except Exception as error:
            failures.append(error)
            raise

    with _without_constants_of_code():
        run()


@contextmanager
def _without_constants_of_code() -> Iterator[None]:
    """Let Hypothesis try no constants of the code that is loaded: it would parse all of it, and no batch would be the
    same with other code.
    """
    provider: Any = providers.HypothesisProvider  # Any: of this a private attribute is replaced
    constants = vars(provider).get("_local_constants")
    if constants is None:  # a version that has none
        yield
        return
    provider._local_constants = type(providers.GLOBAL_CONSTANTS)()
    try:
        yield
    finally:
        provider._local_constants = constants
