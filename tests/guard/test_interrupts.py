"""Ctrl-C at every point of an operation where Python can deliver it."""

from __future__ import annotations

import pytest

from exporter_core.context import Context
from exporter_core.errors import ExporterCoreError
from exporter_core.guard import GuardState
from exporter_core.testing import FakeExporter

runners = pytest.mark.parametrize("runner", ["thread", "inline"])


class Moments:
    """A clock that tells whether anybody waits, and lets nobody."""

    def __init__(self) -> None:
        self.waited = False

    def monotonic(self) -> float:
        return 0.0

    def wait(self, signal: object, timeout: float | None) -> None:
        self.waited = True
        raise AssertionError("it would wait")


class Exporter(FakeExporter):
    """Counts its shutdowns, beside what is traced."""

    shutdowns = 0

    def shutdown(self, context: Context) -> None:
        self.shutdowns += 1


@runners
def test_a_shutdown_interrupted_anywhere_releases_the_exporter_once_and_nobody_waits_for_it(
    guarded, runner, interrupted, context, until
):
    def begin():
        exporter = Exporter()
        guard = guarded(exporter, runner=runner)
        return lambda: guard.shutdown(context), lambda: (exporter, guard)

    for place, (exporter, guard) in interrupted(begin):
        if guard.state is GuardState.ACTIVE:  # before it began
            guard.shutdown(context)
        else:
            assert guard.state is GuardState.SHUT_DOWN, place
            with pytest.raises(ExporterCoreError):
                guard.shutdown(Context(deadline=1.0, clock=Moments()))
        if runner == "thread":
            until(lambda exporter=exporter: exporter.shutdowns)
        assert exporter.shutdowns == 1, place


@runners
def test_the_exporter_goes_on_after_an_export_interrupted_anywhere(
    guarded, runner, interrupted, context, metrics, until
):
    def begin():
        exporter = FakeExporter()
        guard = guarded(exporter, runner=runner)
        return lambda: guard.export(context, metrics), lambda: guard

    for place, guard in interrupted(begin):
        until(lambda guard=guard: not guard.busy)
        if runner == "inline":
            guard.export(Context(deadline=1.0, clock=Moments()), metrics)
        else:
            guard.export(context, metrics)
        assert guard.stats().exports_ok >= 1, place
