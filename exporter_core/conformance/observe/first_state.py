"""The state of the process before its first exporter was built: for what is set once, and stays.

A thing that an exporter changed in an earlier clause is the same before and after a later one. So it is compared with
the thing that was there first.
"""

from __future__ import annotations

import asyncio
import builtins
import codecs
import contextvars
import decimal
import faulthandler
import gc
import logging
import os
import resource
import signal
import sys
import threading
import tracemalloc
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import get_current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_MODULES: Final = (
    "asyncio",
    "base64",
    "builtins",
    "collections",
    "concurrent.futures.thread",
    "contextlib",
    "copy",
    "csv",
    "datetime",
    "functools",
    "gzip",
    "hashlib",
    "http.client",
    "json",
    "json.decoder",
    "json.encoder",
    "logging",
    "multiprocessing.context",
    "opentelemetry.sdk.metrics._internal.export",
    "opentelemetry.sdk.metrics._internal.point",
    "opentelemetry.sdk.resources",
    "os",
    "pathlib",
    "pickle",
    "queue",
    "random",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "ssl",
    "struct",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "traceback",
    "urllib.parse",
    "urllib.request",
    "uuid",
    "zlib",
)
"""Those that are patched for a whole process, now and then."""
_WATCHED_ELSEWHERE: Final = frozenset(
    {"putenv", "unsetenv", "excepthook", "seed", "setstate", "addLevelName", "_logRecordFactory", "SIG_DFL", "SIG_IGN"}
)
_GLOBALS: Final = (
    ("the meter provider of OpenTelemetry", "opentelemetry.metrics._internal", "_METER_PROVIDER"),
    ("the tracer provider of OpenTelemetry", "opentelemetry.trace", "_TRACER_PROVIDER"),
    ("the logger provider of OpenTelemetry", "opentelemetry._logs._internal", "_LOGGER_PROVIDER"),
    ("the propagator of OpenTelemetry", "opentelemetry.propagate", "_HTTP_TEXT_FORMAT"),
)
_REGISTRIES: Final = (("sqlite3", "adapters"), ("copyreg", "dispatch_table"))
"""Registries that say what becomes of the values of a type, in the whole process."""
_NAMES_OF_REGISTRIES: Final = frozenset(map(".".join, _REGISTRIES))
_SETTINGS: Final = (bool, int, float, str, bytes, tuple)
"""The types of what a module has for a setting; None stands for what is made when it is needed."""
_HANDLERS_OF_ERRORS: Final = ("strict", "ignore", "replace", "backslashreplace", "surrogateescape", "xmlcharrefreplace")
_LEVELS: Final = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
PRIORITY: Final = "the priority of the process"
"""The name of what is to be put back, where that is allowed."""
_PACKAGES: Final = ("site-packages", "dist-packages")
"""The folders in which a package that is imported may put its own on the import path."""


@dataclass(frozen=True)
class State:
    """The state at one moment."""

    parts: Mapping[tuple[str, str], tuple[Any, object]]  # Any: a module or a class
    values: Mapping[str, object]

    @classmethod
    def now(cls) -> State:
        """The state at this moment."""
        return cls(dict(_standard_parts()), {name: read() for name, read in _table().items()})

    def changed(self) -> list[str]:
        """Name what is not as it was then."""
        found = [f"{of}.{name}" for (of, name), (owner, value) in self.parts.items() if _was_put(owner, name, value)]
        table = _table()
        return found + [
            name for name, value in self.values.items() if name in table and _is_another(name, value, table[name]())
        ]


first: State | None = None
"""The state before the first exporter was built, where somebody remembers it."""


def remember() -> None:
    """Take the present state for the first one."""
    global first  # noqa: PLW0603 - of the process
    first = State.now()


def _was_put(owner: Any, name: str, value: object) -> bool:  # Any: a module or a class
    """True if a name has another value than this one, or none."""
    now = vars(owner).get(name, owner)
    return now is not value and (callable(value) or type(now) is not type(value) or bool(now != value))


def state_of_thread() -> dict[str, object]:
    """The state that belongs to the calling thread, and not to a library that it calls, by name."""
    loops = getattr(getattr(asyncio.events, "_event_loop_policy", None), "_local", None)
    numbers = decimal.getcontext()
    return {
        "the signals that are blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "the event loop": getattr(loops, "_loop", None),
        "the context of decimal numbers": _arithmetic(numbers),
        "the trace function": sys.gettrace(),
        "the profile function": sys.getprofile(),
        "the hooks of asynchronous generators": sys.get_asyncgen_hooks(),
        "the tracking of coroutines": sys.get_coroutine_origin_tracking_depth(),
        "the name": threading.current_thread().name,
        "the priority": os.getpriority(os.PRIO_PROCESS, 0),
        "the processors": os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None,
        "the context of OpenTelemetry": dict(get_current()),
        "the context variables": {one: id(value) for one, value in contextvars.copy_context().items()},
    }


def changed_in_thread(before: dict[str, object]) -> list[str]:
    """Name what the calling thread has otherwise than before; an event loop that was taken away is asyncio.run's."""
    return [name for name, now in state_of_thread().items() if _is_another(name, before[name], now)]


def _is_another(name: str, before: Any, now: Any) -> bool:  # noqa: PLR0911 - one answer a name. Any: of each its own type
    """True if a value is not what it was, beyond what any library may add."""
    match name:
        case "sys.path":  # packages of setuptools put folders of their own there when they are imported
            more = [one for one in now if one not in before]
            return [one for one in now if one in before] != before or not all(
                any(folder in str(one) for folder in _PACKAGES) for one in more
            )
        case _ if name in _NAMES_OF_REGISTRIES:  # packages teach it types of their own when they are imported
            added = [one[0] if isinstance(one, tuple) else one for one in now if one not in before]
            return any(now.get(one) is not value for one, value in before.items()) or any(
                getattr(one, "__module__", "") == "builtins" for one in added
            )
        case "sys.meta_path" | "sys.path_hooks" | "gc.callbacks":
            return bool(now[: len(before)] != before)
        case "the names of builtins":
            return not now <= before
        case "the context variables":
            return any(now.get(one) != value for one, value in before.items())
        case "the event loop":
            return now is not None and now is not before
        case "the propagator of OpenTelemetry":  # which its import makes
            return before is not None and now is not before
    return bool(now != before)


def _standard_parts() -> Iterator[tuple[tuple[str, str], tuple[Any, object]]]:  # Any: a module or a class
    """List the functions and classes of modules, their settings, and those of the classes in them."""
    for name in _MODULES:
        module = sys.modules.get(name)
        if module is None:
            continue
        owners: list[tuple[str, Any]] = [(name, module)]
        classes = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == name]
        owners += [(f"{name}.{one.__name__}", one) for one in classes]
        for of, owner in owners:
            for key, value in vars(owner).items():
                is_setting = not key.startswith("_") and isinstance(value, _SETTINGS)
                if key not in _WATCHED_ELSEWHERE and (callable(value) or is_setting):
                    yield (of, key), (owner, value)


def _table() -> dict[str, Callable[[], object]]:
    table: dict[str, Callable[[], object]] = {
        "sys.path": lambda: list(sys.path),
        "sys.meta_path": lambda: list(sys.meta_path),
        "sys.path_hooks": lambda: list(sys.path_hooks),
        "gc.callbacks": lambda: list(gc.callbacks),
        "gc.set_debug": gc.get_debug,
        "the trace function of threads": threading.gettrace,
        "the profile function of threads": threading.getprofile,
        "faulthandler": faulthandler.is_enabled,
        "tracemalloc": tracemalloc.is_tracing,
        "the limit of digits": sys.get_int_max_str_digits,
        "sys.setdlopenflags": sys.getdlopenflags,
        "sys.tracebacklimit": lambda: getattr(sys, "tracebacklimit", None),
        "sys.dont_write_bytecode": lambda: sys.dont_write_bytecode,
        "the names of builtins": lambda: frozenset(vars(builtins)) - {"_"},
        "the default context of decimal numbers": lambda: _arithmetic(decimal.DefaultContext),
        **{f"{module}.{name}": partial(_registered, module, name) for module, name in _REGISTRIES},
        "the class of loggers": logging.getLoggerClass,
        "the names of the levels of logging": lambda: [logging.getLevelName(level) for level in _LEVELS],
        "the handlers of errors of codecs": lambda: [codecs.lookup_error(name) for name in _HANDLERS_OF_ERRORS],
        "the start method of multiprocessing": _start_method,
        PRIORITY: lambda: os.getpriority(os.PRIO_PROCESS, 0),
        "the user": lambda: (os.getuid(), os.geteuid(), os.getgid(), os.getegid(), sorted(os.getgroups())),
        "the process group": lambda: (os.getpgid(0), os.getsid(0)),
        "the timers of the process": lambda: [signal.getitimer(n) for n in (signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)],
        **{f"the handler of {_name(one)}": partial(signal.getsignal, one) for one in _signals()},
        **{f"the limit {name}": partial(resource.getrlimit, getattr(resource, name)) for name in _limits()},
    }
    for name, module, key in _GLOBALS:
        table[name] = partial(lambda module, key: getattr(sys.modules.get(module), key, None), module, key)
    return table


def _registered(module: str, name: str) -> dict[object, object]:
    """The entries that a registry of the standard library has, which its module need not have been imported for."""
    return dict(getattr(sys.modules.get(module), name, {}))


def _arithmetic(context: decimal.Context) -> tuple[object, ...]:
    """The settings of decimal numbers, without the flags that computing sets."""
    traps = tuple(sorted(one.__name__ for one, is_set in context.traps.items() if is_set))
    return context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp, traps


def _start_method() -> object:
    """The method that was chosen; the default counts as none, since making a pool chooses it."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is None:
        return None
    method = multiprocessing.get_start_method(allow_none=True)
    return None if method == multiprocessing.get_all_start_methods()[0] else method


def _limits() -> list[str]:
    """The limits of the process but that of open files, which is watched elsewhere."""
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return [name for name in names if getattr(resource, name) != resource.RLIMIT_NOFILE]


def _signals() -> list[int]:
    """All signals but those whose handlers are watched elsewhere, or are the checker's."""
    return sorted(signal.valid_signals() - set(PLANTED) - {signal.SIGUSR1})


def _name(number: int) -> str:
    return number.name if isinstance(number, signal.Signals) else f"signal {number}"


PLANTED: Final = tuple(
    getattr(signal, name)
    for name in (
        *("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR2", "SIGALRM", "SIGCHLD", "SIGPIPE", "SIGWINCH", "SIGXFSZ"),
        *("SIGURG", "SIGIO", "SIGPWR"),
    )
    if hasattr(signal, name)
)
"""The signals whose handlers are watched by planting others."""
