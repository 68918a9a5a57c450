"""The state that belongs to the whole process, and to no library in it: found as it was left, or said to be changed.

Most of it is given a value of the checker's own first, since what an exporter sets again and again has been set by the
time at which anybody looks.
"""

from __future__ import annotations

import asyncio
import builtins
import decimal
import gc
import itertools
import locale
import logging
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import threading
import warnings
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from exporter_core.conformance.observe import first_state
from exporter_core.conformance.observe.first_state import PLANTED, PRIORITY, State, changed_in_thread, state_of_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import FrameType


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
_IMPORTING: Final = "<frozen importlib._bootstrap>"
"""The name of the file of the code that runs a module that is imported."""
_LOGGERS: Final = ("asyncio", "concurrent.futures", "opentelemetry", "py.warnings", "urllib3")
"""Loggers of other libraries, whose records are the application's to choose from."""


class _PlantedWarning(UserWarning):
    """Warned of to see if warnings still reach the application."""


class _Planted(logging.NullHandler):
    """The root logger's only handler."""


@contextmanager
def watched_process(*, output: bool, bare: bool = False) -> Iterator[Callable[[], list[str]]]:
    """Plant values of the checker's own for the block; the function returns what was changed since, in words.

    ``output`` is True to look for what is written to standard output as well; ``bare`` is True for a process without
    a handler of log records, and whose garbage collector is off.
    """
    watches: list[Callable[[], AbstractContextManager[Callable[[], list[str]]]]] = [_first, _settings, _hooks]
    watches += [partial(_logging, handled=not bare), _policy]
    watches += [partial(_collector, is_on=not bare), _levels, _loggers, _warnings, _opener, _random, _environment]
    watches += [_standard_input, _standard_error, *[_output] * output, _descriptors]
    watches += [_signals] * (threading.current_thread() is threading.main_thread())
    with ExitStack() as stack:
        looks = [stack.enter_context(watch()) for watch in watches]
        stack.enter_context(_numbers())  # which the state of the thread has to do with
        before = state_of_thread()
        yield lambda: [words for look in looks for words in look()] + changed_in_thread(before)


@contextmanager
def _first() -> Iterator[Callable[[], list[str]]]:
    """Compare with the state before the first exporter was built; where nobody remembers it, with the present one.

    The priority is put back, where the process may have a better one than it has.
    """
    state = first_state.first or State.now()

    try:
        yield state.changed
    finally:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, cast("int", state.values[PRIORITY]))


@contextmanager
def _policy() -> Iterator[Callable[[], list[str]]]:
    """Let asyncio have a policy of the checker's own, of the kind that it has; another library's is told as well."""
    events: Any = asyncio.events  # Any: its policy is private
    before = events._event_loop_policy
    is_foreign = before is not None and type(before).__module__.partition(".")[0] != "asyncio"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.14
        own = events._event_loop_policy = type(asyncio.get_event_loop_policy())()
    try:
        yield lambda: ["the policy of asyncio"] * (is_foreign or events._event_loop_policy is not own)
    finally:
        events._event_loop_policy = before


@contextmanager
def _numbers() -> Iterator[None]:
    """Let decimal numbers have a context of the checker's own in this thread."""
    with decimal.localcontext() as own:
        own.prec += _ODD
        yield


@contextmanager
def _settings() -> Iterator[Callable[[], list[str]]]:
    def umask() -> str:
        found = os.umask(0o077)
        os.umask(found)
        return f"{found:03o}"

    def stack_size() -> int:
        found = threading.stack_size()  # which sets it to the default
        threading.stack_size(found)
        return found

    def files() -> int:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def limit_files(number: int) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    # name, its value, how it is set, the value that is planted
    table: tuple[tuple[str, Callable[[], Any], Callable[[Any], object], Any], ...] = (  # Any: of each its own type
        *([("the working directory", _directory, os.chdir, _DIRECTORY)] if _DIRECTORY else []),
        ("the umask", umask, lambda value: os.umask(int(value, 8)), "026"),
        ("the locale", partial(locale.setlocale, locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL), _locale()),
        ("the default time-out of sockets", socket.getdefaulttimeout, socket.setdefaulttimeout, None),
        ("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit, sys.getrecursionlimit() + _ODD),
        ("the garbage collector's thresholds", gc.get_threshold, lambda value: gc.set_threshold(*value), (713, 11, 11)),
        ("the switch interval", sys.getswitchinterval, sys.setswitchinterval, 0.0051),
        ("the stack size of threads", stack_size, threading.stack_size, _STACK),
        *([("the limit of open files", files, limit_files, files() - _ODD)] if _ODD < files() < _NO_LIMIT else []),
    )
    before = [
        (set_to, value) for _, read, set_to, _ in table if (value := read()) is not None or read is not _directory
    ]
    try:
        planted = []
        for name, read, set_to, value in table:
            set_to(value)
            planted.append((name, read, read()))
        yield lambda: [f"{name} ({value!r}, now {read()!r})" for name, read, value in planted if read() != value]
    finally:
        for set_to, value in before:
            set_to(value)


@contextmanager
def _collector(*, is_on: bool) -> Iterator[Callable[[], list[str]]]:
    """Let the garbage collector be on or off, and not frozen further."""
    was_on, frozen = gc.isenabled(), gc.get_freeze_count()
    _collect(is_on)

    def look() -> list[str]:
        switched = [f"the garbage collector, which is {'off' if is_on else 'on'}"] * (gc.isenabled() is not is_on)
        return switched + ["the garbage collector, which was told to freeze"] * (gc.get_freeze_count() > frozen)

    try:
        yield look
    finally:
        _collect(was_on)


def _collect(is_on: bool) -> None:
    (gc.enable if is_on else gc.disable)()


def _locale() -> str:
    """A locale that programs rarely set, if the system has it."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        return locale.setlocale(locale.LC_ALL, "C.UTF-8")
    except locale.Error:
        return "C"
    finally:
        locale.setlocale(locale.LC_ALL, before)


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
def _logging(*, handled: bool) -> Iterator[Callable[[], list[str]]]:
    root = logging.root
    before = root.level, root.handlers, root.manager.disable
    own: list[logging.Handler] = [_Planted()] * handled
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
def _levels() -> Iterator[Callable[[], list[str]]]:
    """Notice that a level of logging is named, other than by a module that is imported."""
    named: list[int] = []
    by_level, by_name, function = dict(logging._levelToName), dict(logging._nameToLevel), logging.addLevelName

    def name_level(level: int, levelName: str) -> None:  # noqa: N803 - as the function has it
        if not _is_in_import():
            named.append(level)
        function(level, levelName)

    def look() -> list[str]:
        levels = ", ".join(map(str, dict.fromkeys(named)))
        return [f"the names of the levels of logging ({levels})"] * bool(named)

    logging.addLevelName = name_level
    try:
        yield look
    finally:
        logging.addLevelName = function
        for level in named:
            now = logging._levelToName.pop(level, "")
            logging._nameToLevel.pop(now, None)
        logging._levelToName.update(by_level)
        logging._nameToLevel.update(by_name)


def _is_in_import() -> bool:
    """True if the calling code is run by the import of a module."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename != _IMPORTING:
        frame = frame.f_back
    return frame is not None


@contextmanager
def _loggers() -> Iterator[Callable[[], list[str]]]:
    """Notice what is done to loggers of other libraries."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(one, one.level, one.disabled, one.propagate, one.handlers, one.filters) for one in loggers]
    own = logging.NullHandler()
    for one in loggers:
        one.setLevel(logging.WARNING + 1)
        one.disabled, one.propagate, one.handlers, one.filters = False, True, [own], []

    def is_own(one: logging.Logger) -> bool:
        is_on = one.level == logging.WARNING + 1 and not one.disabled and one.propagate
        # A library that is imported late puts a NullHandler there.
        added = [handler for handler in one.handlers if not isinstance(handler, logging.NullHandler)]
        return is_on and own in one.handlers and not added and not one.filters

    try:
        yield lambda: [f"the logger {one.name}" for one in loggers if not is_own(one)]
    finally:
        for one, level, one.disabled, one.propagate, one.handlers, one.filters in before:
            one.setLevel(level)


@contextmanager
def _warnings() -> Iterator[Callable[[], list[str]]]:
    is_captured = getattr(logging, "_warnings_showwarning", None) is not None
    logging.captureWarnings(capture=False)  # else to capture them once more changes nothing
    with warnings.catch_warnings():
        warnings.simplefilter("error", _PlantedWarning)
        shown = warnings.showwarning = partial(warnings.showwarning)
        written = warnings.formatwarning = partial(warnings.formatwarning)

        def look() -> list[str]:
            names = ["warnings.showwarning"] * (warnings.showwarning is not shown)
            names += ["warnings.formatwarning"] * (warnings.formatwarning is not written)
            for _, message, category, module, _ in itertools.takewhile(_is_not_planted, warnings.filters):
                # Warnings of one's own, or of one message, may be silenced; not those of a whole built-in category.
                name = "all categories" if category is Warning else getattr(category, "__name__", "")
                if message is None and module is None and getattr(builtins, name, Warning) is category:
                    return [*names, f"the filters of warnings, for {name}"]
            return names + ["the filters of warnings"] * all(map(_is_not_planted, warnings.filters))

        try:
            yield look
        finally:
            logging.captureWarnings(capture=False)
    logging.captureWarnings(is_captured)


def _is_not_planted(one: tuple[Any, ...]) -> bool:  # Any: a filter's parts
    return one[2] is not _PlantedWarning


@contextmanager
def _opener() -> Iterator[Callable[[], list[str]]]:
    """Let urllib have an opener of the checker's own, where it is used."""
    urllib: Any = sys.modules.get("urllib.request")  # Any: its opener is private
    if urllib is None:
        yield list
        return
    before, own = urllib._opener, urllib.build_opener()
    urllib._opener = own
    try:
        yield lambda: ["the opener of urllib"] * (urllib._opener is not own)
    finally:
        urllib._opener = before


@contextmanager
def _descriptors() -> Iterator[Callable[[], list[str]]]:
    """Notice that a standard stream's descriptor is another file's, is closed, or does not block any more."""
    blocking = {}
    for number in range(3):
        with suppress(OSError):
            blocking[number] = os.get_blocking(number)
            os.set_blocking(number, True)

    def read(number: int) -> object:
        try:
            of = os.fstat(number)
        except OSError:
            return None
        return of.st_dev, of.st_ino, os.get_blocking(number)

    before = {number: read(number) for number in range(3)}
    try:
        yield lambda: [f"descriptor {number}" for number, was in before.items() if read(number) != was]
    finally:
        for number, was in blocking.items():
            with suppress(OSError):
                os.set_blocking(number, was)


@contextmanager
def _random() -> Iterator[Callable[[], list[str]]]:
    """Notice seeding; that random numbers are drawn is nobody's business."""
    before, functions = random.getstate(), (random.seed, random.setstate)
    seeded: list[object] = []
    random.seed = random.setstate = lambda *arguments, **_: seeded.append(arguments)  # type: ignore[assignment]  # of the same form
    try:
        yield lambda: ["the seed of random"] * bool(seeded)
    finally:
        random.seed, random.setstate = functions
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
    before = {number: signal.getsignal(number) for number in PLANTED if number != signal.SIGALRM or not is_timed}

    def planted(*_: object) -> None:
        """Do nothing."""

    own = {number: planted for number, handler in before.items() if handler is not None}  # None: not Python's
    for number in own:
        signal.signal(number, planted)
    woken = signal.set_wakeup_fd(-1)

    def look() -> list[str]:
        changed = [f"the handler of {number.name}" for number in own if signal.getsignal(number) is not planted]
        wakeup = signal.set_wakeup_fd(-1)
        if wakeup != -1:
            signal.set_wakeup_fd(wakeup)
        changed += ["signal.set_wakeup_fd"] * (wakeup != -1)
        return changed + ["the timer of SIGALRM"] * (not is_timed and any(signal.getitimer(signal.ITIMER_REAL)))

    try:
        yield look
    finally:
        if not is_timed:
            signal.setitimer(signal.ITIMER_REAL, 0)
        signal.set_wakeup_fd(woken)
        for number in own:
            signal.signal(number, before[number])
