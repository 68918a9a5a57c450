"""Generated metrics: the same for the same seed, of every kind, and as the SDK would make them."""

from __future__ import annotations

import pytest

from exporter_core.conformance.generated import for_each_batch
from exporter_core.conformance.observe.tokens import TOKEN, Tokens, flatten, metrics_in


def _batches(seed: int, examples: int = 30):
    found = []
    for_each_batch(Tokens("generated"), seed, found.append, examples=examples)
    return found


def test_a_seed_makes_the_same_batches_again_and_another_seed_others() -> None:
    first, again, other = (
        [[point.fields for point in batch.points] for batch in _batches(seed, 8)] for seed in (1, 1, 2)
    )
    assert [[{**one, "attributes": None} for one in batch] for batch in first] == [
        [{**one, "attributes": None} for one in batch] for batch in again
    ]
    assert first != other


def test_batches_have_every_kind_of_point_each_with_an_identity_of_its_own() -> None:
    batches = _batches(1)
    kinds = {type(metric.data).__name__ for batch in batches for metric in metrics_in(batch.metrics)}
    assert kinds == {"Gauge", "Sum", "Histogram"}
    tokens = [token for batch in batches for token in batch.tokens]
    assert len(set(tokens)) == len(tokens) > len(batches)
    for batch in batches:
        assert tuple(flatten(batch.metrics)) == batch.points


def test_histograms_count_what_was_recorded() -> None:
    seen = 0
    for batch in _batches(3):
        for metric in metrics_in(batch.metrics):
            for point in metric.data.data_points if type(metric.data).__name__ == "Histogram" else ():
                assert sum(point.bucket_counts) == point.count
                assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
                assert list(point.explicit_bounds) == sorted(set(point.explicit_bounds))
                assert TOKEN in point.attributes
                seen += 1
    assert seen


def test_what_a_check_raises_ends_the_run_at_once() -> None:
    calls = []

    def check(batch):
        calls.append(batch)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        for_each_batch(Tokens("generated"), 1, check, examples=5)
    assert len(calls) == 1
