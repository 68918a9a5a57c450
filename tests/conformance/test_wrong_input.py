"""What is wrong with what the checker is given: one line each, its exit code, and the report of what there is."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from ports import free_port

from exporter_core.cli import main
from exporter_core.cli.check import options_of
from exporter_core.conformance.clause import select
from exporter_core.conformance.observe import first_state
from exporter_core.conformance.report.json_report import reproduce
from exporter_core.conformance.run import pool, serving
from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.messages import Message, Refused, Secrets, WorkerSetup
from exporter_core.conformance.run.run_clause import run_clause
from exporter_core.conformance.run.verdicts import Settings, Verdict
from exporter_core.conformance.subject import resolve
from exporter_core.errors import SetupError

MODULE = '''
    import os, sys, time
    from pathlib import Path
    from pydantic import Field, SecretStr
    from exporter_core import Exporter, ExporterConfig
    from exporter_core.conformance import Capabilities, Harness
    from kit.memory import MemoryHarness
    from kit.reference import BufferingExporter, ReferenceExporter

    class Setup(MemoryHarness):
        def setup(self, directory, stamp):
            raise OSError("the disk is gone")

    class Config(MemoryHarness):
        def config(self):
            raise OSError("the disk is gone")

    class ReadBack(MemoryHarness):
        def read_back(self):
            yield from ()
            raise OSError("the disk is gone")

    class Shut(MemoryHarness):
        def shut(self):
            raise OSError("the disk is gone")

    class Teardown(MemoryHarness):
        def teardown(self):
            super().teardown()
            raise OSError("the disk is gone")

    class Init(MemoryHarness):
        def __init__(self):
            raise OSError("the disk is gone")

    class WireLog(MemoryHarness):
        def wire_log(self):
            yield from ()
            raise OSError("the disk is gone")

    class Exits(MemoryHarness):
        def setup(self, directory, stamp):
            raise SystemExit("no licence")

    class NoConfig(MemoryHarness):
        def config(self):
            return None

    class Real(MemoryHarness):
        real = True

    class WrongOptions(MemoryHarness):
        def config(self):
            return {**super().config(), "sinck": 3}

    def with_harness(harness):
        return type(harness.__name__, (ReferenceExporter,), {"conformance_harness": harness, "__module__": __name__})

    InSetup, InConfig, InReadBack, InShut, InTeardown = map(with_harness, (Setup, Config, ReadBack, Shut, Teardown))
    InInit, InWireLog, InExits, InNoConfig = map(with_harness, (Init, WireLog, Exits, NoConfig))
    OnRealBackend, WithWrongOptions = map(with_harness, (Real, WrongOptions))

    class HoldsNothing(BufferingExporter):
        conformance_harness = MemoryHarness

    class Options(ExporterConfig):
        retries: int = Field(default=1, description="How often.")
        password: SecretStr = Field(default=SecretStr("x"), description="A secret.")

    class Plain(Exporter[Options]):
        def export(self, context, metrics):
            pass

    class CannotBeBuilt(Plain):
        def __init__(self, config):
            raise OSError("no such device, " + config.password.get_secret_value())

    class WaitsForAnother(ReferenceExporter):
        """Its flush ends when another process has exported after a shutdown."""
        def export(self, context, metrics):
            if self._is_shut_down:
                Path(os.environ["STUCK"]).touch()
            super().export(context, metrics)

        def force_flush(self, context):
            while not Path(os.environ["STUCK"]).exists():
                time.sleep(0.01)
            super().force_flush(context)

    class Stuck(ReferenceExporter):
        """Says where it is, and stays there."""
        def force_flush(self, context):
            Path(os.environ["STUCK"]).write_text(str(os.getpid()))
            while True:
                time.sleep(60)
'''
DIES = "import os; os._exit(9)"
SLEEPS = "import time; time.sleep(600)"
ONCE = """
    import os
    from pathlib import Path
    from given import Stuck

    marker = Path(os.environ["STUCK"] + "-imported")
    if marker.exists():
        raise ImportError("once is enough")
    marker.touch()
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "given.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "dies.py").write_text(DIES)
    (tmp_path / "sleeps.py").write_text(SLEEPS)
    (tmp_path / "once.py").write_text(textwrap.dedent(ONCE))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(__file__).parent}")
    monkeypatch.setenv("STUCK", str(tmp_path / "stuck"))


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]):
    """Runs a command that is refused with exit code 2; its one line."""

    def run(*arguments: str) -> str:
        assert main(["check", "--raw", "--clause", "SHD-06", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1, captured.err
        return captured.err.strip()

    return run


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["given:CannotBeBuilt", "--allow-real-backend"],
            "error: 'given:CannotBeBuilt' cannot be built: OSError: no such device, ***",
        ),
        (["given:Plain", "--sink", "smtp"], "error: --sink smtp: expected one of otlp_http, otlp_grpc, remote_write, "),
        (["given:Plain", "--sink", "tcp:99999"], "error: --sink tcp:99999: expected a port from 1 to 65535 after a "),
        (["given:Plain", "--config", "missing.yaml"], "missing.yaml: cannot read the file: No such file or directory"),
        (["given:Plain", "--config", "a: b: c"], "--config:1:5: not valid YAML: mapping values are not allowed "),
        (["given:Plain", "--config", "3"], "--config: expected a mapping in JSON or YAML, not int"),
        (
            ["given:Plain", "--output", "no/such/folder"],
            "error: no/such/folder: cannot be written: the folder ",
        ),
        (["given:Plain", "--output", "."], "error: .: is a directory; name a file"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(refused, arguments: list[str], line: str) -> None:
    assert refused(*arguments).startswith(line)


@pytest.mark.parametrize(
    ("exporter", "task", "line"),
    [
        ("WithWrongOptions", {}, "exporter 'given:WithWrongOptions': unknown option 'sinck'; did you mean 'sink'?"),
        (
            "Plain",
            {"options": {"retries": "often"}, "allow_real_backend": True},
            "exporter 'given:Plain': retries: expected an integer, not a string; there is no harness that gives them: ",
        ),
        (
            "OnRealBackend",
            {},
            "the harness of 'given:OnRealBackend' points at a real backend, and the checker duplicates and ",
        ),
        (
            "Plain",
            {"options": {"retries": 3}},
            "'given:Plain' has no harness: its options, its defaults or the environment may point at a real backend, ",
        ),
        (
            "Plain",
            {},
            "'given:Plain' has no harness: its options, its defaults or the environment may point at a real backend, ",
        ),
        ("Nothing", {}, "exporter 'given:Nothing' cannot be imported from 'given:Nothing': AttributeError: "),
        (
            "Plain",
            {"options": {"retries": "{endpoint}"}, "sink": "file"},
            "--config: {endpoint} is not known for this sink; it has {path}",
        ),
    ],
)
def test_a_worker_says_in_one_line_why_it_cannot_begin(
    exporter: str, task: dict[str, object], line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "given", raising=False)
    monkeypatch.setattr(serving, "connect_to_sinks_only", lambda: None)  # a process is confined for good
    monkeypatch.setattr(first_state, "first", None)  # what a worker remembers is not for the tests that follow
    setup = WorkerSetup(f"given:{exporter}", Settings(), mode="guarded", first=True, **task)
    told: list[Message] = []
    serving.work(iter([setup]), lambda message: None if isinstance(message, Secrets) else told.append(message))
    assert [type(message) for message in told] == [Refused]
    assert told[0].why.startswith(line)
    assert "\n" not in told[0].why


@pytest.mark.parametrize("text", ["retries: 3", '{"retries": 3}', "config.yaml", "config.json"])
def test_options_are_a_mapping_in_json_or_yaml_or_a_file_with_one(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RETRIES", "3")
    (tmp_path / "config.yaml").write_text("retries: ${RETRIES}\n")
    (tmp_path / "config.json").write_text('{"retries": 3}')
    assert options_of(text) == {"retries": 3}


def test_a_port_that_is_taken_is_one_line_and_exit_code_2(refused) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused("given:Plain", "--sink", f"tcp:{port}", "--config", "retries: 3")
    assert line == (
        f"error: sink tcp: port {port} of 127.0.0.1 is taken by another program; choose another port, or none for a "
        "free one"
    )


def test_a_port_of_its_own_serves_both_modes_one_after_the_other() -> None:
    port = free_port()
    report = check("given:Plain", patterns=["KND-01"], sink=f"tcp:{port}", options={"retries": 3})
    assert {run.verdict for run in report.runs.values()} == {Verdict.PASS}
    assert report.tier == "wire"


def test_a_file_that_cannot_be_written_after_all_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "given:Stuck", "--raw", "--clause", "INT-01", "-o", "/dev/full"]) == 2
    assert capsys.readouterr().err == "error: /dev/full: cannot be written: No space left on device\n"


# --- a harness that raises -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harness", "method"),
    [
        ("Init", "__init__"),
        ("Setup", "setup"),
        ("Config", "config"),
        ("ReadBack", "read_back"),
        ("Shut", "shut"),
        ("WireLog", "wire_log"),
        ("Teardown", "teardown"),
    ],
)
def test_a_harness_that_raises_is_named_with_its_method(
    harness: str, method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "given", raising=False)
    clause = {"read_back": "EXP-01", "shut": "EXP-06"}.get(method, "EXP-04")
    (found,) = select([clause])
    run = run_clause(found, resolve(f"given:In{harness}"), "guarded", Settings(patience=1), {})
    assert run.verdict is Verdict.KIT_ERROR
    assert run.seen == f"the harness failed in {method}: OSError: the disk is gone"


def test_a_harness_that_raises_is_exit_code_4_and_the_rest_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    clauses = ["--clause", "EXP-04", "--clause", "INT-01"]
    assert main(["check", "given:InConfig", "--raw", *clauses, "--format", "json", "-o", str(file)]) == 4
    results = {one["id"]: one["results"]["raw"]["verdict"] for one in json.loads(file.read_text())["clauses"]}
    assert results == {"EXP-04": "KIT_ERROR", "INT-01": "PASS"}


@pytest.mark.parametrize(
    ("exporter", "seen"),
    [
        ("InInit", "the harness failed in __init__: OSError: the disk is gone"),
        ("InExits", "the harness failed in setup: SystemExit: no licence"),
        ("InNoConfig", "the harness failed in config: it returned NoneType, not a mapping"),
    ],
)
def test_what_a_harness_does_wrong_from_the_first_is_an_error_of_the_kit_in_every_clause(
    exporter: str, seen: str
) -> None:
    report = check(f"given:{exporter}", patterns=["INT-01", "EXP-01"], modes=["raw"])
    assert report.run("INT-01", "raw").verdict is Verdict.PASS
    run = report.run("EXP-01", "raw")
    assert (run.verdict, run.seen) == (Verdict.KIT_ERROR, seen)


# --- what goes on all the same ---------------------------------------------------------------------------------------


def test_an_import_that_ends_the_process_is_an_error_of_the_kit_for_every_clause() -> None:
    report = check("dies:Exporter", patterns=["INT-01", "SHD-06"], modes=["raw"])
    assert {run.verdict for run in report.runs.values()} == {Verdict.KIT_ERROR}
    assert report.run("SHD-06", "raw").seen == "not run: the worker process ended with exit code 9"


def test_an_import_that_never_ends_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_START", 1.0)
    with pytest.raises(SetupError, match=r"'sleeps:Exporter' cannot be built: its process said nothing for 1 s"):
        check("sleeps:Exporter", patterns=["INT-01"], modes=["raw"])


def test_after_a_clause_that_leaves_something_behind_another_process_goes_on() -> None:
    report = check("given:Stuck", patterns=["FLU-02", "SHD-07"], modes=["raw"], settings=Settings(patience=2))
    assert report.run("FLU-02", "raw").tainted
    assert report.run("SHD-07", "raw").verdict is Verdict.PASS


def test_a_subject_that_can_be_had_but_once_is_an_error_of_the_kit_for_the_rest() -> None:
    report = check("once:Stuck", patterns=["FLU-02", "SHD-07"], modes=["raw"], settings=Settings(patience=0.5))
    assert report.run("FLU-02", "raw").verdict is Verdict.BLOCKED  # a flush that hangs is for FLU-03 to judge
    run = report.run("SHD-07", "raw")
    assert run.verdict is Verdict.KIT_ERROR
    assert run.seen.startswith("not run: exporter 'once:Stuck' cannot be imported")


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.nightly), signal.SIGINT])
def test_a_check_that_is_stopped_reports_what_there_is(number: signal.Signals, tmp_path: Path) -> None:
    stuck, file = tmp_path / "stuck", tmp_path / "report.json"
    command = [sys.executable, "-m", "exporter_core", "check", "given:Stuck", "--raw", "--clause", "INT-*"]
    with subprocess.Popen([*command, "--clause", "FLU-02", "--format", "json", "-o", str(file)]) as process:
        limit = time.monotonic() + 60
        while not stuck.exists() or not stuck.read_text():
            assert time.monotonic() < limit
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(60) == 3
    report = json.loads(file.read_text())
    assert report["stopped"] is True
    assert {one["id"]: sorted(one["results"]) for one in report["clauses"]} == {
        "FLU-02": [],
        "INT-01": ["raw"],
        "INT-02": ["raw"],
    }
    with pytest.raises(ProcessLookupError):
        os.kill(int(stuck.read_text()), 0)


@pytest.mark.parametrize("told", [True, False], ids=["whose process sleeps", "for all that anybody knows"])
def test_the_other_clauses_are_run_beside_one_that_waits(told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not told:
        monkeypatch.setattr(pool.WorkerProcess, "is_asleep", None)
        monkeypatch.setattr(pool, "_SLOW", 0.2)
    settings = Settings(patience=60, canaries=False)
    report = check("given:WaitsForAnother", patterns=["FLU-02", "SHD-06"], modes=["raw"], settings=settings)
    assert {run.verdict for run in report.runs.values()} == {Verdict.PASS}  # one cannot end before the other begins


# --- what an exporter says of itself ---------------------------------------------------------------------------------


def test_an_exporter_that_holds_data_and_says_that_it_does_not_is_found_out() -> None:
    report = check("given:HoldsNothing", patterns=["EXP-01"], modes=["raw"])
    run = report.run("EXP-01", "raw")
    assert run.verdict is Verdict.FAIL
    assert run.expected == "every point has arrived when export returns, as nothing is held"


def test_without_a_harness_the_lifecycle_is_checked_and_deliveries_are_not_observable() -> None:
    clauses = ["EXP-0[14]", "KND-0[15]", "SHD-0[567]"]
    report = check("given:Plain", patterns=clauses, modes=["guarded"], allow_real_backend=True)
    assert report.tier == "none"
    assert {run.canary for run in report.runs.values() if run.verdict is Verdict.PASS} == {"not run"}
    verdicts = {clause: run.verdict for (clause, _), run in report.runs.items()}
    unseen = {clause for clause, verdict in verdicts.items() if verdict is Verdict.UNOBSERVABLE}
    assert unseen == {"EXP-01", "KND-05", "SHD-05"}
    assert {verdict for clause, verdict in verdicts.items() if clause not in unseen} == {Verdict.PASS}


def test_a_secret_is_masked_also_before_a_worker_knows_the_options() -> None:
    options = {"endpoint": "{endpoint}", "headers": {"authorization": "Bearer s3cr3t-value"}}
    report = check("dies:Exporter", patterns=["INT-01"], modes=["raw"], sink="otlp_http", options=options)
    assert "s3cr3t" not in reproduce(report, "INT-01", "raw")
