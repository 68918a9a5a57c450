"""Trying plugins out in child processes: whatever they do, the outcome is one line and this process is unharmed."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from exporter_core.cli.inspection import OUTPUT_LIMIT, check, check_all, inspection_server
from exporter_core.discovery import installed

GOOD = '''
from exporter_core import Exporter, ExporterConfig

class Config(ExporterConfig):
    path: str
    """Where to write."""

class Exporter_(Exporter[Config]):
    """Write metrics somewhere.

    And more.
    """
    def export(self, context, metrics):
        return None
'''


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """The folder that the plugins' modules are in."""
    return tmp_path_factory.mktemp("modules")


@pytest.fixture(scope="module", autouse=True)
def server(modules):
    """The process that forks the children of most tests here."""
    with inspection_server([str(modules)]) as server:
        yield server


@pytest.fixture
def plugin(site, modules):
    """Install a plugin with this module source; its entry."""

    def install(source, name="plug", value="Exporter_"):
        module = f"module_{len(list(modules.iterdir()))}"
        site.exporter(f"dist-{name}", f"{name} = {module}:{value}")
        (modules / f"{module}.py").write_text(source)
        return next(entry for entry in installed(path=site.path) if entry.name == name)

    return install


@pytest.fixture
def path(site, modules):
    """Where both are found by a process that is not the server."""
    return [*site.path, str(modules)]


@pytest.fixture
def checked(site, server):
    """Check a plugin in a child process; the result."""

    def checked(entry, **options):
        return well_formed(entry, check(entry, path=site.path, server=server, **options))

    return checked


def well_formed(entry, result):
    assert result.entry is entry
    assert result.ok is (result.failure is None)
    assert result.failure is None or "\n" not in result.failure
    return result


def test_a_good_plugin_shows_its_docstring_and_options(plugin, checked):
    result = checked(plugin(GOOD))
    assert result.ok, result
    assert result.docstring == "Write metrics somewhere.\n\nAnd more."
    assert result.config_schema["properties"]["path"]["description"] == "Where to write."
    assert result.output == ""
    assert result.seconds > 0


def test_what_a_plugin_prints_is_captured_and_it_may_read_no_input(plugin, checked):
    source = (
        "import os, sys\nprint('out')\nprint('err', file=sys.stderr)\nos.system('echo below')\n"
        "print(repr(sys.stdin.read()))\n"
    )
    result = checked(plugin(source + GOOD))
    assert result.ok, result
    assert sorted(result.output.split()) == ["''", "below", "err", "out"]


def test_output_without_end_is_bounded(plugin, checked):
    result = checked(plugin("print('x' * 5_000_000)\n" + GOOD))
    assert result.ok, result
    assert result.output == "x" * OUTPUT_LIMIT


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import module_that_is_not_there", "No module named 'module_that_is_not_there'"),
        ("raise SystemExit(3)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise BaseException('odd\\nand long')", "odd and long"),
        ("x = ", "SyntaxError"),
        ("import os; os._exit(7)", "importing it ended the process (exit status 7)"),
        ("import os; os._exit(0)", "importing it ended the process (exit status 0)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "importing it crashed the process (SIGSEGV)"),
        ("import os; os.closerange(3, 1000)\n" + GOOD, "importing it ended the process (exit status 1)"),
        ("Exporter_ = 3", "int is not a class"),
        ("class Other: pass", "Exporter_"),
    ],
)
def test_whatever_a_plugin_does_when_it_is_imported_is_one_line(plugin, checked, source, says):
    result = checked(plugin(source))
    assert result.failure is not None
    assert says in result.failure
    assert result.config_schema is None


def test_a_secret_in_a_plugins_error_or_output_is_masked(plugin, checked):
    source = "print('http://user:hunter2@host/')\nraise RuntimeError('http://user:hunter2@host/ is down')"
    result = checked(plugin(source))
    assert "hunter2" not in result.failure + result.output
    assert "is down" in result.failure


def test_a_plugin_that_hangs_is_killed_with_everything_it_started(plugin, checked, tmp_path):
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    # The kernel closes the pipe's writing ends when the last of the two processes is gone.
    source = f"""
import os, time
held = os.open({str(fifo)!r}, os.O_WRONLY)
os.fork()
while True:
    time.sleep(60)
"""
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        result = checked(plugin(source), timeout=5.0)
        assert result.failure == "importing and verifying it did not end within 5 s"
        os.set_blocking(reading, True)
        assert os.read(reading, 1) == b""
    finally:
        os.close(reading)


def test_a_process_left_behind_does_not_hold_up_the_outcome(plugin, checked):
    begun = time.monotonic()
    fork = "import os, time\nif not os.fork():\n    time.sleep(300)\n    os._exit(0)\n"
    assert checked(plugin(fork + GOOD, "forks")).ok
    result = checked(plugin(fork + "os._exit(9)", "dies"))
    assert result.failure == "importing it ended the process (exit status 9)"
    assert time.monotonic() - begun < 60


def test_nonsense_in_the_answers_pipe_is_no_answer(plugin, checked):
    source = "import os, sys\nos.write(int(sys.argv[1]), b'[1, 2]\\n')\nimport time; time.sleep(300)"
    result = checked(plugin(source))
    assert result.failure is not None
    assert not result.ok


def test_threads_that_a_plugin_starts_do_not_hold_up_the_outcome(plugin, checked):
    source = "import threading, time\nthreading.Thread(target=time.sleep, args=(300,)).start()\n"
    begun = time.monotonic()
    assert checked(plugin(source + GOOD)).ok
    assert time.monotonic() - begun < 60


def test_an_unsupported_contract_version_is_the_outcome_without_an_import(site, checked):
    site.exporter("a", "x = module_x:X", group="exporter_core.exporters.v2")
    (site.folder / "module_x.py").write_text("import os; os._exit(1)")
    (entry,) = installed(path=site.path)
    assert "contract version 2" in checked(entry).failure


def test_several_are_checked_each_by_itself_and_answered_in_order(plugin, path):
    plugin(GOOD, "a")
    plugin("raise RuntimeError('no')", "b")
    plugin(GOOD, "c")
    entries = installed(path=path)
    results = check_all(entries, path=path)
    assert [result.entry for result in results] == list(entries)
    assert [result.ok for result in results] == [True, False, True]
    assert check_all([]) == []


def test_the_current_directory_does_not_get_into_the_child(plugin, path, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise RuntimeError('the wrong json')")
    monkeypatch.chdir(tmp_path)
    assert check(plugin(GOOD), path=path).ok


def test_no_child_is_left(plugin, path, monkeypatch):
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self.pid)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    check(plugin("import os; os._exit(0)"), path=path)
    (pid,) = started
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_a_plugin_is_built_and_asked_for_its_temporality_only_on_request(plugin, checked):
    entry = plugin(GOOD.replace("path: str\n", 'path: str = "x"\n'))
    assert checked(entry).temporality is None
    assert checked(entry, build=True).temporality["counter"] == "cumulative"


KILLING = "import os, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(300)"


def test_a_plugin_that_kills_the_parent_of_its_process_harms_no_other(plugin, checked):
    result = checked(plugin(KILLING, "kills"))
    assert result.failure == "importing it crashed the process (SIGKILL)"
    assert checked(plugin(GOOD)).ok


def test_a_process_that_cannot_start_is_the_outcome(plugin, path, tmp_path):
    (tmp_path / "broken" / "pydantic").mkdir(parents=True)
    (tmp_path / "broken" / "pydantic" / "__init__.py").write_text("raise RuntimeError('broken')")
    result = check(plugin(GOOD), path=[str(tmp_path / "broken"), *path])
    assert result.failure == "importing it ended the process (exit status 1)"
