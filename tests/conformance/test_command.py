"""The command check: exit codes, reports, and what it says of wrong input."""

import json
from pathlib import Path

import jsonschema
import pytest

from exporter_core.cli import main
from exporter_core.conformance.report import json_schema

REFERENCE = "exporter_core.conformance.reference:ReferenceExporter"
MUTANTS = "exporter_core.conformance.mutants"


def test_a_conformant_exporter_exits_with_0_and_shows_raw_beside_guarded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", REFERENCE, "--clause", "SHD-0[67]"]) == 0
    out = capsys.readouterr().out
    assert "conformant: 2 MUST clauses kept" in out
    assert "SHD-06  MUST     PASS          PASS" in out


def test_a_failed_must_exits_with_1_and_comes_first_with_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"{MUTANTS}:SecondShutdownReturns", "--clause", "shd-0[67]"]) == 1
    out = capsys.readouterr().out
    assert out.index("FAIL SHD-07 raw [MUST]") < out.index("Shutdown\n")
    assert f"exporter-core check {MUTANTS}:SecondShutdownReturns --clause SHD-07 --raw --seed 1" in out
    assert "\033" not in out


def test_a_failed_should_decides_under_strict_alone() -> None:
    command = ["check", f"{MUTANTS}:SendsTwice", "--clause", "EXP-0[13]", "--raw"]
    assert main(command) == 0
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
        ([], "which exporter?"),
        ([REFERENCE, "--config", "{"], "--config:2:1: not valid YAML"),
        ([REFERENCE, "--config", "[]"], "--config: expected a mapping in JSON or YAML, not list"),
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
    assert main(["check", f"{MUTANTS}:TellsSecret", "--format", "json", "-o", str(file), "--clause", "HND-02"]) == 0
    text = file.read_text()
    report = json.loads(text)
    jsonschema.Draft202012Validator(json_schema()).validate(report)
    assert "s3cr3t" not in text
    (clause,) = report["clauses"]
    assert clause["results"]["raw"]["verdict"] == "FAIL"
    assert clause["results"]["raw"]["timeline"]
    assert report["conclusion"]["exit_code"] == 0  # Python hygiene never decides


def test_list_and_explain_say_what_the_clauses_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--list", "--clause", "FLU-*"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "FLU-01",
        "FLU-02",
        "FLU-03",
        "FLU-04",
    ]
    assert main(["check", "--explain", "exp-06"]) == 0
    out = capsys.readouterr().out
    assert "the deadline holds when a response never comes" in out
    assert "context.remaining()" in out
