"""What a verdict is worth: lateness fails, one fault is one FAIL, and what never works keeps no promise."""

import fcntl
import os
import re
import socket
import textwrap
from pathlib import Path

import pytest

from exporter_core.cli import main
from exporter_core.conformance.clause import clauses, select, with_foundations
from exporter_core.conformance.observe.noise import NoiseMeter
from exporter_core.conformance.run import safety
from exporter_core.conformance.run.blame import blame
from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.run_clause import run_clause
from exporter_core.conformance.run.verdicts import Run, Settings, Verdict
from exporter_core.conformance.subject import resolve
from exporter_core.errors import SetupError

EXPORTERS = '''
    import os, time
    from pathlib import Path
    from exporter_core import Context, Exporter, ExporterConfig
    from exporter_core.errors import ExporterError
    from kit.memory import MemoryHarness
    from kit.reference import ReferenceExporter

    class LooksEverySecond(ReferenceExporter):
        """Looks at its context once a second."""
        def _wait(self, context, wait):
            while not wait.ready():
                time.sleep(1.0)
                context.raise_if_done()

    class AlwaysRaises(ReferenceExporter):
        def export(self, context, metrics):
            context.raise_if_done()
            raise ExporterError("never")

    class NeverSends(ReferenceExporter):
        def export(self, context, metrics):
            self._refuse()
            context.raise_if_done()

    class KeepsItsTurn(ReferenceExporter):
        """Waits for ever for what nobody will give it, once it has failed."""
        _stuck = False
        def export(self, context, metrics):
            while self._stuck:
                time.sleep(0.01)
            try:
                super().export(context, metrics)
            except ExporterError as error:
                self._stuck = "400" in str(error)
                raise

    class ClosesOthers(ReferenceExporter):
        """Closes what is not its own."""
        def export(self, context, metrics):
            super().export(context, metrics)
            if os.environ.get("CLOSE"):
                os.close(int(os.environ["CLOSE"]))

    class Environment(ReferenceExporter):
        def __init__(self, config):
            super().__init__(config)
            file = Path(os.environ["SEEN"])
            file.write_text("\\n".join(sorted(os.environ)))

    class NeedsToken(ReferenceExporter):
        def __init__(self, config):
            super().__init__(config)
            os.environ["MINE_TOKEN"]

    class Url(ExporterConfig):
        url: str

    class GoesElsewhere(Exporter[Url]):
        """Sends where its options say."""
        def export(self, context, metrics):
            import socket
            host, _, port = self.config.url.rpartition("/")[2].partition(":")
            with socket.create_connection((host, int(port)), timeout=5) as connection:
                connection.sendall(b"x")
'''


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "truthful.py").write_text(textwrap.dedent(EXPORTERS))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(__file__).parent}")
    monkeypatch.syspath_prepend(str(tmp_path))


def checked(name: str, *patterns: str, **named) -> dict[str, Run]:
    settings = Settings(patience=named.pop("patience", 5), canaries=False, schedules=1)
    report = check(f"truthful:{name}", patterns=patterns, modes=["raw"], settings=settings, **named)
    return {clause: run for (clause, _), run in report.runs.items()}


# --- lateness --------------------------------------------------------------------------------------------------------


def test_a_call_that_ends_at_its_context_but_late_fails_also_where_it_would_go_on_without() -> None:
    runs = checked("LooksEverySecond", "EXP-06", "EXP-10")
    for run in runs.values():
        assert run.verdict is Verdict.FAIL
        assert re.fullmatch(
            r"it ended \d{3,} ms later while the gate was shut, and \d{3,} ms later the next time", run.seen
        )
        assert re.fullmatch(r"truthful\.py:\d+, in _wait", run.where)


def test_the_noise_of_a_machine_is_what_a_sleep_takes_too_long() -> None:
    over: list[bool] = []
    meter = NoiseMeter(lambda: bool(over))
    assert 0 <= meter.seconds < 60
    over.append(True)


# --- one fault, one FAIL ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["AlwaysRaises", "NeverSends"])
def test_an_exporter_of_which_nothing_arrives_fails_once_and_keeps_no_promise(name: str) -> None:
    runs = checked(name, "EXP-*", "FLU-*", "SHD-0[1-7]", "DAT-*", "HND-*")
    assert {clause for clause, run in runs.items() if run.verdict is Verdict.FAIL} == {"EXP-01"}
    assert {run.verdict for clause, run in runs.items() if clause != "EXP-01"} == {Verdict.BLOCKED}
    assert runs["EXP-05"].seen == "EXP-01 failed first: nothing that was exported arrived"


def test_a_call_that_outlasts_the_patience_blocks_its_clause_and_fails_the_one_about_its_deadline() -> None:
    runs = checked("KeepsItsTurn", "EXP-06", "EXP-14", patience=1)
    assert runs["EXP-14"].verdict is Verdict.BLOCKED
    seen = "export had not ended 1 s later"
    assert runs["EXP-14"].seen == f"{seen}, which EXP-06 is about"
    assert runs["EXP-14"].where.startswith("truthful.py:")
    assert runs["EXP-14"].where.endswith(", in export")
    assert runs["EXP-06"].verdict is Verdict.FAIL
    assert runs["EXP-06"].seen == f"{seen} (in EXP-14)"
    assert runs["EXP-06"].shown_by == "EXP-14"


def test_a_clause_that_has_seen_it_itself_is_the_only_one_to_fail() -> None:
    runs = [
        Run("EXP-06", "raw", Verdict.PASS),
        Run("EXP-09", "raw", Verdict.FAIL, seen="it slept"),
        Run("EXP-17", "raw", Verdict.BLOCKED, seen="export had not ended", overran="export"),
    ]
    blame(runs)
    assert [run.verdict for run in runs] == [Verdict.PASS, Verdict.FAIL, Verdict.BLOCKED]


def test_a_call_that_hangs_until_it_is_cancelled_fails_the_clause_about_its_operation_alone() -> None:
    hung = Run("KND-02", "raw", Verdict.BLOCKED, seen="shutdown had not ended, which SHD-01 is about", hung="shutdown")
    runs = [hung, Run("SHD-01", "raw", Verdict.PASS), Run("SHD-02", "raw", Verdict.PASS)]
    blame(runs)
    assert [run.verdict for run in runs] == [Verdict.BLOCKED, Verdict.FAIL, Verdict.PASS]
    assert (runs[1].expected, runs[1].seen) == ("shutdown ends by itself", "shutdown had not ended (in KND-02)")
    runs = [hung, Run("SHD-01", "raw", Verdict.BLOCKED), Run("EXP-01", "raw", Verdict.FAIL)]
    blame(runs)
    assert [run.verdict for run in runs] == [Verdict.BLOCKED, Verdict.BLOCKED, Verdict.FAIL]


def test_a_clause_alone_has_the_verdict_that_it_has_in_the_whole() -> None:
    assert checked("AlwaysRaises", "EXP-18")["EXP-18"].verdict is Verdict.BLOCKED
    assert [one.id for one in with_foundations(select(["EXP-03"]))] == ["INT-01", "EXP-01", "EXP-03"]
    assert with_foundations(clauses()) == clauses()


def test_what_a_subject_does_to_somebody_elses_descriptor_is_the_subjects_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, low = socket.socketpair()
    with low:  # a number so high is given to nobody else in the meantime
        theirs = socket.socket(fileno=fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 500))
    monkeypatch.setenv("CLOSE", str(theirs.fileno()))
    subject = resolve("truthful:ClosesOthers")

    class Harness(subject.harness):
        def read_back(self):
            theirs.getpeername()  # as a harness that talks to its backend
            return super().read_back()

    subject = resolve("truthful:ClosesOthers", harness=Harness)
    (found,) = select(["EXP-01"])
    run = run_clause(found, subject, "raw", Settings(patience=5, canaries=False), {})
    assert run.verdict is Verdict.FAIL
    assert "which is the checker's; then the harness failed in read_back: OSError" in run.seen
    theirs.detach()
    ours.close()


# --- never a real backend --------------------------------------------------------------------------------------------


def test_workers_get_no_variable_that_points_at_a_backend_or_opens_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https_proxy", "AWS_PROFILE", "MINE_TOKEN", "DB_PASSWORD", "X_API_KEY")
    for name in names:
        monkeypatch.setenv(name, "http://collector.example")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    checked("Environment", "KND-01")
    seen = (tmp_path / "seen").read_text().split("\n")
    assert not {*names} & {*seen}
    assert "PATH" in seen
    checked("Environment", "KND-01", allow_real_backend=True)
    assert {*names} <= {*(tmp_path / "seen").read_text().split("\n")}


def test_an_exporter_that_misses_such_a_variable_is_told_how_it_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE_TOKEN", "x")
    with pytest.raises(
        SetupError, match=r"MINE_TOKEN of the environment is kept from the exporter: give it in --config"
    ):
        checked("NeedsToken", "KND-01")


def test_options_that_do_not_point_at_the_sink_are_noticed_and_nothing_is_sent_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.2)
        address = f"127.0.0.1:{other.getsockname()[1]}"
        options = {"url": f"http://{address}", "unused": "{endpoint}"}
        with pytest.raises(SetupError, match="unused"):
            checked("GoesElsewhere", "EXP-01", sink="http", options=options)
        options = {"url": f"http://x{{host}}/{address}"}
        run = checked("GoesElsewhere", "EXP-01", sink="http", options=options)["EXP-01"]
        with pytest.raises(TimeoutError):
            other.accept()
    assert run.verdict is Verdict.FAIL
    assert f"the checker lets an exporter connect to its sink alone, not to {address}" in run.seen
    assert run.seen.endswith("; the sink saw nothing at all: do the options point at it?")


@pytest.mark.parametrize("name", ["PATH", "HOME", "PYTHONPATH", "HYPOTHESIS_STORAGE_DIRECTORY", "LANG"])
def test_other_variables_stay(name: str) -> None:
    assert safety.without_backends({name: "1"}) == {name: "1"}


# --- never conformant of a part --------------------------------------------------------------------------------------


def test_a_part_is_incomplete_in_its_sentence_its_exit_code_and_junit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["check", "kit.reference:ReferenceExporter", "--raw", "--clause", "SHD-07"]
    assert main([*command, "--format", "junit"]) == 3
    out = capsys.readouterr().out
    assert re.search(
        r'<error type="INCOMPLETE" message="incomplete: 1 of \d+ MUST clauses kept, \d+ not selected"', out
    )


def test_v_shows_the_traceback_and_a_report_names_the_line_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["check", "truthful:AlwaysRaises", "--raw", "--clause", "EXP-01"]
    assert main(command) == 1
    plain = capsys.readouterr().out
    assert re.search(r"seen       it raised ExporterError: never \(truthful.py:\d+, in export\)", plain)
    assert "Traceback" not in plain
    assert main([*command, "-v"]) == 1
    assert 'raise ExporterError("never")' in capsys.readouterr().out
