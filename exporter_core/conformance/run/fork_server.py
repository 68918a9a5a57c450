"""The parent's end of the fork server, the process from which all workers of this process are forked.

The fork server has imported the checker, which takes longer than most clauses, and runs no thread and none of an
exporter's code. It waits for its children, so it also ends them and tells how they ended.
"""

from __future__ import annotations

import atexit
import json
import os
import select as polling
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from exporter_core.conformance.run.safety import without_backends
from exporter_core.errors import SetupError
from exporter_core.forking import call_after_fork, keep_untouched

if TYPE_CHECKING:
    from collections.abc import Mapping

_START: Final = 90.0  # seconds in which it has to have imported the checker
_END: Final = 5.0
_TRIES: Final = 2  # fork servers: the first one may have been killed


class ForkServer:
    """The fork server of this process, started for the first check and ended with the process."""

    _running: ClassVar[ForkServer | None] = None
    _starting: ClassVar = threading.Lock()

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="conformance-server-")
        self._output = Path(self._folder.name, "output")
        self._channel, theirs = socket.socketpair()
        with theirs, self._output.open("wb") as text:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, in the interpreter that runs this
                [sys.executable, "-m", "exporter_core.conformance.run.worker", str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=text,
                stderr=text,
                pass_fds=(theirs.fileno(),),
                env={
                    "PYTHONHASHSEED": "0",  # so that a seed makes the same interleaving in each worker
                    "HYPOTHESIS_STORAGE_DIRECTORY": self._folder.name,  # so that nothing is left where it was started
                    **without_backends(os.environ),
                },
                start_new_session=True,  # Ctrl-C at a terminal is for the parent, which ends its workers
            )

    @classmethod
    def get(cls) -> ForkServer:
        """The one that runs, or a new one."""
        with cls._starting:
            if cls._running is None or cls._running._process.poll() is not None:
                if cls._running is not None:
                    cls._running.close()
                cls._running = cls()
            return cls._running

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @classmethod
    def fork(
        cls, environment: Mapping[str, str], channel: socket.socket, output: int, dump: Path, *, generates: bool
    ) -> ForkedWorker:
        """Fork a worker.

        Args:
            environment: its environment.
            channel: its end of the connection that its messages go over.
            output: the descriptor of the file for its output.
            dump: the file for its stacks.
            generates: True if it may have to make data with Hypothesis.

        Raises:
            SetupError: a fork server has ended, and another one too; or the current folder is gone.
        """
        try:
            directory = str(Path.cwd())
        except FileNotFoundError:
            raise SetupError("the current folder does not exist any more; run the check from another one") from None
        order = {"directory": directory, "environment": dict(environment), "dump": str(dump)}
        line = json.dumps({**order, "generates": generates}).encode() + b"\n"
        for _ in range(_TRIES):
            server = cls.get()
            control, theirs = socket.socketpair()
            control.settimeout(_START)
            with theirs, suppress(OSError):
                socket.send_fds(server._channel, [b"f"], [theirs.fileno(), channel.fileno(), output])
                control.sendall(line)
            pid = _number(control)
            if pid is not None:
                return ForkedWorker(pid, control)
            control.close()
            said = server._obituary()
        raise SetupError(said)

    def _obituary(self) -> str:
        try:
            how = f"ended with exit code {self._process.wait(_END)}"
        except subprocess.TimeoutExpired:
            how = "does not answer"
        said = self._output.read_text(errors="replace").strip().splitlines()
        return f"the checker's fork server {how}{(said and ': ' + said[-1]) or ''}"

    def close(self) -> None:
        """End it at once: no worker is left, or this process ends and its workers are told so by their channels."""
        self._channel.close()
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    @classmethod
    def end(cls) -> None:
        """End the one that runs."""
        if cls._running is not None:
            cls._running.close()
            cls._running = None

    @classmethod
    def renew(cls) -> None:
        """Forget, in a forked child, that of the parent."""
        keep_untouched(cls._running)
        cls._running, cls._starting = None, threading.Lock()


atexit.register(ForkServer.end)
call_after_fork(ForkServer.renew)


class ForkedWorker:
    """A worker's process: its life, its end and its exit code.

    Its fork server keeps its process id until :meth:`end`, so that it cannot be another's.

    Args:
        pid: its process id.
        control: the connection to the fork server that is about it.
    """

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self._control = control
        self._code: int | None = None

    @property
    def alive(self) -> bool:
        """True while it runs."""
        return self._code is None and not polling.select([self._control], [], [], 0)[0]

    def end(self) -> int:
        """Kill it, with the processes that the exporter has forked in it; its exit code."""
        if self._code is None:
            with suppress(OSError):
                self._control.shutdown(socket.SHUT_WR)
            code = _number(self._control)
            if code is None:  # the fork server is gone, and cannot tell
                code = -signal.SIGKILL
                with suppress(OSError):
                    os.killpg(self.pid, signal.SIGKILL)
            self._control.close()
            self._code = code
        return self._code


def _number(control: socket.socket) -> int | None:
    """The number on the next line; None if there is none."""
    line = b""
    with suppress(OSError):
        while not line.endswith(b"\n") and (data := control.recv(1)):
            line += data
    return int(line) if line.endswith(b"\n") else None
