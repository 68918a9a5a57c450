"""A process from which others are forked: it has imported what all of them need, which takes longer than their work.

The fork server runs no thread and none of the code that its children are for. For each order it forks a process that
forks the child, tells how that ends, and ends it when it is not wanted any more: whatever a child does to its parent,
the fork server and the other children go on. A child that an ended process has left behind is killed, too.
"""

from __future__ import annotations

import json
import os
import select as polling
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from time import monotonic
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LOOK: Final = 5.0  # seconds between two looks at the parent, whose sockets a forked copy of it may hold open
_END: Final = 5.0  # seconds in which a process that is killed is gone, unless the kernel holds it
_DESCRIPTORS: Final = 8  # at most, of one order

# --- the parent's end -------------------------------------------------------------------------------------------------


class ForkServer:
    """A fork server, as the process that has started it sees it.

    Args:
        command: starts the program that calls :func:`serve`; two arguments for that are added.
        stdin: its standard input, and that of its children.
        output: its standard output and error.
        environment: its environment; this process's if it is None.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        output: int | IO[bytes] = subprocess.DEVNULL,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._orders, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this package's own programs
                [*command, str(theirs.fileno()), str(os.getpid())],
                stdin=stdin,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                env=environment,
                start_new_session=True,  # Ctrl-C at a terminal is for this process, which ends the others
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def fork(self, order: Mapping[str, Any], output: int, *descriptors: int) -> ForkedProcess:  # Any: JSON
        """Order a child. It may take a while to be there, or never come.

        Args:
            order: what it is to do.
            output: the descriptor of its standard output and error.
            descriptors: others of which it gets copies.
        """
        status, theirs = socket.socketpair()
        # The order is in a file: a server that never reads would block who writes to it.
        with theirs, tempfile.TemporaryFile() as file:
            file.write(json.dumps(order).encode())
            file.seek(0)
            with suppress(OSError):  # a server that has ended: the status ends at once
                socket.send_fds(self._orders, [b"f"], [theirs.fileno(), file.fileno(), output, *descriptors])
        return ForkedProcess(status)

    def exit_code(self, timeout: float) -> int | None:
        """Its exit code; None if it does not end in time (seconds)."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """End it. Children that run are ended by :meth:`ForkedProcess.end`."""
        self._orders.close()
        self._process.kill()
        self.exit_code(_END)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ForkedProcess:
    """A child of a fork server, known by what the process that watches it tells: its id, and later its exit code.

    Its process id stays its own until :meth:`end`.
    """

    def __init__(self, status: socket.socket) -> None:
        status.setblocking(False)
        self._status = status
        self._told = b""
        self._is_over = False

    def fileno(self) -> int:
        """Return the descriptor that can be read when there is something new."""
        return self._status.fileno()

    @property
    def pid(self) -> int | None:
        """Its process id; None if it is not known to be there."""
        return self._number(0)

    @property
    def ended(self) -> bool:
        """True once it has ended, or nothing more will be known of it."""
        self._listen(0, 2)
        return self._is_over or self._number(1) is not None

    def started(self, timeout: float) -> bool:
        """Wait until it is there, at most so many seconds; return False if it is not."""
        self._listen(timeout, 1)
        return self.pid is not None

    def end(self, timeout: float = _END) -> int | None:
        """Kill it, with the processes of its group; return its exit code, negative for a signal.

        None if it is unknown: it was not there within the seconds, what watched it is gone, or the kernel holds it.
        """
        if self._status.fileno() >= 0:
            with suppress(OSError):
                self._status.shutdown(socket.SHUT_WR)
            self._listen(timeout, 2)
            self._status.close()
            if self._number(1) is None and self.pid is not None:
                with suppress(OSError):
                    os.killpg(self.pid, signal.SIGKILL)
        return self._number(1)

    def _number(self, place: int) -> int | None:
        lines = self._told.split(b"\n")[:-1]
        return int(lines[place]) if place < len(lines) else None

    def _listen(self, timeout: float, numbers: int) -> None:
        """Take what is told, until it is so many numbers, or for so many seconds."""
        until = monotonic() + timeout
        while not self._is_over and self._told.count(b"\n") < numbers:
            if not polling.select([self._status], [], [], max(0.0, until - monotonic()))[0]:
                return
            try:
                data = self._status.recv(64)
            except OSError:
                data = b""
            self._told += data
            self._is_over = not data


# --- the server, and what it forks ------------------------------------------------------------------------------------


def serve(
    arguments: Sequence[str],
    work: Callable[[dict[str, Any], list[int]], object],  # Any: JSON
    prepare: Callable[[dict[str, Any]], object] = lambda _order: None,  # Any: as above
) -> NoReturn:
    """Fork a child for each order, until the process that orders is gone.

    Args:
        arguments: the two that :class:`ForkServer` has added.
        work: what the child does with the order and its descriptors; the exit code is 0 if it returns.
        prepare: called before, in the server.
    """
    orders, parent = socket.socket(fileno=int(arguments[0])), int(arguments[1])
    orders.set_inheritable(False)
    while os.getppid() == parent:
        _reap()
        if not polling.select([orders], [], [], _LOOK)[0]:
            continue
        descriptors = socket.recv_fds(orders, 1, _DESCRIPTORS)[1]
        if not descriptors:
            break
        for one in descriptors:
            os.set_inheritable(one, False)
        with open(descriptors.pop(1), encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            order = json.load(file)
        prepare(order)
        if not os.fork():
            orders.close()
            _end_with(_watch, socket.socket(fileno=descriptors[0]), order, descriptors[1:], work)
        for one in descriptors:
            os.close(one)
    os._exit(0)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _end_with(function: Callable[..., object], *arguments: object) -> NoReturn:
    """End the process when the function returns, whatever is left running in it."""
    code = 1
    try:
        function(*arguments)
        code = 0
    finally:
        os._exit(code)


def _watch(
    status: socket.socket,
    order: dict[str, Any],  # Any: JSON
    descriptors: list[int],
    work: Callable[[dict[str, Any], list[int]], object],  # Any: as above
) -> None:
    """Fork the child, tell its id and its exit code, and kill it as soon as the other side has no more use for it."""
    server = os.getppid()
    wakes, wake = socket.socketpair()
    wakes.setblocking(False)
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        os.setsid()
        os.close(tell)
        os.read(told, 1)  # returns when its id is told: whatever it does to its parent now, it can be ended
        os.close(told)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in (status, wakes, wake):
            one.close()
        for standard in (1, 2):
            os.dup2(descriptors[0], standard)
        os.close(descriptors[0])
        _end_with(work, order, descriptors[1:])
    for descriptor in descriptors:
        os.close(descriptor)
    os.close(told)
    _tell(status, pid)
    os.close(tell)
    code, is_wanted = None, True
    while is_wanted and os.getppid() == server:
        ready = polling.select([status, wakes], [], [], _LOOK)[0]
        with suppress(BlockingIOError):
            wakes.recv(64)
        end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) if code is None else None
        if end is not None:
            code = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
            _tell(status, code)
        is_wanted = status not in ready
    try:
        os.killpg(pid, signal.SIGKILL)  # not waited for yet, its number is still its own
    except OSError:
        os.kill(pid, signal.SIGKILL)  # it has no group of its own yet
    last = os.waitpid(pid, 0)[1]
    if code is None:
        _tell(status, os.waitstatus_to_exitcode(last))


def _tell(status: socket.socket, number: int) -> None:
    with suppress(OSError):  # who wanted to know is gone
        status.sendall(b"%d\n" % number)
