"""What a call has to end by: its context, not a time-out of its own that is over before the checker's patience is."""

import re
import textwrap
from pathlib import Path

import pytest

from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.verdicts import Report, Settings, Verdict

DEADLINES, CANCELLATIONS = ("EXP-06", "EXP-08", "EXP-09"), ("EXP-10", "EXP-11")
CLAUSES = (*DEADLINES, *CANCELLATIONS, "SHD-04")

EXPORTERS = """
    import asyncio
    import time

    from kit.reference import AsyncExporter, ReferenceExporter
    from exporter_core.context import Context
    from exporter_core.errors import ExporterError

    class Own(ReferenceExporter):
        def export(self, context, metrics):
            self._refuse()
            context.raise_if_done()
            super().export(Context.with_timeout(1), metrics)

        def shutdown(self, context):
            super().shutdown(context if context.done else Context.with_timeout(1))

    class Slow(ReferenceExporter):
        def _after(self, context):
            if context.done:
                time.sleep(0.15)  # as on a busy machine

        def export(self, context, metrics):
            try:
                super().export(context, metrics)
            finally:
                self._after(context)

        def shutdown(self, context):
            try:
                super().shutdown(context)
            finally:
                self._after(context)

    class GivesUp(ReferenceExporter):
        def _wait(self, context, wait):
            if wait.kind != "pause" or wait.seconds < 60:
                return super()._wait(context, wait)
            if context.deadline is not None:
                time.sleep((context.remaining() or 0.0) + 0.2)  # as on a busy machine, which is not busy the next time
            raise ExporterError("the backend asks for too much time")

    class CleansUp(AsyncExporter):
        async def export(self, context, metrics):
            try:
                await super().export(context, metrics)
            except asyncio.CancelledError:
                await asyncio.sleep(0.15)
                raise

    class Swallows(AsyncExporter):
        async def export(self, context, metrics):
            self._refuse()
            context.raise_if_done()
            task = asyncio.ensure_future(self._deliver_async(Context.background(), metrics))
            while not task.done():
                try:
                    await asyncio.shield(task)
                except asyncio.CancelledError:
                    pass
            return task.result()

    class BlocksLoop(AsyncExporter):
        async def export(self, context, metrics):
            self._refuse()
            context.raise_if_done()
            ReferenceExporter._deliver(self, Context.background(), metrics)
"""


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "ending.py").write_text(textwrap.dedent(EXPORTERS))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def run(name: str, *clauses: str, mode: str = "raw", patience: float = 20) -> Report:
        settings = Settings(patience=patience, canaries=False)
        return check(f"ending:{name}", patterns=clauses or CLAUSES, modes=[mode], settings=settings)

    return run


def verdicts(report: Report) -> dict[str, Verdict]:
    return {clause: run.verdict for (clause, _), run in report.runs.items()}


def test_a_call_that_ends_by_itself_is_not_taken_for_one_that_its_context_ends(checked) -> None:
    report = checked("Own")
    assert verdicts(report) == dict.fromkeys(CLAUSES, Verdict.FAIL)
    run = report.run("EXP-06", "raw")
    assert run.expected == "export ends at its deadline while the gate was shut"
    seen = r"it ended \d{3,} ms later( while the gate was shut)?, as it does "
    for clause in CLAUSES:
        without = "when it is not cancelled" if clause in CANCELLATIONS else "without a deadline"
        assert re.fullmatch(seen + without, report.run(clause, "raw").seen), clause


def test_the_guard_ends_a_call_that_would_end_by_itself(checked) -> None:
    assert verdicts(checked("Own", mode="guarded")) == dict.fromkeys(CLAUSES, Verdict.PASS)


@pytest.mark.nightly
def test_a_call_that_is_merely_late_is_held_up_without_its_context_and_passes(checked) -> None:
    report = checked("Slow")
    assert verdicts(report) == dict.fromkeys(CLAUSES, Verdict.PASS)
    for clause in {*CLAUSES} - {"SHD-04"}:
        said = " ".join(report.run(clause, "raw").observations)
        late = "cancellation" if clause in CANCELLATIONS else "deadline"
        assert re.search(
            rf"export ended by its context: without, it had not after \d+\.\d s.* ms after its {late}", said
        )


def test_a_call_that_gives_up_at_once_passes_however_late_a_busy_machine_makes_it(checked) -> None:
    run = checked("GivesUp", "EXP-09").run("EXP-09", "raw")
    assert run.verdict is Verdict.PASS
    late = re.compile(r"export raised ExporterError with Retry-After: 3600, \d{3,} ms after its deadline")
    assert any(map(late.fullmatch, run.observations))


@pytest.mark.nightly
def test_an_async_call_may_clean_up_when_its_task_is_cancelled(checked) -> None:
    assert verdicts(checked("CleansUp")) == dict.fromkeys(CLAUSES, Verdict.PASS)


@pytest.mark.nightly
def test_an_async_call_is_over_when_its_task_is(checked) -> None:
    clauses = (*DEADLINES, *CANCELLATIONS)
    for name in ("Swallows", "BlocksLoop"):
        report = checked(name, *clauses, patience=1)
        assert verdicts(report) == dict.fromkeys(clauses, Verdict.FAIL), name
        assert {report.run(clause, "raw").seen.partition(" while")[0] for clause in clauses} == {
            "export had not ended 1 s later"
        }
