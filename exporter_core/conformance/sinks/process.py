"""The parent's end of a sinks' process: it starts, calls and ends it, and holds no thread.

Each call passes one end of a fresh socket pair to the process, so that calls of several threads, and of forked
children, never wait for each other.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from exporter_core.conformance.sinks.errors import SinkError, SinkStartError
from exporter_core.conformance.sinks.messages import SinkAnswer, SinkCall

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter_core.conformance.sinks.sink import Sink

_START_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 60.0  # a busy machine may take long to read many points
_END_SECONDS: Final = 5.0

# The interpreter gets the parent's own import path, so that it finds the same packages, and nothing from the folder
# that it happens to start in.
_PROGRAM: Final = """
import os, sys
sys.path[:] = sys.argv[3].split(os.pathsep)
from exporter_core.conformance.sinks.server.process import main
main(int(sys.argv[1]), int(sys.argv[2]))
"""


def _blocking_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that block, whatever default time-out an exporter has set for the process's sockets."""
    pair = socket.socketpair()
    for one in pair:
        one.setblocking(True)
    return pair


class SinkHost:
    """A process that outlives its sinks: starting one after the other in it takes a few milliseconds each."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._channel, theirs = _blocking_pair()
        self._channel.settimeout(_ANSWER_SECONDS)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - kept as long as the process
        path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        try:
            with theirs:
                arguments = [str(theirs.fileno()), str(os.getpid()), path]
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    [sys.executable, "-P", "-W", "default", "-c", _PROGRAM, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._log,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C at a terminal is for the parent, which reads results afterwards
                )
        except BaseException:
            self._channel.close()
            self._log.close()
            raise

    def start(self, *sinks: Sink) -> None:
        """Start sinks. Raises SinkStartError, or SinkPortTakenError, if one of them does not start."""
        opened: list[int] = []
        try:
            for sink in sinks:
                opened += sink._open()
            described = [(sink.kind, sink._options) for sink in sinks]
            started = self.call(0, "start", *described, descriptors=opened, seconds=_START_SECONDS)
        except BaseException as error:
            for sink in sinks:
                sink._release()
            if isinstance(error, SinkError) and not isinstance(error, SinkStartError):
                raise SinkStartError(f"the sinks' process did not start: {error}") from None
            raise
        finally:
            for descriptor in opened:
                os.close(descriptor)
        for sink, (index, port) in zip(sinks, started, strict=True):
            sink._has_started(self, index, port)

    def stop(self, sink: Sink) -> None:
        """End a sink, with its records: its connections are reset, and its port refuses as long as the host lives."""
        try:
            sink._call("stop")
        finally:
            sink._release()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """True if sinks can be started in it; a forked child cannot tell, and uses its parent's."""
        return not self._log.closed and (os.getpid() != self._owner or self._process.poll() is None)

    def call(
        self,
        index: int,
        operation: str,
        *arguments: object,
        descriptors: Iterable[int] = (),
        seconds: float = 0.0,
    ) -> Any:  # as the operation says
        """Call an operation of a sink that takes at most ``seconds``. Raises its error."""
        ours, theirs = _blocking_pair()
        with theirs, Connection(ours.detach()) as connection:
            try:
                socket.send_fds(self._channel, [b"c"], [theirs.fileno(), *descriptors])
                theirs.close()
                connection.send(SinkCall(index, operation, arguments))
                if not connection.poll(seconds + _ANSWER_SECONDS):
                    raise SinkError(f"the sinks' process {self.pid} does not answer")
                answer: SinkAnswer = connection.recv()
            except (EOFError, OSError):
                raise SinkError(self._obituary()) from None
        if answer.error is not None:
            raise answer.error
        return answer.value

    def _obituary(self) -> str:
        if self._log.closed:
            return "the sink is closed: read what it recorded before its with block ends"
        try:
            status = str(self._process.wait(1.0)) if os.getpid() == self._owner else "unknown"
        except subprocess.TimeoutExpired:
            status = "unknown"
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 4096))
        said = self._log.read().decode(errors="replace").strip().splitlines()
        return f"the sinks' process {self.pid} has ended (status {status})" + (f": {said[-1]}" if said else "")

    def close(self) -> None:
        """End the process and wait for its end; a second call, or one in a forked child, does no harm."""
        if self._log.closed:
            return
        if os.getpid() == self._owner:
            try:
                # A forked child may hold a copy of the channel, so that closing this one is not enough.
                self._channel.send(b"q")
            except OSError:
                pass  # the process has ended already
        self._channel.close()
        if os.getpid() == self._owner:
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()
