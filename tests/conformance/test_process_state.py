"""State of the whole process: changes are noticed, and everything is put back."""

import asyncio
import builtins
import decimal
import gc
import http.client
import json
import locale
import logging
import multiprocessing
import os
import random
import resource
import signal
import socket
import sys
import threading
import time
import urllib.request
import warnings
from pathlib import Path

import pytest
from opentelemetry.context import attach, set_value

from exporter_core.conformance.observe import first_state
from exporter_core.conformance.observe.process_state import watched_process


def change_signal():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


CHANGES = {
    "the working directory": lambda: os.chdir("/"),
    "the umask": lambda: os.umask(0),
    "the locale": lambda: locale.setlocale(locale.LC_ALL, "C"),
    "the default time-out of sockets": lambda: socket.setdefaulttimeout(1),
    "the recursion limit": lambda: sys.setrecursionlimit(5000),
    "the garbage collector, which is off": gc.disable,
    "descriptor 0": lambda: os.set_blocking(0, False),
    "the garbage collector's thresholds": lambda: gc.set_threshold(5, 5, 5),
    "the switch interval": lambda: sys.setswitchinterval(0.001),
    "sys.excepthook": lambda: setattr(sys, "excepthook", print),
    "threading.excepthook": lambda: setattr(threading, "excepthook", print),
    "the level of the root logger": lambda: logging.root.setLevel(logging.DEBUG),
    "the handlers of the root logger": lambda: logging.root.addHandler(logging.NullHandler()),
    "logging.disable": lambda: logging.disable(logging.NOTSET),
    "the filters of warnings, for all categories": lambda: warnings.simplefilter("ignore"),
    "the filters of warnings, for DeprecationWarning": lambda: warnings.simplefilter("ignore", DeprecationWarning),
    "warnings.showwarning": lambda: logging.captureWarnings(capture=True),
    "the logger urllib3": lambda: logging.getLogger("urllib3").setLevel(logging.ERROR),
    "the factory of log records": lambda: logging.setLogRecordFactory(logging.LogRecord),
    "the opener of urllib": lambda: urllib.request.install_opener(urllib.request.build_opener()),
    "the stack size of threads": lambda: threading.stack_size(256 * 1024),
    "standard error": lambda: sys.stderr.reconfigure(errors="replace"),
    "the seed of random": lambda: random.seed(3),
    "the environment (SET_BY_A_TEST)": lambda: os.environ.update(SET_BY_A_TEST="1"),
    "standard input": lambda: setattr(sys, "stdin", None),
    "standard output (3 bytes were written)": lambda: os.write(1, b"abc"),
    "standard output (2 bytes were written)": lambda: sys.stdout.write("x\n"),
    "the handler of SIGHUP": change_signal,
}

STAYING = {
    "the context of decimal numbers": lambda: decimal.setcontext(decimal.Context(prec=6)),
    "the default context of decimal numbers": lambda: setattr(decimal.DefaultContext, "prec", 6),
    "the signals that are blocked": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}),
    "the context of OpenTelemetry": lambda: attach(set_value("left", True)),
    "sys.path": lambda: sys.path.insert(0, "/vendor"),
    "the limit RLIMIT_CORE": lambda: resource.setrlimit(
        resource.RLIMIT_CORE, (7, resource.getrlimit(resource.RLIMIT_CORE)[1])
    ),
    "the names of builtins": lambda: setattr(builtins, "set_by_a_test", print),
    "json.encoder.JSONEncoder.default": lambda: setattr(json.JSONEncoder, "default", print),
    "http.client.HTTPConnection.debuglevel": lambda: setattr(http.client.HTTPConnection, "debuglevel", 1),
    "the names of the levels of logging": lambda: logging.addLevelName(logging.INFO, "info"),
    "the garbage collector, which was told to freeze": gc.freeze,
    "time.sleep": lambda: setattr(time, "sleep", print),
}
"""Changes that stay, since what is compared with is the state before the first exporter."""


@pytest.mark.parametrize("words", CHANGES)
def test_a_change_is_told(words):
    with watched_process(output=True) as changed:
        assert changed() == []
        CHANGES[words]()
        assert [one for one in changed() if one.startswith(words)]


def test_what_stays_is_told(tmp_path):
    told = tmp_path / "told"
    child = os.fork()
    if child == 0:
        try:
            with watched_process(output=True) as changed:
                assert changed() == []
                for change in STAYING.values():
                    change()
                told.write_text("\n".join(changed()))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert [words for words in STAYING if words not in told.read_text().split("\n")] == []


def test_what_was_changed_before_is_told_where_the_first_state_is_remembered(monkeypatch):
    monkeypatch.setattr(first_state, "first", first_state.State.now())
    monkeypatch.setattr(json.JSONEncoder, "default", print)
    with watched_process(output=True) as changed:
        assert changed() == ["json.encoder.JSONEncoder.default"]


def test_a_policy_of_asyncio_that_another_library_has_set_before_is_told(monkeypatch):
    class Other(asyncio.DefaultEventLoopPolicy):
        """A policy that is not asyncio's own."""

    monkeypatch.setattr(asyncio.events, "_event_loop_policy", Other())
    with watched_process(output=True) as changed:
        assert changed() == ["the policy of asyncio"]


def test_what_libraries_do_when_they_are_imported_or_called_is_no_change(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    with watched_process(output=True) as changed:
        sys.path.append("/usr/lib/python3/site-packages/setuptools/_vendor")
        sys.meta_path.append(object())
        asyncio.run(asyncio.sleep(0))
        with decimal.localcontext() as context:
            context.prec = 3
        decimal.Decimal(1) / 3
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
        warnings.filterwarnings("ignore", message="numpy.ndarray size changed")
        logging.getLogger("urllib3").addHandler(logging.NullHandler())
        multiprocessing.get_context()
        random.random()  # noqa: S311 - not for a secret
        assert changed() == []


def test_everything_is_put_back():
    def state():
        umask = os.umask(0o077)
        os.umask(umask)
        return (
            Path.cwd(),
            umask,
            locale.setlocale(locale.LC_ALL),
            socket.getdefaulttimeout(),
            sys.getrecursionlimit(),
            gc.get_threshold(),
            gc.isenabled(),
            sys.excepthook,
            threading.excepthook,
            logging.root.level,
            list(logging.root.handlers),
            logging.root.manager.disable,
            list(warnings.filters),
            warnings.showwarning,
            logging.getLogRecordFactory(),
            logging.getLogger("urllib3").level,
            decimal.getcontext().prec,
            sys.stderr,
            random.getstate(),
            dict(os.environ),
            sys.stdin,
            sys.stdout,
            {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)},
        )

    before = state()
    with watched_process(output=True):
        for change in CHANGES.values():
            change()
    assert state() == before
    assert "SET_BY_A_TEST" not in os.environ
