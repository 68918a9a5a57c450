"""The state that belongs to the whole process, and to no library in it: found as it was left, or said to be changed.

Most of it is given a value of the checker's own first, since what an exporter sets again and again has been set by the
time at which anybody looks.
"""

from __future__ import annotations

import asyncio
import builtins
import gc
import json
import locale
import logging
import os
import random
import resource
import signal
import socket
import ssl
import sys
import tempfile
import threading
import time
import warnings
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGALRM, signal.SIGCHLD)
_FUNCTIONS: Final = (
    *((builtins, name) for name in ("open", "print", "__import__")),
    *((json, name) for name in ("dumps", "loads")),
    *((os, name) for name in ("fork", "open", "write", "close", "getpid")),
    *((socket, name) for name in ("socket", "create_connection", "getaddrinfo", "gethostbyname")),
    *((ssl, name) for name in ("SSLContext", "create_default_context", "_create_default_https_context")),
    *((threading, name) for name in ("Thread", "Lock", "Event")),
    *((time, name) for name in ("time", "monotonic", "sleep")),
)
_AS_IMPORTED: Final = [(module, name, getattr(module, name)) for module, name in _FUNCTIONS]
"""The standard library's functions before any exporter was imported."""


def _directory() -> Path | None:
    """The working directory; None if it is gone."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


_DIRECTORY: Final = _directory()
"""The working directory before any exporter was imported."""
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
    watches = [_settings, _hooks, _logging, _warnings, _random, _environment, _standard_input]
    watches += [_output] * output + [_signals] * (threading.current_thread() is threading.main_thread())
    with ExitStack() as stack:
        looks = [stack.enter_context(watch()) for watch in watches]
        yield lambda: [words for look in looks for words in look()] + _replaced()


def _replaced() -> list[str]:
    changed = [
        f"{module.__name__}.{name}" for module, name, function in _AS_IMPORTED if getattr(module, name) is not function
    ]
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


@contextmanager
def _hooks() -> Iterator[Callable[[], list[str]]]:
    owners = ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook"))
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
    root.setLevel(logging.WARNING + 1)

    def look() -> list[str]:
        found = {
            "the level of the root logger": root.level != logging.WARNING + 1,
            "the handlers of the root logger": root.handlers != own,
            "logging.disable": root.manager.disable != 1,
        }
        return [name for name, is_changed in found.items() if is_changed]

    try:
        yield look
    finally:
        level, root.handlers, root.manager.disable = before
        root.setLevel(level)


@contextmanager
def _warnings() -> Iterator[Callable[[], list[str]]]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", _PlantedWarning)

        def look() -> list[str]:
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
def _output() -> Iterator[Callable[[], list[str]]]:
    """Notice what is written to standard output, as a text and as bytes."""
    before, descriptor = sys.stdout, os.dup(1)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 1)
        sys.stdout = own = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the block's end

        def look() -> list[str]:
            replaced = ["standard output"] * (sys.stdout is not own or own.closed)
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
