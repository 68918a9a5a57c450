"""The contract as a state machine: the exporters that keep it pass, and wrong ones are found by sequences of calls."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from exporter_core.conformance.model import contract_machine
from exporter_core.conformance.subject import Subject, resolve
from exporter_core.errors import SetupError
from exporter_core.testing import FakeExporter
from kit.mutants import MUTANTS

FIXED = settings(
    max_examples=40,
    stateful_step_count=15,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
"""None of the examples is made shorter."""

SEED = 1
"""Makes the same examples each time; without it, they would depend on the source text of the model."""

REFERENCE = "kit.reference"


def run(subject: Subject, mode: str = "raw", **changed: int) -> None:
    run_state_machine_as_test(seed(SEED)(contract_machine(subject, mode)), settings=settings(FIXED, **changed))


@pytest.mark.parametrize(
    ("exporter", "mode"),
    [
        ("ReferenceExporter", "raw"),
        ("BufferingExporter", "guarded"),
        ("AsyncExporter", "raw"),
        pytest.param("ReferenceExporter", "guarded", marks=pytest.mark.nightly),
        pytest.param("BufferingExporter", "raw", marks=pytest.mark.nightly),
        pytest.param("AsyncExporter", "guarded", marks=pytest.mark.nightly),
    ],
)
def test_a_reference_exporter_is_what_the_model_says(exporter: str, mode: str) -> None:
    run(resolve(f"{REFERENCE}:{exporter}"), mode)


@pytest.mark.parametrize("name", ["console", "sqlite"])
def test_a_first_party_exporter_is_what_the_model_says(name: str) -> None:
    run(resolve(name), max_examples=10, stateful_step_count=10)


FOUND = {
    "Flips": "stays",
    "DropsPoint": "every accepted point has arrived",
    "ClaimsToHoldNothing": "as nothing is held",
    "SendsTwice": "at most once",
    "DoesNotLook": "export with a context that is done raises",
    "SwallowsFailure": "export to a backend that refuses raises",
    "Poisoned": "export returns; seen: it raised ExporterError: an earlier export failed",
    "Annotates": "leaves its input as it was",
    "FlushDoesNotLook": "force_flush with a context that is done raises",
    "DropsBuffer": "has arrived when shutdown returns",
    "ShutdownLeavesEarly": "after shutdown|a second shutdown raises",
    "StillSends": "nothing of an export after shutdown arrives",
    "ReturnsAfterShutdown": "export after shutdown raises",
    "SecondShutdownReturns": "a second shutdown raises",
}


@pytest.mark.parametrize("name", FOUND)
def test_the_model_finds_a_mutant(name: str) -> None:
    target = next(mutant.target for mutant in MUTANTS if mutant.exporter.__name__ == name)
    with pytest.raises(AssertionError, match=FOUND[name]):
        run(resolve(target), max_examples=200)


def test_the_guard_keeps_for_an_exporter_what_the_model_misses_in_it() -> None:
    for name in ("DoesNotLook", "FlushDoesNotLook", "ShutdownLeavesEarly", "ReturnsAfterShutdown", "StillSends"):
        target = next(mutant.target for mutant in MUTANTS if mutant.exporter.__name__ == name)
        run(resolve(target), "guarded", max_examples=10)


def test_an_exporter_without_a_harness_has_nothing_to_compare() -> None:
    with pytest.raises(SetupError, match="'fake' has no harness"):
        contract_machine(Subject("fake", FakeExporter, None, None))
