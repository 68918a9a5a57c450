"""The fork server, and in its children the workers, in which an exporter runs.

The fork server imports what every worker needs, and then forks one for each order on its channel. It runs no thread
and none of an exporter's code, so that nothing of one worker reaches the next. Its arguments are the descriptor of the
channel and the parent's process id.

A worker takes messages from a socket of its own, and sends its own there; standard output is the exporter's. The end of
the messages is the end of the worker. SIGUSR1 writes the stacks of all its threads to a file, also while C code holds
the interpreter's lock.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import os
import select as polling
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from exporter_core.conformance.clause import clauses
from exporter_core.conformance.generated import for_each_batch
from exporter_core.conformance.observe.tokens import Tokens
from exporter_core.conformance.run.serving import serve

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOOK_FOR_PARENT: Final = 5.0  # seconds: only where a forked copy of the parent keeps the channel open
_DESCRIPTORS: Final = 3


class ForkServer:
    """Forks workers, waits for them and ends them.

    Args:
        channel: brings for each worker a control connection, the worker's channel and the file for its output.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._path = sys.path[1 + len(_entries(os.environ)) :]
        """The import path without the folder and the variable of the start, of which a worker has its own."""
        self._controls: dict[socket.socket, int] = {}
        """The process id of each worker by its control connection."""
        self._ended: set[int] = set()
        self._wakes, self._wake = socket.socketpair()
        for one in (self._wakes, self._wake):
            one.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)

    def run(self, parent: int) -> None:
        """Serve until the parent is gone; then end the workers that are left."""
        while os.getppid() == parent:
            ready, _, _ = polling.select([self._channel, self._wakes, *self._controls], [], [], _LOOK_FOR_PARENT)
            with suppress(BlockingIOError):
                self._wakes.recv(4096)
            for control, pid in self._controls.items():
                if pid not in self._ended:
                    self._look_at(control, pid)
            for control in [one for one in ready if one in self._controls]:
                self._end(control)
            if self._channel in ready and not self._fork():
                break
        for control in list(self._controls):
            self._end(control)

    def _fork(self) -> bool:
        """Fork a worker as the next order says; False if there will be no more."""
        _, descriptors, _, _ = socket.recv_fds(self._channel, 1, _DESCRIPTORS)
        if not descriptors:
            return False
        control, channel = (socket.socket(fileno=one) for one in descriptors[:2])
        with control.makefile("rb") as lines:
            order = json.loads(lines.readline())
        pid = os.fork()
        if not pid:
            self._let_go()
            control.close()
            _work(channel, descriptors[2], self._path, **order)
        channel.close()
        os.close(descriptors[2])
        self._controls[control] = pid
        _send(control, pid)
        return True

    def _let_go(self) -> None:
        """Let go, in a child, of what is the fork server's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in (self._channel, self._wakes, self._wake, *self._controls):
            one.close()

    def _look_at(self, control: socket.socket, pid: int) -> None:
        """Send the exit code of a worker that has ended. Its process id stays its own until it is waited for."""
        end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if end is not None:
            self._ended.add(pid)
            _send(control, end.si_status if end.si_code == os.CLD_EXITED else -end.si_status)

    def _end(self, control: socket.socket) -> None:
        """End a worker that is not wanted any more, and the processes that the exporter has forked in it."""
        pid = self._controls.pop(control)
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:  # it has not yet made its own group
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if pid not in self._ended:
            _send(control, os.waitstatus_to_exitcode(status))
        self._ended.discard(pid)
        control.close()


def _send(control: socket.socket, number: int) -> None:
    with suppress(OSError):  # who wanted to know is gone
        control.sendall(b"%d\n" % number)


def _entries(environment: Mapping[str, str]) -> list[str]:
    """The folders in ``PYTHONPATH``."""
    return [one for one in environment.get("PYTHONPATH", "").split(os.pathsep) if one]


def _work(
    channel: socket.socket, output: int, path: list[str], *, directory: str, environment: dict[str, str], dump: str
) -> NoReturn:
    """Run the clauses that messages name, in this child, as a process that was started with these things."""
    code = 1
    try:
        os.setsid()
        for standard in (1, 2):
            os.dup2(output, standard)
        os.close(output)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:] = [directory, *_entries(environment), *path]
        importlib.invalidate_caches()
        with Path(dump).open("w") as stacks:
            faulthandler.register(signal.SIGUSR1, stacks, all_threads=True)
            serve(channel)
        code = 0
    except BaseException:  # noqa: BLE001 - this is where the process ends
        traceback.print_exc()
    finally:
        # Threads that an exporter has left behind are not to hold up the end.
        os._exit(code)


def main() -> None:
    """Serve until the parent is gone."""
    channel, parent = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    channel.set_inheritable(False)
    clauses()
    for_each_batch(Tokens("first"), 0, lambda _batch: None, examples=1)  # what Hypothesis does once
    gc.collect()
    gc.freeze()  # what is imported need not be looked through by every clause that counts what is left
    ForkServer(channel).run(parent)


if __name__ == "__main__":
    main()
