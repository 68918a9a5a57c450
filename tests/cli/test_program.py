"""What all commands have in common: exit codes, errors, output that cannot be written, colour, help, completion."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import io
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import exporter_core.cli as cli_package
from exporter_core import ConfigError, ConfigProblem, ExporterCoreError, ExporterError, SetupError, __version__
from exporter_core.cli import main, output
from exporter_core.cli.app import COMMANDS

ALL = list(COMMANDS)
SGR = re.compile(r"\x1b\[[0-9;]*m")


def test_the_version_is_shown(cli):
    assert cli("--version") == (0, f"exporter-core {__version__}\n", "")


def test_without_arguments_it_shows_help_and_says_that_this_was_wrong_usage(cli):
    done = cli()
    assert (done.code, done.err) == (2, "")
    assert done.out == cli("--help").out
    assert all(f"  {name} " in done.out and command.summary in done.out for name, command in COMMANDS.items())


@pytest.mark.parametrize("name", ALL)
def test_each_command_has_short_help_with_an_example_of_its_own(cli, name):
    done = cli(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out == cli(name, "-h").out
    assert f"Usage: exporter-core {name}" in done.out
    assert f"Example: exporter-core {name}" in done.out
    assert len(done.out.splitlines()) < 45
    assert not re.search(r"<\w+[\[>|]", done.out)  # metavars, not the types of Python
    arguments = re.search(r"^Usage: .*$", done.out, re.MULTILINE)[0].partition("[OPTIONS]")[2]
    assert arguments.upper() == arguments.replace("module:Class", "MODULE:CLASS")


@pytest.mark.parametrize("name", ALL)
def test_the_table_of_commands_and_their_docstrings_agree(name):
    command = COMMANDS[name]
    function = getattr(importlib.import_module(f"exporter_core.cli.{command.function}"), command.function)
    first, *_, last = (" ".join(part.split()) for part in inspect.cleandoc(function.__doc__).split("\n\n"))
    assert first.startswith(command.summary.removesuffix("."))
    assert last.startswith(f"Example: exporter-core {name}")
    assert len(command.summary) < 60


def test_an_unknown_command_is_one_line_with_the_nearest(cli):
    code, out, err = cli("lsit")
    assert (code, out) == (2, "")
    assert err == "error: no such command 'lsit'; did you mean 'list'? (see exporter-core --help)\n"


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_option_is_one_line(cli, name):
    code, out, err = cli(name, "--qqq")
    assert (code, out) == (2, "")
    assert err == f"error: no such option: --qqq (see exporter-core {name} --help)\n"


def test_a_misspelt_option_is_answered_with_the_nearest(cli):
    assert cli("list", "--jsno") == (
        2,
        "",
        "error: no such option: --jsno; did you mean --json? (see exporter-core list --help)\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["describe"], "missing argument 'NAME' (see exporter-core describe --help)"),
        (["list", "sqlite"], "got unexpected extra argument(s) (sqlite) (see exporter-core list --help)"),
        (["schema", "-o"], "option '-o' requires an argument"),
        (["run", "--duration", "soon"], "invalid value for '--duration': expected a number (see exporter-core run"),
        (["probe", "f.yaml", "--timeout", "0"], "invalid value for '--timeout': expected at least 0.01 (see exporter"),
        (["run", "--duration", "-1"], "invalid value for '--duration': expected at least 0 (see exporter-core run"),
    ],
)
def test_wrong_usage_is_one_line(cli, arguments, message):
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[0].startswith(f"error: {message}")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (SetupError("no\nyes"), 2, "error: no\nerror: yes\n"),
        (ExporterError("the backend said no"), 1, "error: the backend said no\n"),
        (ExporterCoreError(), 1, "error: ExporterCoreError\n"),
        (ExporterError("\x1b[31mred"), 1, "error: \\x1b[31mred\n"),
        (
            ConfigError([ConfigProblem("a", source="f.yaml", line=1, column=2), ConfigProblem("b")]),
            2,
            "f.yaml:1:2: a\nerror: b\n",
        ),
        (PermissionError(13, "Permission denied", "some/file"), 1, "error: some/file: Permission denied\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_a_line_for_each_problem(cli, monkeypatch, error, code, text):
    def raises(found):
        raise error

    monkeypatch.setattr("exporter_core.cli.list_exporters.show_rows", raises)
    assert cli("list") == (code, "", text)


def test_an_error_that_nobody_expects_keeps_its_traceback(cli, monkeypatch):
    def raises(found):
        raise ZeroDivisionError

    monkeypatch.setattr("exporter_core.cli.list_exporters.show_rows", raises)
    with pytest.raises(ZeroDivisionError):
        cli("list")


def test_a_distribution_over_which_the_standard_library_fails_is_named(cli, monkeypatch, site):
    """Pydantic and OpenTelemetry ask it for entry points, which it then has of no distribution."""
    location = site.install("half-written", b"\xff\xfe[exporter_core")
    monkeypatch.setattr(sys, "path", [*sys.path, *site.path])
    monkeypatch.setattr("exporter_core.cli.list_exporters.show_rows", lambda found: importlib.metadata.entry_points())
    code, out, err = cli("list")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"error: {location}: ")
    assert line.endswith("; nothing that looks for entry points works: remove the directory")


@pytest.mark.parametrize("arguments", [["list", "--json"], ["list"], ["schema"], ["--help"]])
def test_a_reader_that_has_gone_ends_it_quietly(command, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*command, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("arguments", [["list", "--json"], ["list"], ["--version"], ["--help"]])
def test_output_that_cannot_be_written_is_one_line(command, arguments, tmp_path):
    limited = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh"]
    with tmp_path.joinpath("out").open("w") as out:
        done = subprocess.run(
            [*limited, *command, *arguments], stdout=out, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (1, "error: standard output: File too large\n")


def test_a_closed_standard_output_is_one_line(command):
    closing = ["sh", "-c", '"$@" >&-', "sh"]
    done = subprocess.run([*closing, *command, "list"], stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "error: standard output is closed\n")


def test_a_closed_standard_error_changes_nothing(command):
    closing = ["sh", "-c", '"$@" 2>&-', "sh"]
    done = subprocess.run(
        [*closing, *command, "describe", "nothing"], stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")


def test_an_error_is_said_although_the_reader_of_the_output_has_gone(monkeypatch, capsys):
    class Gone(io.StringIO):
        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Gone())
    output.fail("not delivered")
    assert capsys.readouterr().err == "error: not delivered\n"


def test_what_the_encoding_cannot_express_is_escaped(program, plugins):
    plugins.add("grün")
    done = program("list", PYTHONIOENCODING="ascii")
    assert (done.code, done.err) == (0, "")
    assert "gr\\xfcn" in done.out


def test_a_probe_shows_what_the_encoding_cannot_express_as_escapes(program, plugins, tmp_path):
    plugins.add("grün")
    file = tmp_path / "metrics.yaml"
    file.write_text("file_format: '1.1'\nmeter_provider: {readers: [{periodic: {exporter: {grün: }}}]}\n", "utf-8")
    done = program("probe", str(file), PYTHONIOENCODING="ascii")
    assert done.code == 0, done.err
    assert "OK    0:gr\\xfcn load" in done.out


def test_ctrl_c_ends_it_at_once_and_leaves_no_process(command, plugins, tmp_path):
    started = tmp_path / "started"
    plugins.add(
        "a_sleeping_one",  # the first that is looked into
        f"""
        import os, time
        with open({str(started)!r}, "w") as file:
            file.write(str(os.getpid()))
        os.rename({str(started)!r}, {str(started)!r} + ".done")
        time.sleep(600)
        """,
    )
    process = subprocess.Popen(
        [*command, "list", "--check"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    signalled = tmp_path / "started.done"
    deadline = time.monotonic() + 60
    while not signalled.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    child = int(signalled.read_text())
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 130
    assert time.monotonic() - begun < 20  # the plugin would have been waited for, for 30 s
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_errors_and_tables_are_coloured_on_a_terminal_only(on_terminal_in_turn, program):
    error, table = on_terminal_in_turn(["describe", "nothing"], ["list"])
    assert "\x1b[1;31merror:\x1b[0m" in error
    assert "\x1b[32mok" in table
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        for shown in on_terminal_in_turn(
            ["list"], ["describe", "console"], ["describe", "nothing"], ["--help"], **environment
        ):
            assert shown
            assert "\x1b" not in shown
    assert "\x1b" not in program("list", FORCE_COLOR="1", TERM="xterm-256color").out


@pytest.mark.parametrize("columns", [80, 120])
def test_nothing_is_wider_than_the_terminal(on_terminal_in_turn, columns):
    commands = [["--help"], ["list"], ["describe", "sqlite"], ["describe", "console"], ["init", "--help"]]
    for shown in on_terminal_in_turn(*commands, columns=columns):
        assert max(map(len, SGR.sub("", shown).splitlines())) <= columns


def test_the_shell_gets_completions_of_commands_options_and_exporters(cli, monkeypatch, plugins):
    plugins.add("sq_other")
    plugins.add("clashing", distribution="made-one")
    plugins.add("clashing", distribution="made-two")
    plugins.add("later", group="exporter_core.exporters.v2")
    monkeypatch.setenv("_EXPORTER_CORE_COMPLETE", "complete_bash")

    def completed(line: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
        return cli().out.split()

    assert completed("exporter-core de") == ["describe"]
    assert completed("exporter-core list --js") == ["--json"]
    assert completed("exporter-core describe sq") == ["sq_other", "sqlite"]
    assert completed("exporter-core init sqlite co") == ["console"]
    assert completed("exporter-core describe made") == ["made-one:clashing", "made-two:clashing"]
    assert completed("exporter-core describe la") == []
    assert not [name for name in sys.modules if name.startswith("made_")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_for_this_program(cli, monkeypatch, shell):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    code, out, err = cli("--show-completion", shell)
    assert (code, err) == (0, "")
    assert "_EXPORTER_CORE_COMPLETE" in out


@pytest.mark.fresh_python
@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_extra_is_one_line_that_says_what_to_install(program, tmp_path, missing):
    folder = tmp_path / "without"
    folder.mkdir()
    for name in (missing, "typer"):
        folder.joinpath(f"{name}.py").write_text(f"raise ModuleNotFoundError('No module', name={missing!r})")
    done = program("describe", "console", PYTHONPATH=str(folder))
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: the command line needs Typer and rich: pip install 'exporter-core[cli]'\n"


def test_listing_as_json_needs_no_extra(program, tmp_path):
    tmp_path.joinpath("typer.py").write_text("raise ModuleNotFoundError('No module', name='typer')")
    assert program("list", "--json", PYTHONPATH=str(tmp_path)).code == 0


def test_the_installed_command_is_this_program():
    from importlib.metadata import entry_points

    (point,) = (one for one in entry_points(group="console_scripts") if one.name == "exporter-core")
    assert point.load() is main


def test_the_package_names_what_a_command_writes_with():
    names = re.findall(r"`~?exporter_core\.cli\.output\.(\w+)`", cli_package.__doc__)
    assert {"show", "emit_json", "report"} <= set(names)
    assert all(callable(getattr(output, name)) for name in names)
