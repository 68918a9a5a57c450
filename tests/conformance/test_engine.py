"""The run goes on whatever becomes of a worker, a harness or a subject."""

import textwrap
from pathlib import Path

import pytest

from exporter_core.conformance.clause import select
from exporter_core.conformance.run import pool
from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.verdicts import Settings, Verdict
from exporter_core.errors import SetupError

EXPORTER = """
    import ctypes, os, signal, threading, time
    from exporter_core.conformance import Harness, flatten
    from kit.memory import MemoryHarness
    from kit.reference import ReferenceExporter

    class BrokenHarness(MemoryHarness):
        def read_back(self):
            raise OSError("the disk is gone")

    class RealHarness(MemoryHarness):
        real = True

    class Plain(ReferenceExporter):
        pass

    class Broken(ReferenceExporter):
        conformance_harness = BrokenHarness

    class Real(ReferenceExporter):
        conformance_harness = RealHarness

    class Dies(ReferenceExporter):
        def force_flush(self, context):
            os._exit(7)

    class DiesWithASecret(ReferenceExporter):
        def force_flush(self, context):
            print("refused:", self.config.token.get_secret_value(), "\\n", flush=True)
            os._exit(7)

    class ComesBackTwice(ReferenceExporter):
        def __init__(self, config):
            super().__init__(config)
            if threading.current_thread() is threading.main_thread():
                os.fork()

    class Killed(ReferenceExporter):
        def force_flush(self, context):
            os.kill(os.getpid(), signal.SIGKILL)

    class HoldsTheInterpreter(ReferenceExporter):
        def force_flush(self, context):
            ctypes.PyDLL(None).sleep(600)  # unlike CDLL, it keeps the interpreter's lock

    class DropsMany(ReferenceExporter):
        # Loses large batches, once another process has exported as well.
        def export(self, context, metrics):
            with open(os.environ["MARK"], "a") as file:
                type(self).marked = getattr(self, "marked", False) or file.write("x")
            if len(list(flatten(metrics))) < 1_000:
                super().export(context, metrics)
                return
            while os.stat(os.environ["MARK"]).st_size < 2 and not context.done:
                time.sleep(0.001)

    class CannotBeBuilt(ReferenceExporter):
        def __init__(self, config):
            raise OSError("no such device")
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checked_exporters.py").write_text(textwrap.dedent(EXPORTER))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def _runs(name: str, *patterns: str, **options):
    settings = Settings(patience=0.5, canaries=False, points=2_021)
    report = check(f"checked_exporters:{name}", patterns=patterns, modes=["raw"], settings=settings, **options)
    return {clause: run for (clause, _), run in report.runs.items()}


def test_a_process_that_dies_fails_its_clause_and_the_next_ones_are_run() -> None:
    runs = _runs("Dies", "FLU-02", "SHD-07")
    assert runs["FLU-02"].verdict is Verdict.FAIL
    assert "exit code 7" in runs["FLU-02"].seen
    assert runs["SHD-07"].verdict is Verdict.PASS


def test_the_last_words_of_a_process_that_dies_are_told_without_their_secrets() -> None:
    runs = _runs("DiesWithASecret", "FLU-02")
    assert runs["FLU-02"].seen == "the worker process ended with exit code 7: refused: ***"


def test_a_child_that_an_exporter_has_forked_says_nothing_of_the_clauses() -> None:
    runs = _runs("ComesBackTwice", "KND-0[12]", "EXP-01", "SHD-07")
    assert {clause: run.verdict for clause, run in runs.items()} == dict.fromkeys(runs, Verdict.PASS)
    assert len(runs) == 4


def test_a_worker_that_is_killed_leaves_its_clause_inconclusive() -> None:
    runs = _runs("Killed", "FLU-02", "SHD-07")
    assert runs["FLU-02"].verdict is Verdict.INCONCLUSIVE
    assert "SIGKILL" in runs["FLU-02"].seen
    assert runs["SHD-07"].verdict is Verdict.PASS


def test_a_process_that_hangs_leaves_its_stacks_and_the_next_clauses_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_SPARE", 0.0)
    monkeypatch.setattr(pool, "_BUSIEST", 1.0)
    runs = _runs("HoldsTheInterpreter", "FLU-02", "SHD-07")
    assert runs["FLU-02"].verdict is Verdict.FAIL
    assert "hung and was killed" in runs["FLU-02"].seen
    assert "in force_flush" in runs["FLU-02"].dump
    assert runs["SHD-07"].verdict is Verdict.PASS


def test_a_harness_that_raises_is_an_error_of_the_kit() -> None:
    run = _runs("Broken", "EXP-01")["EXP-01"]
    assert run.verdict is Verdict.KIT_ERROR
    assert run.seen == "the harness failed in read_back: OSError: the disk is gone"


def test_an_exporter_that_cannot_be_built_is_an_error() -> None:
    with pytest.raises(SetupError, match=r"'checked_exporters:CannotBeBuilt' cannot be built: OSError: no such device"):
        _runs("CannotBeBuilt", "SHD-07")


def test_a_clause_whose_foundation_failed_is_blocked() -> None:
    report = check(
        "kit.mutants.data:DropsPoint",
        patterns=["EXP-0[13]"],
        modes=["raw"],
        settings=Settings(canaries=False),
    )
    assert report.run("EXP-03", "raw").verdict is Verdict.BLOCKED
    assert report.run("EXP-03", "raw").seen == "EXP-01 failed first"


SOME = ("EXP-0[1-5]", "FLU-0[12]", "SHD-01", "SHD-0[5-7]", "KND-0[1-3]")


def test_a_clause_that_ran_ahead_of_one_that_it_builds_on_is_blocked_when_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARK", str(tmp_path / "exported"))
    runs = _runs("DropsMany", *SOME)
    assert len((tmp_path / "exported").read_text()) > 1  # another worker has exported before EXP-01 has failed
    assert [clause for clause, run in runs.items() if run.verdict is Verdict.FAIL] == ["EXP-01"]
    blocked = {clause for clause, run in runs.items() if run.seen == "EXP-01 failed first"}
    assert blocked == {one.id for one in select(SOME) if "EXP-01" in one.foundations} != set()
    assert runs["EXP-05"].verdict is Verdict.PASS


def test_with_options_that_may_point_elsewhere_no_clause_runs_ahead() -> None:
    ended: set[str] = set()
    early: set[str] = set()
    known = {one.id: one for one in select()}
    _runs(
        "Plain",
        *SOME,
        options={"token": "mine"},
        progress=lambda run: ended.add(run.id),
        begun=lambda clause, _mode: early.update({clause} - ended if "EXP-01" not in ended else ()),
    )
    assert {"EXP-01"} <= early
    assert not any(known[clause].is_about_deliveries for clause in early)


def test_a_real_backend_is_refused_and_if_allowed_gets_no_canary() -> None:
    with pytest.raises(SetupError, match="--allow-real-backend"):
        _runs("Real", "EXP-01")
    report = check("checked_exporters:Real", patterns=["EXP-01"], modes=["raw"], allow_real_backend=True)
    assert report.run("EXP-01", "raw").canary == "not run"
