"""Workers are forked from one process that has imported the checker, and get nothing else from there or each other."""

import os
import signal
from pathlib import Path

import pytest

from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.fork_server import WorkerServer
from exporter_core.conformance.run.verdicts import Settings
from exporter_core.errors import SetupError

EXPORTER = """
    import os, sys
    from kit.reference import ReferenceExporter

    class Shows(ReferenceExporter):
        def force_flush(self, context):
            print("in", os.getcwd(), "with", os.environ.get("MARK"), "after", getattr(sys, "left", None), flush=True)
            sys.left = "another worker"
            os._exit(7)

    class KillsItsParent(ReferenceExporter):
        def force_flush(self, context):
            os.kill(os.getppid(), 9)
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shown.py").write_text("\n".join(line[4:] for line in EXPORTER.splitlines()))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def _seen(*clauses: str, name: str = "Shows") -> list[str]:
    report = check(f"shown:{name}", patterns=clauses, modes=["raw"], settings=Settings(patience=2, canaries=False))
    return [run.seen for run in report.runs.values()]


def test_a_worker_has_the_folder_and_the_environment_of_its_check_and_nothing_of_another_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = f"the worker process ended with exit code 7: in {tmp_path} with"
    monkeypatch.setenv("MARK", "one")
    assert _seen("FLU-02", "FLU-03") == [f"{ended} one after None"] * 2
    server = WorkerServer.get()
    monkeypatch.setenv("MARK", "two")
    assert _seen("FLU-02") == [f"{ended} two after None"]
    assert WorkerServer.get() is server


def test_a_fork_server_that_was_killed_is_replaced() -> None:
    server = WorkerServer.get()
    os.kill(server.pid, signal.SIGKILL)
    assert _seen("FLU-02")[0].startswith("the worker process ended with exit code 7")
    assert WorkerServer.get() is not server


def test_a_current_folder_that_is_gone_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SetupError, match="the current folder does not exist any more"):
        _seen("FLU-02")


def test_a_forked_child_has_a_fork_server_of_its_own() -> None:
    server = WorkerServer.get()
    if not (child := os.fork()):
        os._exit(WorkerServer._running is not None)
    assert os.waitpid(child, 0)[1] == 0
    assert WorkerServer.get() is server


def test_an_exporter_that_kills_its_parent_kills_no_check() -> None:
    assert len(_seen("FLU-02", "SHD-07", name="KillsItsParent")) == 2


def test_what_a_worker_leaves_that_ends_in_a_clause_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WorkerServer.get()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert _seen("FLU-02")[0].startswith("the worker process ended with exit code 7")
    assert not list(tmp_path.glob("conformance-*"))
