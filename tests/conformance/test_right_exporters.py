"""Exporters that keep the contract in another way than the reference exporters do are not failed."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from exporter_core.conformance.clause import select
from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.run_clause import run_clause
from exporter_core.conformance.run.verdicts import Run, Settings, Verdict
from exporter_core.conformance.subject import resolve
from kit.reference import BufferingHarness, ReferenceExporter


class DeliversEarly(ReferenceExporter):
    """May hold data, and has delivered it before anybody asks for it."""

    conformance_harness = BufferingHarness


class FlushReturns(DeliversEarly):
    """Delivers nothing, and says in a flush that it has."""

    def export(self, context, metrics) -> None:
        pass


class HasAProcess(ReferenceExporter):
    """Starts a process of its own at the first export, and joins it in a shutdown."""

    method = ""
    _process: Any = None

    def export(self, context, metrics) -> None:
        self._refuse()
        if self._process is None:
            made = multiprocessing.get_context(self.method)
            self._queue = made.SimpleQueue()
            self._process = made.Process(target=self._queue.get, daemon=True)
            self._process.start()
        super().export(context, metrics)

    def _disconnect(self) -> None:
        if self._process is not None:
            self._queue.put(None)
            self._process.join()
            self._process.close()
            self._queue.close()
            self._process = None
        super()._disconnect()


class Spawns(HasAProcess):
    """By ``spawn``, with which comes the process that tracks resources."""

    method = "spawn"


class AsksTheServer(HasAProcess):
    """By ``forkserver``, with which comes that server too."""

    method = "forkserver"


def _run(exporter: type[ReferenceExporter], clause: str) -> Run:
    (found,) = select([clause])
    subject = resolve(f"{__name__}:{exporter.__name__}")
    return run_clause(found, subject, "raw", Settings(patience=5), {})


@pytest.mark.parametrize("clause", ["FLU-01", "FLU-04"])
def test_what_is_delivered_before_a_flush_is_no_failure_of_the_flush(clause: str) -> None:
    run = _run(DeliversEarly, clause)
    assert (run.verdict, run.canary) == (Verdict.PASS, "died"), run.seen


@pytest.mark.parametrize("clause", ["FLU-01", "FLU-04"])
def test_what_is_never_delivered_is_one(clause: str) -> None:
    run = _run(FlushReturns, clause)
    assert run.verdict is Verdict.FAIL
    assert run.seen.startswith("it returned")


@pytest.mark.parametrize("exporter", ["Spawns", pytest.param("AsksTheServer", marks=pytest.mark.nightly)])
def test_what_multiprocessing_keeps_to_the_end_of_the_process_is_not_left_by_the_exporter(
    exporter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    target, settings = f"{Path(__file__).stem}:{exporter}", Settings(patience=60, canaries=False)
    run = check(target, patterns=["SHD-02"], modes=["raw"], settings=settings).run("SHD-02", "raw")
    assert run.verdict is Verdict.PASS, run.seen
