"""Python programs for tests, forked from an interpreter that has imported the libraries but nothing of this project.

Half a second of processor time goes into a fresh interpreter before the first line of a test's program has an effect,
nearly all of it into importing the same libraries. A forked one has them. Everything else is its own and as usual: its
process, arguments, folder, environment and standard files, the imports of this project, and how the interpreter ends.

``Popen`` is subprocess's. It starts a fresh interpreter, too, where it is given something that would not be as usual.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

LIBRARIES = (
    "asyncio",
    "concurrent.futures.thread",
    "email.parser",
    "google.protobuf.message",
    "h11",
    "http.client",
    "importlib_metadata",
    "logging.handlers",
    "opentelemetry.instrumentation.system_metrics",
    "opentelemetry.sdk.metrics.export",
    "opentelemetry.sdk.metrics.view",
    "pluggy",
    "pydantic.json_schema",
    "pydantic.type_adapter",
    "rich.console",
    "rich.live",
    "rich.table",
    "sqlite3",
    "ssl",
    "typer.main",
    "typer._adapters",
    "urllib.request",
    "uuid",
    "yaml",
)

NUMBER = 16  # bytes of a number that is told: a process id, and later how the process has ended
LOOK = 5.0  # seconds between two looks at the parent, whose forked copies may hold its sockets open


class Popen(subprocess.Popen):  # type: ignore[type-arg]  # bytes or str, as its arguments say
    """A subprocess.Popen whose process is forked where its command is this interpreter."""

    _status: socket.socket | None = None

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, close_fds: bool, pass_fds: Any, *rest: Any):  # type: ignore[no-untyped-def]
        cwd, env, _, _, shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, _, *owner = rest
        *ids, new_session, group = owner
        plain = (executable, preexec_fn, shell, group, *ids) == (None, None, False, -1, None, None, None, -1)
        if plain and close_fds and not pass_fds and not isinstance(args, (str, bytes, os.PathLike)):
            command = [os.fspath(one) for one in args]
            standard = [ours if ours >= 0 else number for number, ours in enumerate((p2cread, c2pwrite, errwrite))]
            started = _start(command, cwd, dict(os.environ if env is None else env), standard, bool(new_session))
            if started is not None:
                self.pid, self._status = started
                self._child_created = True
                self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]
                return
        super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, *rest)  # type: ignore[misc]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._status is None:
            return super()._try_wait(wait_flags)  # type: ignore[misc,no-any-return]
        if wait_flags & os.WNOHANG and not select.select([self._status], [], [], 0)[0]:
            return 0, 0
        told = self._status.recv(NUMBER, socket.MSG_WAITALL)
        self._status.close()
        return self.pid, int(told) if told else signal.SIGKILL  # the server is gone, and says nothing any more

    def _internal_poll(self, *arguments: Any, **options: Any) -> int | None:
        if self._status is None:
            return super()._internal_poll(*arguments, **options)  # type: ignore[misc,no-any-return]
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):  # type: ignore[attr-defined]
            try:
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid:
                        self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


_Kind = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]

_servers: dict[_Kind, socket.socket] = {}  # by the interpreter's options, and the variables that it reads at its start
_asked: set[_Kind] = set()


def prepare() -> None:
    """Have the server for programs without options and with this process's environment ready."""
    kind = (), _read_at_start(os.environ)
    _asked.add(kind)
    _server(kind)


def _start(
    command: list[str], cwd: Any, env: dict[str, str], standard: list[int], new_session: bool
) -> tuple[int, socket.socket] | None:
    """Start the command; None if it needs an interpreter of its own."""
    options, arguments = _split(command)
    kind = tuple(options), _read_at_start(env)
    if command[0] != sys.executable or not arguments or kind not in _asked:
        _asked.add(kind)  # once alone would not pay for a server
        return None
    try:
        folder = os.path.join(os.getcwd(), cwd or "")  # noqa: PTH109, PTH118 - as the interpreter would have it
    except FileNotFoundError:
        return None
    order = {"arguments": arguments, "cwd": folder, "env": env, "session": new_session}
    status, theirs = socket.socketpair()
    with theirs, tempfile.TemporaryFile() as file:
        file.write(json.dumps(order).encode())
        file.seek(0)
        try:
            socket.send_fds(_server(kind), [b"f"], [theirs.fileno(), file.fileno(), *standard])
        except ConnectionError:  # it was killed
            _servers.pop(kind).close()
    pid = status.recv(NUMBER, socket.MSG_WAITALL)
    if pid:
        return int(pid), status
    status.close()
    return None


def _split(command: list[str]) -> tuple[list[str], list[str]]:
    """The interpreter's options, and the rest; no rest if an option is not known here."""
    options, rest = [], command[1:]
    while rest and rest[0] in {"-W", "-X"}:
        options += rest[:2]
        del rest[:2]
    return options, rest if rest and (rest[0] in {"-c", "-m"} or rest[0][0] != "-") else []


def _read_at_start(env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The variables that an interpreter reads when it starts, but for its path."""
    names = {name for name in env if name.startswith(("PYTHON", "LC_"))} | ({"LANG", "TZ"} & {*env})
    return tuple(sorted((name, env[name]) for name in names - {"PYTHONPATH"}))


def _server(kind: _Kind) -> socket.socket:
    if kind not in _servers:
        options, variables = kind
        ours, theirs = socket.socketpair()
        rest = {name for name, _ in _read_at_start(os.environ)} | {"PYTHONPATH"}
        env = {name: value for name, value in os.environ.items() if name not in rest} | dict(variables)
        with theirs:
            command = [sys.executable, *options, __file__, str(theirs.fileno()), str(os.getpid())]
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=env
            )
        atexit.register(_close, process, ours)
        _servers[kind] = ours
    return _servers[kind]


def _close(process: subprocess.Popen[bytes], orders: socket.socket) -> None:
    orders.close()
    process.wait()


# --- the server -------------------------------------------------------------------------------------------------------


def _serve(orders: socket.socket, parent: int) -> list[str]:
    """Fork a child for each order; return in the child its arguments."""
    wakes, wake = socket.socketpair()
    for one in (wakes, wake):
        one.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)  # at a terminal it is for the children, too
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    running: dict[int, socket.socket] = {}
    while os.getppid() == parent:
        ready = select.select([orders, wakes], [], [], LOOK)[0]
        with contextlib.suppress(BlockingIOError):
            wakes.recv(4096)
        _reap(running)
        if orders not in ready:
            continue
        descriptors = socket.recv_fds(orders, 1, 5)[1]
        if not descriptors:
            break
        status, *files = descriptors
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # it may come before the child is ready for it
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            for one in (orders, wakes, wake, *running.values()):
                one.close()
            os.close(status)
            return _become(files)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        for one in files:
            os.close(one)
        running[pid] = socket.socket(fileno=status)
        running[pid].sendall(b"%*d" % (NUMBER, pid))
    os._exit(0)


def _reap(running: dict[int, socket.socket]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            with contextlib.suppress(OSError), running.pop(ended[0]) as status:
                status.sendall(b"%*d" % (NUMBER, ended[1]))


def _become(files: list[int]) -> list[str]:
    """Take on the order's standard files, environment and folder; return its arguments."""
    with open(files[0], encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
        order = json.load(file)
    for number, one in enumerate(files[1:]):
        os.dup2(one, number)
    for one in files[1:]:
        if one > 2:
            os.close(one)
    if order["session"]:
        os.setsid()
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    sys.path[:0] = filter(None, order["env"].get("PYTHONPATH", "").split(os.pathsep))
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        stream.reconfigure(line_buffering=number == 2 or os.isatty(number))  # type: ignore[union-attr]
    return order["arguments"]  # type: ignore[no-any-return]


def _run(arguments: list[str]) -> None:
    """Do what the interpreter does with such arguments."""
    import linecache
    import runpy

    kind = arguments[0]
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__builtins__ = __builtins__  # type: ignore[attr-defined]
    try:
        if kind == "-m":
            sys.argv[:] = arguments[1:]
            sys.path.insert(0, str(Path.cwd()))
            runpy._run_module_as_main(arguments[1])  # type: ignore[attr-defined]
        elif kind == "-c":
            sys.argv[:] = ["-c", *arguments[2:]]
            sys.path.insert(0, "")
            if sys.version_info >= (3, 13):  # which shows the lines of such a program in a traceback
                linecache.cache["<string>"] = len(arguments[1]), None, arguments[1].splitlines(True), "<string>"
            exec(compile(arguments[1], "<string>", "exec"), main.__dict__)  # noqa: S102 - the test's program
        else:
            sys.argv[:] = arguments
            sys.path.insert(0, str(Path(kind).resolve().parent))
            main.__file__ = kind
            exec(compile(Path(kind).read_bytes(), kind, "exec"), main.__dict__)  # noqa: S102 - as above
    except Exception as error:  # noqa: BLE001 - shown as the interpreter shows it, without the frames of this module
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        sys.exit(1)


if __name__ == "__main__":
    import gc
    import importlib

    del sys.path[0]
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    time.tzset()
    gc.collect()
    gc.freeze()
    _run(_serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])))
