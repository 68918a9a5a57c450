"""The fork server of the checker, from which all workers of this process are forked."""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from exporter_core.conformance.run.safety import without_backends
from exporter_core.errors import SetupError
from exporter_core.fork_server import ForkServer
from exporter_core.forking import call_after_fork, keep_untouched

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from exporter_core.fork_server import ForkedProcess

_START: Final = 90.0  # seconds in which it has to have imported the checker
_END: Final = 5.0
_TRIES: Final = 2  # fork servers: the first one may have been killed


class WorkerServer(ForkServer):
    """The fork server of this process, started for the first check and ended with the process."""

    _running: ClassVar[WorkerServer | None] = None
    _starting: ClassVar = threading.Lock()

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="conformance-server-")
        self._output = Path(self._folder.name, "output")
        environment = {
            "PYTHONHASHSEED": "0",  # so that a seed makes the same interleaving in each worker
            "HYPOTHESIS_STORAGE_DIRECTORY": self._folder.name,  # so that nothing is left where it was started
            **without_backends(os.environ),
        }
        command = [sys.executable, "-m", "exporter_core.conformance.run.worker"]
        with self._output.open("wb") as output:
            super().__init__(command, output=output, environment=environment)

    @classmethod
    def get(cls) -> WorkerServer:
        """The one that runs, or a new one."""
        with cls._starting:
            if cls._running is None or cls._running.exit_code(0) is not None:
                if cls._running is not None:
                    cls._running.close()
                cls._running = cls()
            return cls._running

    @classmethod
    def fork_worker(
        cls,
        environment: Mapping[str, str],
        channel: socket.socket,
        output: int,
        dump: Path,
        seed: int | None,
    ) -> ForkedProcess:
        """Fork a worker.

        Args:
            environment: its environment.
            channel: its end of the connection that its messages go over.
            output: the descriptor of the file for its output.
            dump: the file for its stacks, in a folder in which the worker makes its own.
            seed: that of the batches that it makes with Hypothesis at first; None if it needs none.

        Raises:
            SetupError: a fork server has ended, and another one too; or the current folder is gone.
        """
        try:
            directory = str(Path.cwd())
        except FileNotFoundError:
            raise SetupError("the current folder does not exist any more; run the check from another one") from None
        order = {"directory": directory, "environment": dict(environment), "dump": str(dump), "seed": seed}
        for _ in range(_TRIES):
            server = cls.get()
            worker = server.fork(order, output, channel.fileno())
            if worker.started(_START):
                return worker
            worker.end(0)
            said = server._obituary()
        raise SetupError(said)

    def _obituary(self) -> str:
        code = self.exit_code(_END)
        how = "does not answer" if code is None else f"ended with exit code {code}"
        said = self._output.read_text(errors="replace").strip().splitlines()
        return f"the checker's fork server {how}{(said and ': ' + said[-1]) or ''}"

    def close(self) -> None:
        """End it at once: no worker is left, or this process ends and its workers are told so by their channels."""
        super().close()
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


atexit.register(WorkerServer.end)
call_after_fork(WorkerServer.renew)
