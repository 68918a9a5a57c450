"""State of the whole process: changes are noticed, and everything is put back."""

import gc
import locale
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from exporter_core.conformance.observe.process_state import watched_process


def change_signal():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


CHANGES = {
    "the working directory": lambda: os.chdir("/"),
    "the umask": lambda: os.umask(0),
    "the locale": lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8"),
    "the default time-out of sockets": lambda: socket.setdefaulttimeout(1),
    "the recursion limit": lambda: sys.setrecursionlimit(5000),
    "the garbage collector, which is off": gc.disable,
    "the garbage collector's thresholds": lambda: gc.set_threshold(5, 5, 5),
    "the switch interval": lambda: sys.setswitchinterval(0.001),
    "sys.excepthook": lambda: setattr(sys, "excepthook", print),
    "threading.excepthook": lambda: setattr(threading, "excepthook", print),
    "the level of the root logger": lambda: logging.root.setLevel(logging.DEBUG),
    "the handlers of the root logger": lambda: logging.root.addHandler(logging.NullHandler()),
    "logging.disable": lambda: logging.disable(logging.NOTSET),
    "the filters of warnings, for all categories": lambda: warnings.simplefilter("ignore"),
    "the seed of random": lambda: random.seed(3),
    "the environment (SET_BY_A_TEST)": lambda: os.environ.update(SET_BY_A_TEST="1"),
    "standard input": lambda: setattr(sys, "stdin", None),
    "standard output (3 bytes were written)": lambda: os.write(1, b"abc"),
    "standard output (2 bytes were written)": lambda: sys.stdout.write("x\n"),
    "time.sleep": lambda: setattr(time, "sleep", print),
    "the handler of SIGHUP": change_signal,
}


@pytest.mark.parametrize("words", CHANGES)
def test_a_change_is_told(words, monkeypatch):
    monkeypatch.setattr(time, "sleep", time.sleep)  # which the clause leaves to its owner to put back
    with watched_process(output=True) as changed:
        assert changed() == []
        CHANGES[words]()
        assert [one for one in changed() if one.startswith(words)]


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
            random.getstate(),
            dict(os.environ),
            sys.stdin,
            sys.stdout,
            {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)},
        )

    before = state()
    with watched_process(output=True):
        for words, change in CHANGES.items():
            if words != "time.sleep":
                change()
    assert state() == before
    assert "SET_BY_A_TEST" not in os.environ
