"""Trying plugins out: each is imported and verified in a child process of its own, and the outcome is one line.

Nothing that a plugin does there reaches this process: it may print, hang, crash or exit. Blocked plugins are the
caller's to leave out: what is given here is imported.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from exporter_core.discovery.scan import absolute
from exporter_core.masking import Masker

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from exporter_core.discovery.entries import PluginEntry

TIMEOUT = 30.0
"""Seconds that a plugin's import and verification may take together: heavy client libraries need several."""

OUTPUT_LIMIT = 64 * 1024
"""How many bytes of a plugin's own output are kept; the rest is read and dropped."""

_ANSWER_LIMIT = 8 * 1024 * 1024
_LOOK_INTERVAL = 0.1  # seconds
_REAP_TIMEOUT = 5.0  # seconds
_PIPE_BYTES = 1 << 20  # at least what a pipe holds, so that one read empties it

# The registry stands above this package: only the child, a program of its own, may import it.
# The answer comes through a pipe of its own, whose number is the argument: standard output is the plugin's.
_PROGRAM = """\
import json, os, sys
request = json.load(sys.stdin)
sys.path[:] = request["sys_path"]
from exporter_core.contract import InstrumentKind
from exporter_core.discovery.child import main
from exporter_core.option_schema import options_schema
from exporter_core.registry import ExporterRegistry
main(ExporterRegistry, options_schema, InstrumentKind, request, int(sys.argv[1]))
"""


class CheckResult(NamedTuple):
    """What became of one plugin in its child process."""

    entry: PluginEntry
    failure: str | None
    """Why the plugin cannot be used, one line; None if it can."""
    docstring: str
    """The exporter class's own docstring; empty if it has none."""
    config_schema: dict[str, Any] | None  # Any: JSON
    """The JSON Schema of the plugin's options; None after a failure."""
    output: str
    """What the plugin wrote to standard output and standard error, at most :data:`OUTPUT_LIMIT` bytes of it."""
    seconds: float
    """How long it took, with the start of the child process."""
    temporality: dict[str, str] | None = None
    """The temporality that it asks for, by instrument kind; None unless it was built, with its options' defaults."""

    @property
    def ok(self) -> bool:
        """Whether the plugin can be used."""
        return self.failure is None


def check_all(
    entries: Iterable[PluginEntry], *, path: Sequence[str] | None = None, timeout: float = TIMEOUT, build: bool = False
) -> list[CheckResult]:
    """Check each entry, as many side by side as there are processors; the results are in the order given."""
    wanted = list(entries)
    if not wanted:
        return []
    given_up = Event()

    def one(entry: PluginEntry) -> CheckResult:
        return _check(entry, path, timeout, build, given_up)

    with ThreadPoolExecutor(max_workers=min(len(wanted), os.cpu_count() or 1)) as pool:
        try:
            return list(pool.map(one, wanted))
        except BaseException:
            given_up.set()  # after Ctrl-C nobody waits for the children: they are killed
            raise


def check(
    entry: PluginEntry, *, path: Sequence[str] | None = None, timeout: float = TIMEOUT, build: bool = False
) -> CheckResult:
    """Import and verify one exporter in a child process. Never raises for what the plugin does.

    Args:
        entry: the entry; it is resolved again in the child.
        path: where distributions are looked for instead of ``sys.path``; importing looks there first, then along
            ``sys.path``.
        timeout: seconds after which the child, with every process it has started, is killed.
        build: also build one with its options' defaults, if it can be, and ask it for its temporality.
    """
    return _check(entry, path, timeout, build, Event())


def _check(entry: PluginEntry, path: Sequence[str] | None, timeout: float, build: bool, given_up: Event) -> CheckResult:
    begun = time.monotonic()
    request = {
        "name": entry.qualified_name,
        "build": build,
        "path": None if path is None else absolute(path),
        "sys_path": list(dict.fromkeys([*absolute(path or ()), *absolute(sys.path)])),
    }
    status, answer, output = _run(json.dumps(request).encode(), begun + timeout, given_up)
    seconds = time.monotonic() - begun
    text = Masker()(output.decode("utf-8", "replace"))
    if answer is not None:
        return CheckResult(
            entry, answer["failure"], answer["docstring"], answer["schema"], text, seconds, answer["temporality"]
        )
    return CheckResult(entry, _failure(status, timeout), "", None, text, seconds)


def _run(request: bytes, deadline: float, given_up: Event) -> tuple[int | None, dict[str, Any] | None, bytes]:
    """The child's exit status (None: the time was up), its answer if it gave one, and its output."""
    answer, output = bytearray(), bytearray()
    with _Pipe() as answers, _Pipe() as outputs, tempfile.TemporaryFile() as stdin:
        # The request is in a file, not a pipe: writing to a child that never reads would block.
        stdin.write(request)
        stdin.seek(0)
        process = subprocess.Popen(  # noqa: S603 - this interpreter, this module's own program
            [sys.executable, "-P", "-c", _PROGRAM, str(answers.write)],
            stdin=stdin,
            stdout=outputs.write,
            stderr=outputs.write,
            pass_fds=[answers.write],
            start_new_session=True,
        )
        try:
            answers.close_write()
            outputs.close_write()
            in_time = _listen(process.pid, {answers.read: answer, outputs.read: output}, deadline, given_up)
        finally:
            # The group is the child's and whatever it has started. Not reaped yet, its number is still its own.
            os.killpg(process.pid, signal.SIGKILL)
            status = _reap(process)
    return status if in_time else None, _understood(bytes(answer)), bytes(output)


def _reap(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(_REAP_TIMEOUT)
    except subprocess.TimeoutExpired:
        return None  # killed, but stuck in the kernel, such as on a network file system that does not answer


class _Pipe:
    """A pipe whose ends are closed at the end of the block."""

    def __enter__(self) -> Self:
        self.read, self.write = os.pipe()
        self._open = {self.read, self.write}
        return self

    def close_write(self) -> None:
        """Close this process's writing end, so that the child's is the only one."""
        self._open.remove(self.write)
        os.close(self.write)

    def __exit__(self, *_: object) -> None:
        for fd in self._open:
            os.close(fd)


def _listen(pid: int, kept: dict[int, bytearray], deadline: float, given_up: Event) -> bool:
    """Collect what comes through the two pipes, the answer's first, until the child has answered or is gone.

    False if the deadline came first, or it was given up.
    """
    answer_fd, output_fd = kept
    limits = {answer_fd: _ANSWER_LIMIT, output_fd: OUTPUT_LIMIT}
    with selectors.DefaultSelector() as selector:
        for fd in kept:
            os.set_blocking(fd, False)
            selector.register(fd, selectors.EVENT_READ)
        while (remaining := deadline - time.monotonic()) > 0 and not given_up.is_set():
            # A process that the child has started can hold the pipes open after its end, so that is looked at too.
            gone = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            for key, _ in selector.select(0 if gone else min(remaining, _LOOK_INTERVAL)):
                if not _take(key.fd, kept[key.fd], limits[key.fd]):
                    selector.unregister(key.fd)
            if gone or kept[answer_fd].endswith(b"\n"):
                _take(output_fd, kept[output_fd], OUTPUT_LIMIT)
                return True
    return False


def _take(fd: int, kept: bytearray, limit: int) -> bool:
    """Take what is in the pipe, keep it up to the limit; false at the end of the stream."""
    try:
        data = os.read(fd, _PIPE_BYTES)
    except BlockingIOError:
        return True
    kept += data[: limit - len(kept)]
    return bool(data)


def _understood(answer: bytes) -> dict[str, Any] | None:  # Any: JSON
    """The answer, if it is one: a plugin that runs in the child could write anything to the pipe."""
    try:
        said = json.loads(answer)
        fits = isinstance(said["docstring"], str) and isinstance(said["schema"], dict | None)
        fits = fits and isinstance(said["temporality"], dict | None)
        return said if fits and isinstance(said["failure"], str | None) else None
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
