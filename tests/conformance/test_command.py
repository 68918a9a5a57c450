"""The command check: exit codes, reports, and what it says of wrong input."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from exporter_core.cli import main
from exporter_core.conformance.report import json_schema

REFERENCE = "kit.reference:ReferenceExporter"
TELLING = "kit.mutants.answers:TellsSecret"
SENDS_TWICE = "kit.mutants.data:SendsTwice"
SECOND_RETURNS = "kit.mutants.shutdown:SecondShutdownReturns"


def test_a_part_that_is_kept_exits_with_3_and_shows_raw_beside_guarded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", REFERENCE, "--clause", "SHD-0[67]"]) == 3  # of a part it is never said
    out = capsys.readouterr().out
    assert re.search(r"raw +incomplete: 2 of \d+ MUST clauses kept, \d+ not selected", out)
    assert "SHD-06  MUST    PASS  PASS     export after shutdown raises the shutdown error\n" in out


def test_a_failed_must_exits_with_1_and_comes_first_with_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", SECOND_RETURNS, "--clause", "shd-0[67]"]) == 1
    out = capsys.readouterr().out
    assert out.index("FAIL SHD-07 raw [MUST]") < out.index("\nShutdown\n")
    assert f"exporter-core check {SECOND_RETURNS} --clause SHD-07 --raw --seed 1" in out
    assert "\033" not in out


def test_a_failed_should_decides_under_strict_alone() -> None:
    command = ["check", SENDS_TWICE, "--clause", "EXP-0[13]", "--raw"]
    assert main(command) == 3
    assert main([*command, "--strict"]) == 1


def test_what_nothing_shows_is_partial(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "none", "--raw", "--clause", "EXP-0[14]"]) == 3
    assert "There is no harness" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([REFERENCE, "--clause", "NOPE-*"], "no clause matches NOPE-*"),
        (["no_such_exporter"], "no exporter named 'no_such_exporter' is installed"),
        (["no_such_module:Class"], "cannot be imported"),
        ([], "name an exporter (exporter-core list shows them) or module:Class"),
        ([REFERENCE, "--config", "{"], "--config:2:1: not valid YAML"),
        ([REFERENCE, "--config", "[]"], "--config: expected a mapping in JSON or YAML, not list"),
        ([REFERENCE, "--json", "--format", "junit"], "--json and --format junit: choose one"),
        (["--list", "--format", "junit"], "--format junit is for reports only"),
        ([REFERENCE, "--harness", "no_such_module:Harness"], "cannot be imported"),
        ([REFERENCE, "--harness", "a:Harness", "--sink", "tcp"], "--harness and --sink: choose one"),
        ([REFERENCE, "-o", "no/such/folder"], "no/such/folder: cannot be written: the folder no/such does not exist"),
        ([REFERENCE, "-o", "."], ".: is a directory; name a file"),
        (["--explain", "EXP-99"], "no clause matches EXP-99"),
    ],
)
def test_wrong_usage_exits_with_2_and_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_json_report_fits_its_schema_and_has_everything(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    assert main(["check", TELLING, "--format", "json", "-o", str(file), "--clause", "HND-02"]) == 3
    text = file.read_text()
    report = json.loads(text)
    jsonschema.Draft202012Validator(json_schema()).validate(report)
    assert "s3cr3t" not in text
    (clause,) = report["clauses"]
    assert clause["results"]["raw"]["verdict"] == "FAIL"
    assert clause["results"]["raw"]["timeline"]
    assert report["conclusion"]["exit_code"] == 3  # Python hygiene never decides, and the rest was not selected


def test_list_and_explain_say_what_the_clauses_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--list", "--clause", "FLU-0[1-4]"]) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "Flush"
    assert [line.split()[0] for line in lines if line.startswith("  F")] == ["FLU-01", "FLU-02", "FLU-03", "FLU-04"]
    assert main(["check", "--explain", "exp-06"]) == 0
    out = capsys.readouterr().out
    assert "the deadline holds when a response never comes" in out
    assert "context.remaining()" in out


def test_list_and_explain_say_it_as_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert main(["check", "--explain", "exp-06", "--json"]) == 0
    (explained,) = json.loads(capsys.readouterr().out)
    assert explained in listed
    assert [one["id"] for one in listed][:2] == ["INT-01", "INT-02"]
    schema = json_schema()["$defs"]["clause"]
    assert all(set(one) == set(schema["properties"]) - {"results"} for one in listed)


def test_the_schema_of_the_report_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--schema", "-o", "-"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)


def test_options_stand_in_the_command_that_reproduces_without_their_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["check", REFERENCE, "--raw", "--clause", "SHD-07", "--config", '{"token": "t0p-s3cret"}', "--json"]
    assert main(command) == 3
    out = capsys.readouterr().out
    assert "t0p-s3cret" not in out
    assert json.loads(out)["clauses"][0]["results"]["raw"]["reproduce"].endswith("""--config '{"token": "***"}'""")


def test_a_harness_that_was_named_stands_in_the_command_that_reproduces(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--harness", "kit.memory:MemoryHarness"]
    assert main(["check", REFERENCE, "--raw", "--clause", "SHD-07", *words, "--json"]) == 3
    reproduce = json.loads(capsys.readouterr().out)["clauses"][0]["results"]["raw"]["reproduce"]
    assert reproduce.endswith(" ".join(words))
