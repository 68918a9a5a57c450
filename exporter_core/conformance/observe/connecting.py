"""The steps of Python code before an exporter is connected: looking a name up, and connecting."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from contextlib import contextmanager
from inspect import signature
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS: Final = "127.0.0.1"
"""The address of a sink."""
NAME: Final = "localhost"
"""Its name."""


class Lookups:
    """Look-ups of the name by Python code, which can be made to hang, or to find nothing."""

    def __init__(self) -> None:
        self.count = 0
        self._fails = False
        self._may_go_on = threading.Event()
        self._may_go_on.set()

    def hang(self) -> None:
        """Let every look-up hang from now on."""
        self._may_go_on.clear()

    def fail(self) -> None:
        """Let every look-up find nothing from now on."""
        self._fails = True

    def release(self) -> None:
        """Let every look-up end."""
        self._may_go_on.set()

    def pass_by(self) -> None:
        """Count a look-up, and wait while look-ups hang. Raises the error of a name that is unknown."""
        self.count += 1
        self._may_go_on.wait()
        if self._fails:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@contextmanager
def lookups_of_name() -> Iterator[Lookups]:
    """Watch the look-ups of the name in the block."""
    lookups, before = Lookups(), socket.getaddrinfo
    parameters = signature(before)

    def look_up(*arguments: Any, **named: Any) -> Any:  # Any: those of getaddrinfo
        asked = parameters.bind(*arguments, **named).arguments
        if asked["host"] in (NAME, NAME.encode()) and not asked.get("flags", 0) & socket.AI_NUMERICHOST:
            lookups.pass_by()  # with that flag nothing is looked up
        return before(*arguments, **named)

    socket.getaddrinfo = look_up
    try:
        yield lookups
    finally:
        socket.getaddrinfo = before
        lookups.release()


@contextmanager
def no_network() -> Iterator[list[object]]:
    """Let no Python code connect to a sink's address in the block; the list has the addresses that it tried."""
    refused: list[object] = []
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def cannot(wire: socket.socket, address: Any) -> int:  # Any: as the family has it
        if isinstance(address, tuple) and address[0] == ADDRESS:
            refused.append(address)
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        connect(wire, address)
        return 0

    def cannot_ex(wire: socket.socket, address: Any) -> int:  # Any: as above
        try:
            return cannot(wire, address) if isinstance(address, tuple) else connect_ex(wire, address)
        except OSError as error:
            if error.errno is None:
                raise
            return error.errno

    before = {name: vars(socket.socket).get(name) for name in ("connect", "connect_ex")}
    for name, function in zip(before, (cannot, cannot_ex), strict=True):
        setattr(socket.socket, name, function)
    try:
        yield refused
    finally:
        for name, own in before.items():
            if own is None:  # the class inherits it
                delattr(socket.socket, name)
            else:
                setattr(socket.socket, name, own)


_watches: list[list[float]] = []


@contextmanager
def watched_connects() -> Iterator[list[float]]:
    """List the times at which Python code connects a socket over the network in the block."""
    global _is_watching  # noqa: PLW0603 - of the process, which keeps its audit hooks
    if not _is_watching:
        sys.addaudithook(_note)
        _is_watching = True
    times: list[float] = []
    _watches.append(times)
    try:
        yield times
    finally:
        _watches.remove(times)


_is_watching = False


def _note(event: str, arguments: tuple[Any, ...]) -> None:  # Any: as the event has it
    if event == "socket.connect" and _watches and isinstance(arguments[1], tuple):
        for times in _watches:
            times.append(monotonic())
