"""The state that belongs to the whole process, and to no library in it: found as it was left, or said to be changed.

Most of it is given a value of the checker's own first, since what an exporter sets again and again has been set by the
time at which anybody looks.
"""

from __future__ import annotations

import asyncio
import builtins
import contextvars
import copy
import decimal
import gc
import http.client
import json
import json.decoder
import json.encoder
import locale
import logging
import os
import queue
import random
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
import warnings
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SIGNALS: Final = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2, signal.SIGALRM, signal.SIGCHLD),
    signal.SIGPIPE,
)
_MODULES: Final = (
    *(asyncio, builtins, copy, http.client, json, json.decoder, json.encoder, logging, os, queue, socket, ssl),
    *(subprocess, threading, time, urllib.request, uuid),
)
_PLANTED: Final = frozenset({"putenv", "unsetenv", "excepthook", "_logRecordFactory"})
"""Functions of those modules in whose places the watches put their own."""


def _functions() -> Iterator[tuple[str, Any, str, object]]:  # Any: a module or a class
    """List the functions and classes of the standard library's modules, and the functions of those classes."""
    for module in _MODULES:
        classes = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
        for name, owner in [
            (module.__name__, module),
            *((f"{module.__name__}.{one.__name__}", one) for one in classes),
        ]:
            for key, value in vars(owner).items():
                if callable(value) and key not in _PLANTED:
                    yield name, owner, key, value


_AS_IMPORTED: Final = list(_functions())
"""What the standard library is made of before any exporter was imported."""
_OPENER: Final = getattr(urllib.request, "_opener", None)


def _directory() -> Path | None:
    """The working directory; None if it is gone."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


_DIRECTORY: Final = _directory()
"""The working directory before any exporter was imported."""
_STACK: Final = (8 << 20) + (1 << 16)
"""Bytes, more than threads have without being asked for."""
_ODD: Final = 13
"""Makes a limit that nobody else would choose."""
_NO_LIMIT: Final = 1 << 31  # open files


class _PlantedWarning(UserWarning):
    """Warned of to see if warnings still reach the application."""


class _Planted(logging.NullHandler):
    """The root logger's only handler."""


@contextmanager
def watched_process(*, output: bool) -> Iterator[Callable[[], list[str]]]:
    """Plant values of the checker's own for the block; the function returns what was changed since, in words.

    ``output`` is True to look for what is written to standard output as well.
    """
    watches = [_settings, _kept, _hooks, _logging, _warnings, _random, _environment, _standard_input, _standard_error]
    watches += [_output] * output + [_signals] * (threading.current_thread() is threading.main_thread())
    with ExitStack() as stack:
        looks = [stack.enter_context(watch()) for watch in watches]
        stack.callback(_put_back)
        yield lambda: [words for look in looks for words in look()] + _replaced()


def _put_back() -> None:
    for _, owner, name, value in _AS_IMPORTED:
        if vars(owner).get(name) is not value:
            setattr(owner, name, value)


def _replaced() -> list[str]:
    changed = [f"{of}.{name}" for of, owner, name, value in _AS_IMPORTED if vars(owner).get(name) is not value]
    changed += ["the opener of urllib"] * (getattr(urllib.request, "_opener", None) not in (None, _OPENER))
    policy = type(getattr(asyncio.events, "_event_loop_policy", None))
    if policy is not type(None) and policy.__module__.partition(".")[0] != "asyncio":
        changed.append("the policy of asyncio")
    return changed


@contextmanager
def _settings() -> Iterator[Callable[[], list[str]]]:
    def umask() -> str:
        found = os.umask(0o077)
        os.umask(found)
        return f"{found:03o}"

    def files() -> int:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def limit_files(number: int) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    # name, its value, how it is set, the value that is planted
    table: tuple[tuple[str, Callable[[], Any], Callable[[Any], object], Any], ...] = (  # Any: of each its own type
        *([("the working directory", _directory, os.chdir, _DIRECTORY)] if _DIRECTORY else []),
        ("the umask", umask, lambda value: os.umask(int(value, 8)), "026"),
        ("the locale", partial(locale.setlocale, locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL), "C"),
        ("the default time-out of sockets", socket.getdefaulttimeout, socket.setdefaulttimeout, None),
        ("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit, sys.getrecursionlimit() + _ODD),
        ("the garbage collector's thresholds", gc.get_threshold, lambda value: gc.set_threshold(*value), (713, 11, 11)),
        ("the switch interval", sys.getswitchinterval, sys.setswitchinterval, 0.0051),
        ("the stack size of threads", _stack_size, threading.stack_size, _STACK),
        ("the precision of decimal numbers", *_precision(decimal.getcontext()), 28 + _ODD),
        ("the default precision of decimal numbers", *_precision(decimal.DefaultContext), 29 + _ODD),
        *([("the limit of open files", files, limit_files, files() - _ODD)] if _ODD < files() < _NO_LIMIT else []),
    )
    before = [
        (set_to, value) for _, read, set_to, _ in table if (value := read()) is not None or read is not _directory
    ]
    collects = gc.isenabled()
    try:
        planted = []
        for name, read, set_to, value in table:
            set_to(value)
            planted.append((name, read, read()))
        gc.enable()

        def look() -> list[str]:
            changed = [f"{name} ({value!r}, now {read()!r})" for name, read, value in planted if read() != value]
            return changed + ["the garbage collector, which is off"] * (not gc.isenabled())

        yield look
    finally:
        for set_to, value in before:
            set_to(value)
        (gc.enable if collects else gc.disable)()


def _stack_size() -> int:
    found = threading.stack_size()  # which sets the default
    threading.stack_size(found)
    return found


def _precision(context: decimal.Context) -> tuple[Callable[[], int], Callable[[int], None]]:
    return lambda: context.prec, lambda digits: setattr(context, "prec", digits)


@contextmanager
def _kept() -> Iterator[Callable[[], list[str]]]:
    """Notice what is changed in the block itself."""
    limits = [name for name in dir(resource) if name.startswith("RLIMIT_") and name != "RLIMIT_NOFILE"]
    table: dict[str, Callable[[], object]] = {
        "sys.path": lambda: list(sys.path),
        "sys.meta_path": lambda: list(sys.meta_path),
        "sys.path_hooks": lambda: list(sys.path_hooks),
        "gc.callbacks": lambda: list(gc.callbacks),
        "the trace function": sys.gettrace,
        "the profile function": sys.getprofile,
        "the hooks of asynchronous generators": sys.get_asyncgen_hooks,
        "the priority": partial(os.getpriority, os.PRIO_PROCESS, 0),
        "the processors": partial(os.sched_getaffinity, 0) if hasattr(os, "sched_getaffinity") else bool,
        "the time zone": lambda: time.tzname,
        **{f"the limit {name}": partial(resource.getrlimit, getattr(resource, name)) for name in limits},
    }
    before = {name: read() for name, read in table.items()}
    yield lambda: [name for name, read in table.items() if read() != before[name]]


def state_of_thread() -> dict[str, object]:
    """What belongs to the calling thread, and not to a library that it calls, by name."""
    loops = getattr(getattr(asyncio.events, "_event_loop_policy", None), "_local", None)
    return {
        "the signals that are blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "the event loop": getattr(loops, "_loop", None),
        "the precision of decimal numbers": decimal.getcontext().prec,
        "the trace function": sys.gettrace(),
        "the profile function": sys.getprofile(),
        "the name": threading.current_thread().name,
        "the context variables": dict(contextvars.copy_context()),
    }


@contextmanager
def _hooks() -> Iterator[Callable[[], list[str]]]:
    names = ("excepthook", "unraisablehook", "displayhook", "breakpointhook")
    owners = (*((sys, name) for name in names), (threading, "excepthook"))
    before = [getattr(owner, name) for owner, name in owners]
    own = [partial(hook) for hook in before]
    try:
        for (owner, name), hook in zip(owners, own, strict=True):
            setattr(owner, name, hook)
        yield lambda: [
            f"{owner.__name__}.{name}"
            for (owner, name), hook in zip(owners, own, strict=True)
            if getattr(owner, name) is not hook
        ]
    finally:
        for (owner, name), hook in zip(owners, before, strict=True):
            setattr(owner, name, hook)


@contextmanager
def _logging() -> Iterator[Callable[[], list[str]]]:
    root = logging.root
    before = root.level, root.handlers, root.manager.disable
    own: list[logging.Handler] = [_Planted()]
    root.handlers, root.manager.disable = list(own), 1
    factory = logging.getLogRecordFactory()
    own_factory = partial(factory)
    logging.setLogRecordFactory(own_factory)
    root.setLevel(logging.WARNING + 1)

    def look() -> list[str]:
        found = {
            "the level of the root logger": root.level != logging.WARNING + 1,
            "the handlers of the root logger": root.handlers != own,
            "logging.disable": root.manager.disable != 1,
            "the factory of log records": logging.getLogRecordFactory() is not own_factory,
        }
        return [name for name, is_changed in found.items() if is_changed]

    try:
        yield look
    finally:
        logging.setLogRecordFactory(factory)
        level, root.handlers, root.manager.disable = before
        root.setLevel(level)


@contextmanager
def _warnings() -> Iterator[Callable[[], list[str]]]:
    logging.captureWarnings(capture=False)  # else to capture them once more changes nothing
    with warnings.catch_warnings():
        warnings.simplefilter("error", _PlantedWarning)
        shown = warnings.showwarning = partial(warnings.showwarning)

        def look() -> list[str]:
            if warnings.showwarning is not shown:
                return ["warnings.showwarning"]
            try:
                warnings.warn("planted", _PlantedWarning, stacklevel=2)
            except _PlantedWarning:
                return []
            return ["the filters of warnings, for all categories"]

        yield look


@contextmanager
def _random() -> Iterator[Callable[[], list[str]]]:
    """Notice seeding; that random numbers are drawn is nobody's business."""
    before, seed = random.getstate(), random.seed
    seeded: list[object] = []
    random.seed = lambda *arguments, **_: seeded.append(arguments)
    try:
        yield lambda: ["the seed of random"] * bool(seeded)
    finally:
        random.seed = seed
        random.setstate(before)


@contextmanager
def _environment() -> Iterator[Callable[[], list[str]]]:
    """Notice writing, also of what is there already."""
    before, names = dict(os.environ), ("putenv", "unsetenv")
    functions = [getattr(os, name) for name in names]
    written: list[str] = []

    def noticing(function: Callable[..., None]) -> Callable[..., None]:
        def write(key: bytes, *value: bytes) -> None:
            written.append(os.fsdecode(key))
            function(key, *value)

        return write

    for name, function in zip(names, functions, strict=True):
        setattr(os, name, noticing(function))
    try:
        yield lambda: [f"the environment ({', '.join(dict.fromkeys(written))})"] * bool(written)
    finally:
        for name, function in zip(names, functions, strict=True):
            setattr(os, name, function)
        for name in written:
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


@contextmanager
def _standard_input() -> Iterator[Callable[[], list[str]]]:
    before = sys.stdin
    with Path(os.devnull).open() as own:
        sys.stdin = own
        try:
            yield lambda: ["standard input"] * (sys.stdin is not own or own.closed)
        finally:
            sys.stdin = before


@contextmanager
def _standard_error() -> Iterator[Callable[[], list[str]]]:
    before = sys.stderr
    with os.fdopen(os.dup(2), "w", encoding="utf-8", errors="namereplace") as own:
        sys.stderr = own
        try:
            yield lambda: ["standard error"] * (sys.stderr is not own or _unlike(own))
        finally:
            sys.stderr = before


def _unlike(own: TextIO) -> bool:
    """True if a stream of the checker's was closed, or configured anew."""
    return own.closed or own.errors != "namereplace" or bool(getattr(own, "line_buffering", False))


@contextmanager
def _output() -> Iterator[Callable[[], list[str]]]:
    """Notice what is written to standard output, as a text and as bytes."""
    before, descriptor = sys.stdout, os.dup(1)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 1)
        sys.stdout = own = open(1, "w", encoding="utf-8", errors="namereplace", closefd=False)  # noqa: SIM115 - until the block's end

        def look() -> list[str]:
            replaced = ["standard output"] * (sys.stdout is not own or _unlike(own))
            if not own.closed:
                own.flush()
            size = os.fstat(written.fileno()).st_size
            return replaced + [f"standard output ({size} bytes were written)"] * bool(size)

        try:
            yield look
        finally:
            sys.stdout = before
            os.dup2(descriptor, 1)
            os.close(descriptor)


@contextmanager
def _signals() -> Iterator[Callable[[], list[str]]]:
    is_timed = any(signal.getitimer(signal.ITIMER_REAL))  # by somebody else, such as a time-out of pytest's
    before = {number: signal.getsignal(number) for number in _SIGNALS if number != signal.SIGALRM or not is_timed}

    def planted(*_: object) -> None:
        """Do nothing."""

    own = {number: planted for number, handler in before.items() if handler is not None}  # None: not Python's
    for number in own:
        signal.signal(number, planted)

    def look() -> list[str]:
        changed = [f"the handler of {number.name}" for number in own if signal.getsignal(number) is not planted]
        return changed + ["the timer of SIGALRM"] * (not is_timed and any(signal.getitimer(signal.ITIMER_REAL)))

    try:
        yield look
    finally:
        if not is_timed:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number in own:
            signal.signal(number, before[number])
