"""Looking into plugins: each is imported and verified in a child process of its own, and the outcome is one line.

Nothing that a plugin does there reaches this process: it may print, hang, crash or exit. The caller leaves out blocked
plugins: every entry given here is imported.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from exporter_core.cli.output import write_traceback
from exporter_core.discovery import origin_of, select
from exporter_core.discovery.scan import absolute
from exporter_core.errors import ExporterNotFoundError, PluginLoadError, SetupError
from exporter_core.masking import Masker

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from exporter_core.discovery import PluginEntry

TIMEOUT = 30.0
"""Seconds that a plugin's import and verification may take together: heavy client libraries need several."""

OUTPUT_LIMIT = 64 * 1024
"""The bytes of a plugin's own output that are kept; the rest is read and dropped."""

_ANSWER_LIMIT = 8 * 1024 * 1024
_LOOK_INTERVAL = 0.1  # seconds
_REAP_TIMEOUT = 5.0  # seconds
_PIPE_BYTES = 1 << 20  # at least what a pipe holds, so that one read empties it

_PROGRAM = """\
import json, sys
sys.path[:] = json.load(sys.stdin)
from exporter_core.cli.inspection_child import serve
serve(int(sys.argv[1]))
"""

_MESSAGE = struct.Struct("i")  # the child's process id, and later its exit status


class CheckResult(NamedTuple):
    """The outcome of one plugin's import and verification in its child process."""

    entry: PluginEntry
    failure: str | None
    """The reason why the plugin cannot be used, one line; None if it can."""
    output: str
    """The start of the plugin's standard output and standard error, at most :data:`OUTPUT_LIMIT` bytes."""
    seconds: float
    """The time that it took, with the start of the child process."""
    docstring: str = ""
    """The exporter class's own docstring; empty if it has none."""
    config_schema: dict[str, Any] | None = None  # Any: JSON
    """The JSON Schema of the plugin's options; None after a failure."""
    temporality: dict[str, str] | None = None
    """The temporality that it asks for, by instrument kind; None unless it was built, with its options' defaults."""
    shares: bool | None = None
    """True if its readers can share a collection; None unless it was built."""

    place: str | None = None
    """FILE:LINE of the code that raised the failure; None if it is unknown."""
    traceback: str = ""
    """The failure's traceback, secrets masked; empty if there is none."""

    @property
    def ok(self) -> bool:
        """True if the plugin can be used."""
        return self.failure is None

    @property
    def reason(self) -> str:
        """The reason why the exporter cannot be used, one line that does not name it."""
        title = f"exporter {self.entry.qualified_name!r} ({origin_of(self.entry)})"
        return (self.failure or "").replace(f" {title} ", "; ").removeprefix(f"{title} ")

    @property
    def where(self) -> str:
        """The place of the failure in brackets, to follow the reason; empty if it is unknown."""
        return "" if self.place is None else f" ({self.place})"


def inspect_exporters(names: Iterable[str], *, build: bool = False, verbose: bool = False) -> dict[str, CheckResult]:
    """Import each exporter in a child process, for its description and options; return the results by name.

    Args:
        names: as in a config file, perhaps ``distribution:name``.
        build: also build them, with their options' defaults, for their temporality.
        verbose: write the tracebacks of failures to standard error.

    Raises:
        SetupError: one of them is not installed, ambiguous, or cannot be loaded; a line for each.
    """
    entries = {}
    problems: list[SetupError] = []
    for name in dict.fromkeys(names):
        try:
            entries[name] = _selected(name)
        except SetupError as error:
            problems.append(error)
    results = dict(zip(entries, check_all(entries.values(), build=build), strict=True))
    problems += [
        PluginLoadError(f"exporter {name!r} ({origin_of(result.entry)}): {result.reason}{result.where}")
        for name, result in results.items()
        if not result.ok
    ]
    if verbose:
        for result in results.values():
            write_traceback(result.traceback)
    if len(problems) > 1:
        raise SetupError("\n".join(map(str, problems)))
    if problems:
        raise problems[0]
    return results


def _selected(name: str) -> PluginEntry:
    """Return the entry of an exporter, or of a pull exporter: where both have the name, not that of the SDK."""
    try:
        entry = select(name)
    except ExporterNotFoundError as error:
        try:
            return select(name, pull=True)
        except ExporterNotFoundError:
            raise error from None
    if entry.of_sdk:
        with suppress(SetupError):
            return select(name, pull=True)
    return entry


class ForkServer:
    """A process that has imported what every inspection needs, and forks a child process for each plugin.

    These imports take longer than most plugins' own. The server itself imports no plugin.

    Args:
        path: directories that imports search before ``sys.path``.
    """

    def __init__(self, path: Sequence[str] | None = None) -> None:
        self._control, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as stdin:
            # A file, not a pipe: writing to a process that never reads would block. Its end is the plugins' input.
            stdin.write(json.dumps(list(dict.fromkeys([*absolute(path or ()), *absolute(sys.path)]))).encode())
            stdin.seek(0)
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this module's own program
                [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno())],
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the server. Its children have ended, unless the kernel holds one."""
        self._control.close()
        if self.exit_status(_REAP_TIMEOUT) is None:
            self._process.kill()
            self.exit_status(_REAP_TIMEOUT)

    def exit_status(self, timeout: float) -> int | None:
        """Return the server's own exit status; None if it does not end in time."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def fork(self, request: bytes, answer_fd: int, output_fd: int) -> socket.socket:
        """Fork a child that answers the request.

        Returns:
            A socket that tells the child's process id, which is its group's too, and then its exit status; closed early
            if the child cannot be forked or watched. The child is reaped when the caller closes the socket.
        """
        status, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as file:
            file.write(request)
            file.seek(0)
            with suppress(OSError):  # a server that has ended closes the socket
                socket.send_fds(self._control, [b"+"], [file.fileno(), theirs.fileno(), answer_fd, output_fd])
        return status


def check_all(
    entries: Iterable[PluginEntry], *, path: Sequence[str] | None = None, timeout: float = TIMEOUT, build: bool = False
) -> list[CheckResult]:
    """Check each entry, as many side by side as there are processors; the results are in the order given."""
    wanted = list(entries)
    if not wanted:
        return []
    given_up = Event()
    with ForkServer(path) as server, ThreadPoolExecutor(min(len(wanted), os.cpu_count() or 1)) as pool:
        one = partial(check, path=path, timeout=timeout, build=build, given_up=given_up, server=server)
        try:
            return list(pool.map(one, wanted))
        except BaseException:
            given_up.set()  # after Ctrl-C nobody waits for the children: they are killed
            raise


def check(
    entry: PluginEntry,
    *,
    path: Sequence[str] | None = None,
    timeout: float = TIMEOUT,
    build: bool = False,
    given_up: Event | None = None,
    server: ForkServer | None = None,
) -> CheckResult:
    """Import and verify one exporter in a child process. Never raises for anything that the plugin does.

    Args:
        entry: the entry; it is resolved again in the child.
        path: directories to search for distributions instead of ``sys.path``; imports search them first, then
            ``sys.path``.
        timeout: seconds after which the child, with every process it has started, is killed.
        build: also build one with its options' defaults, if it can be, and ask it for its temporality.
        given_up: kills the child when it is set.
        server: forks the child; made for the same path. One of its own by default.
    """
    begun = time.monotonic()
    request = {
        "name": entry.qualified_name,
        "pull": entry.pull,
        "build": build,
        "path": None if path is None else absolute(path),
    }
    with ForkServer(path) if server is None else nullcontext(server) as forking:
        run = _run(forking, json.dumps(request).encode(), begun + timeout, given_up or Event())
    status, answer, output = run
    return CheckResult(
        entry,
        **answer or {"failure": _failure(status, timeout)},
        output=Masker()(output.decode("utf-8", "replace"), OUTPUT_LIMIT),
        seconds=time.monotonic() - begun,
    )


def _run(
    server: ForkServer, request: bytes, deadline: float, given_up: Event
) -> tuple[int | None, dict[str, Any] | None, bytes]:
    """Return the child's exit status (None: the time was up), its answer if it gave one, and its output."""
    answer, output, told = bytearray(), bytearray(), bytearray()
    # The answer comes through a pipe of its own: standard output is the plugin's.
    answers, answering = os.pipe()
    outputs, writing = os.pipe()
    with open(answers, "rb", buffering=0), open(outputs, "rb", buffering=0):  # noqa: PTH123 - file descriptors
        with open(answering, "wb", buffering=0), open(writing, "wb", buffering=0):  # noqa: PTH123 - as above
            status = server.fork(request, answering, writing)
        with status:
            try:
                pipes = {answers: answer, outputs: output}
                in_time = _listen(pipes | {status.fileno(): told}, deadline, given_up)
            finally:
                exit_status = _kill(status, told)
    if exit_status is None and in_time:
        exit_status = server.exit_status(_LOOK_INTERVAL) or -signal.SIGKILL  # with the process that watched the child
    return exit_status if in_time else None, _understood(bytes(answer)), bytes(output)


def _listen(kept: dict[int, bytearray], deadline: float, given_up: Event) -> bool:
    """Collect the bytes of the answer, of the output and of the status, until the child has answered or is gone.

    Returns False if the deadline came first, or it was given up.
    """
    answer_fd, output_fd, status_fd = kept
    limits = {answer_fd: _ANSWER_LIMIT, output_fd: OUTPUT_LIMIT, status_fd: 2 * _MESSAGE.size}
    with selectors.DefaultSelector() as selector:
        for fd in kept:
            os.set_blocking(fd, False)
            selector.register(fd, selectors.EVENT_READ)
        while (remaining := deadline - time.monotonic()) > 0 and not given_up.is_set():
            for key, _ in selector.select(min(remaining, _LOOK_INTERVAL)):
                if not _take(key.fd, kept[key.fd], limits[key.fd]):
                    selector.unregister(key.fd)
            # A process that the child has started can hold the pipes open after its end, so the status counts too.
            gone = status_fd not in selector.get_map() or len(kept[status_fd]) == limits[status_fd]
            if gone or kept[answer_fd].endswith(b"\n"):
                for fd in (answer_fd, output_fd):
                    _take(fd, kept[fd], limits[fd])
                return True
    return False


def _take(fd: int, kept: bytearray, limit: int) -> bool:
    """Read the pipe or socket, keep its bytes up to the limit; return False at the end of the stream."""
    try:
        data = os.read(fd, _PIPE_BYTES)
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False
    kept += data[: limit - len(kept)]
    return bool(data)


def _kill(status: socket.socket, told: bytearray) -> int | None:
    """Kill the child with everything it has started, and return its exit status.

    None if it is unknown: the child was not forked in time, the process that watched it is gone, or the kernel holds
    it, such as on a network file system that does not answer.
    """
    status.settimeout(_REAP_TIMEOUT)
    try:
        _receive(status, told, _MESSAGE.size)
        with suppress(OSError):  # nothing is left of it
            # Not reaped before the socket is closed, its number is still its own.
            os.killpg(_MESSAGE.unpack_from(told)[0], signal.SIGKILL)
        _receive(status, told, 2 * _MESSAGE.size)
    except OSError:
        return None
    exit_status: int = _MESSAGE.unpack_from(told, _MESSAGE.size)[0]
    return exit_status


def _receive(status: socket.socket, told: bytearray, size: int) -> None:
    while len(told) < size:
        data = status.recv(size - len(told))
        if not data:
            raise ConnectionResetError
        told += data


def _understood(answer: bytes) -> dict[str, Any] | None:  # Any: JSON
    """Return the answer, if it is one: a plugin that runs in the child could write anything to the pipe."""
    kinds: dict[str, Any] = {  # Any: a class or a union of classes
        "failure": str | None,
        "docstring": str,
        "config_schema": dict | None,
        "temporality": dict | None,
        "shares": bool | None,
        "place": str | None,
        "traceback": str,
    }
    try:
        said = json.loads(answer)
        return said if "failure" in said and all(isinstance(said[key], kinds[key]) for key in said) else None
    except (ValueError, TypeError, KeyError):
        return None


def _failure(status: int | None, timeout: float) -> str:
    if status is None:
        return f"importing and verifying it did not end within {timeout:g} s"
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"importing it crashed the process ({name})"
    return f"importing it ended the process (exit status {status})"
