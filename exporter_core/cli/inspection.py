"""Looking into plugins: each is imported and verified in a child process of its own, and the outcome is one line.

Nothing that a plugin does there reaches this process: it may print, hang, crash or exit. The caller leaves out blocked
plugins: every entry given here is imported.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

from exporter_core.cli.output import write_traceback
from exporter_core.discovery import origin_of, select
from exporter_core.discovery.scan import absolute
from exporter_core.errors import ExporterNotFoundError, PluginLoadError, SetupError
from exporter_core.fork_server import ForkedProcess, ForkServer
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
from exporter_core.cli.inspection_child import main
main(sys.argv[1:])
"""


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


def inspection_server(path: Sequence[str] | None = None) -> ForkServer:
    """Start the fork server of inspections, which itself imports no plugin.

    Args:
        path: directories that imports search before ``sys.path``.
    """
    with tempfile.TemporaryFile() as stdin:
        # A file, not a pipe: writing to a process that never reads would block. Its end is the plugins' input.
        stdin.write(json.dumps(list(dict.fromkeys([*absolute(path or ()), *absolute(sys.path)]))).encode())
        stdin.seek(0)
        return ForkServer([sys.executable, "-P", "-c", _PROGRAM], stdin=stdin)


def check_all(
    entries: Iterable[PluginEntry], *, path: Sequence[str] | None = None, timeout: float = TIMEOUT, build: bool = False
) -> list[CheckResult]:
    """Check each entry, as many side by side as there are processors; the results are in the order given."""
    wanted = list(entries)
    if not wanted:
        return []
    given_up = Event()
    with inspection_server(path) as server, ThreadPoolExecutor(min(len(wanted), os.cpu_count() or 1)) as pool:
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
    with inspection_server(path) if server is None else nullcontext(server) as forking:
        status, answer, output = _run(forking, request, begun + timeout, given_up or Event())
    return CheckResult(
        entry,
        **answer or {"failure": _failure(status, timeout)},
        output=Masker()(output.decode("utf-8", "replace"), OUTPUT_LIMIT),
        seconds=time.monotonic() - begun,
    )


def _run(
    server: ForkServer,
    request: dict[str, Any],  # Any: JSON
    deadline: float,
    given_up: Event,
) -> tuple[int | None, dict[str, Any] | None, bytes]:
    """Return the child's exit code (None: the time was up), its answer if it gave one, and its output."""
    answer, output = bytearray(), bytearray()
    # The answer comes through a pipe of its own: standard output is the plugin's.
    answers, answering = os.pipe()
    outputs, writing = os.pipe()
    with open(answers, "rb", buffering=0), open(outputs, "rb", buffering=0):  # noqa: PTH123 - file descriptors
        with open(answering, "wb", buffering=0), open(writing, "wb", buffering=0):  # noqa: PTH123 - as above
            child = server.fork(request, writing, answering)
        try:
            in_time = _listen(child, {answers: answer, outputs: output}, deadline, given_up)
        finally:
            code = child.end(_REAP_TIMEOUT)
    if code is None and in_time:
        code = server.exit_code(_LOOK_INTERVAL) or -signal.SIGKILL  # with the process that watched the child
    return code if in_time else None, _understood(bytes(answer)), bytes(output)


def _listen(child: ForkedProcess, kept: dict[int, bytearray], deadline: float, given_up: Event) -> bool:
    """Collect the bytes of the answer and of the output until the child has answered or is gone.

    Returns False if the deadline came first, or it was given up.
    """
    answer_fd, output_fd = kept
    limits = {answer_fd: _ANSWER_LIMIT, output_fd: OUTPUT_LIMIT}
    with selectors.DefaultSelector() as selector:
        selector.register(child, selectors.EVENT_READ)
        for fd in kept:
            os.set_blocking(fd, False)
            selector.register(fd, selectors.EVENT_READ)
        while (remaining := deadline - time.monotonic()) > 0 and not given_up.is_set():
            for key, _ in selector.select(min(remaining, _LOOK_INTERVAL)):
                if key.fileobj is not child and not _take(key.fd, kept[key.fd], limits[key.fd]):
                    selector.unregister(key.fd)
            # A process that the child has started can hold the pipes open after its end, so that counts, too.
            if child.ended or kept[answer_fd].endswith(b"\n"):
                for fd, data in kept.items():
                    _take(fd, data, limits[fd])
                return True
    return False


def _take(fd: int, kept: bytearray, limit: int) -> bool:
    """Read the pipe, keep its bytes up to the limit; return False at the end of the stream."""
    try:
        data = os.read(fd, _PIPE_BYTES)
    except BlockingIOError:
        return True
    kept += data[: limit - len(kept)]
    return bool(data)


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
