"""Plugins that misbehave when they are imported: listed without an import, tried out in a process of their own, and
selected with one line of error, or a load that works."""

from __future__ import annotations

import json

import pytest

from exporter_core.cli.inspection import check

GOOD = "class Plugin(Good): pass\n"

# The source of the module, and what both --check and selecting say after "exporter NAME (DISTRIBUTION VERSION) ".
FAILING = {
    "import_error": ("import not_installed_here", "ModuleNotFoundError: No module named 'not_installed_here'"),
    "syntax_error": ("class Plugin(", "SyntaxError: '(' was never closed (zoo_syntax_error.py, line 2)"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "exits_from_a_function": ("import sys; sys.exit('no licence')", "SystemExit: no licence"),
    "keyboard_interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "base_exception": ("raise BaseException('odd')", "BaseException: odd"),
    "generator_exit": ("raise GeneratorExit", "GeneratorExit"),
    "cancelled": ("import asyncio; raise asyncio.CancelledError('mine')", "CancelledError: mine"),
    "exception_group": ("raise ExceptionGroup('two', [OSError(1), OSError(2)])", "ExceptionGroup: two (2 sub-exce..."),
    "unprintable": ("raise Unprintable", "Unprintable: (its message cannot be shown)"),
    "many_lines": ("raise OSError('one\\n  two\\r\\nthree')", "OSError: one two three"),
    "long_message": ("raise OSError('x' * 5_000_000)", f"OSError: {'x' * 900}..."),
    "recursion": ("def again(): again()\nagain()", "RecursionError: maximum recursion depth exceeded..."),
    "module_getattr": (
        "def __getattr__(name): raise KeyError(name) if name == 'Plugin' else AttributeError(name)",
        "KeyError: 'Plugin'",
    ),
    "no_such_attribute": ("class Plugins: pass", "AttributeError: module 'zoo_no_such_attribute' has no attri..."),
    "selects_itself": (
        "load_exporter('selects_itself')",
        "exporter 'selects_itself' (zoo-selects_itself 6.6) cannot be loaded: AttributeError: partially initialized...",
    ),
    "sets_a_signal_handler": (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "ValueError: signal only works in main thread of the main interpreter",
    ),
    "tells_a_secret": (
        "raise OSError(f'https://me:{SECRET}@host: refused; password={SECRET}')",
        "OSError: https://***@host: refused; password=***",
    ),
}

LOADING = {
    "prints": "import sys; print('hello'); print('hello', file=sys.stderr)\n",
    "sleeps": "import time; time.sleep(0.01)\n",
    "closes_standard_output": "import os, sys; sys.stdout = sys.stderr = None; os.close(1)\n",
    "starts_a_thread": "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n",
    "warns": "import warnings; warnings.warn('old', DeprecationWarning)\n",
    "sets_the_time_out_of_sockets": "import socket; socket.setdefaulttimeout(1e-9)\n",
}

FATAL = {
    "aborts": ("import os; os.abort()", "importing it crashed the process (SIGABRT)"),
    "segfaults": ("import ctypes; ctypes.string_at(0)", "importing it crashed the process (SIGSEGV)"),
    "leaves": ("import os; os._exit(7)", "importing it ended the process (exit status 7)"),
    "leaves_quietly": ("import os; os._exit(0)", "importing it ended the process (exit status 0)"),
    "kills_itself": ("import os, signal; os.kill(0, signal.SIGKILL)", "importing it crashed the process (SIGKILL)"),
}

HANGING = "import threading; threading.Event().wait()"


def refusal(name, text, *, asked=None):
    return f"exporter {asked or repr(name)} (zoo-{name} 6.6) cannot be loaded: {text}"


@pytest.fixture
def everything(site):
    """Install every specimen of this file."""
    site.specimens({name: source for name, (source, _) in {**FAILING, **FATAL}.items()})
    site.specimens({name: source + GOOD for name, source in LOADING.items()})
    site.specimen("hangs", HANGING)


def test_the_list_shows_them_all_and_imports_none(site, everything, run):
    listed = json.loads(run("-m", "exporter_core", "list", "--json").stdout)
    rows = {row["name"]: (row["distribution"], row["version"], row["status"]) for row in listed["exporters"]}
    names = {*FAILING, *FATAL, *LOADING, "hangs", "good"}
    assert {name: rows[name] for name in names} == {name: (f"zoo-{name}", "6.6", "ok") for name in names}
    assert listed["unreadable"] == []


def test_a_check_survives_each_and_says_why_it_cannot_be_used(site, expect):
    site.specimens({name: source for name, (source, _) in FATAL.items()})
    expect(site.checked(), {name: text for name, (_, text) in FATAL.items()})


@pytest.mark.nightly  # a process each; selecting them in one says the same
def test_a_check_says_of_each_what_selecting_it_says(site, expect):
    site.specimens({name: source for name, (source, _) in FAILING.items()})
    expect(
        site.checked(), {name: refusal(name, text, asked=f"'zoo-{name}:{name}'") for name, (_, text) in FAILING.items()}
    )


@pytest.mark.nightly
def test_a_check_finds_the_merely_rude_ones_usable(site):
    site.specimens({name: source + GOOD for name, source in LOADING.items()})
    assert site.checked() == dict.fromkeys(LOADING, "ok")


@pytest.mark.nightly  # it looks into every installed exporter, as those of the command do
def test_the_command_shows_what_a_check_says_beside_those_that_can_be_used(site, run):
    site.specimens({name: {**FAILING, **FATAL}[name][0] for name in ("unprintable", "tells_a_secret", "segfaults")})
    listed = json.loads(run("-m", "exporter_core", "list", "--check", "--json", status=1).stdout)["exporters"]
    rows = {row["name"]: (row["status"], row["reason"]) for row in listed}
    assert rows["good"] == ("ok", None)
    assert rows["segfaults"] == ("failed", FATAL["segfaults"][1])
    for name in ("unprintable", "tells_a_secret"):
        assert rows[name] == ("failed", f"cannot be loaded: {FAILING[name][1]}")


def test_a_check_gives_up_an_import_that_hangs(site):
    site.specimen("hangs", HANGING)
    result = check(site.entries()["hangs"], path=site.path, timeout=1.0)
    assert result.failure == "importing and verifying it did not end within 1 s"


def test_selecting_one_says_why_in_one_line_and_the_host_goes_on(site, visit, expect):
    site.specimens({name: source for name, (source, _) in FAILING.items()})
    site.specimen("hangs", HANGING)
    expected = {name: [f"PluginLoadError: {refusal(name, text)}"] for name, (_, text) in FAILING.items()}
    expected["hangs"] = [f"PluginLoadError: {refusal('hangs', 'it did not end within 0.2 s')}"]
    expect(visit(FAILING, hangs={"timeout": 0.2}), expected)


def test_the_merely_rude_ones_load_and_export(site, visit):
    site.specimens({name: source + GOOD for name, source in LOADING.items()})
    assert visit(LOADING) == dict.fromkeys(LOADING, ["ok"] * 5)
