"""A reader's thread: the one place where its collecting, and what follows it, is done.

The thread exists from the start, since from Python 3.12 none can be started while the interpreter exits. It refers to
the reader only while it works, so that a dropped reader can be collected, which ends the thread.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol

from exporter_core.errors import ExporterShutdownError
from exporter_core.log import log
from exporter_core.sync import Signal

if TYPE_CHECKING:
    import weakref

    from exporter_core.clock import Clock
    from exporter_core.reader.jobs import Job

_logger = logging.getLogger(__name__)

_BREATH = 1.0  # seconds before work that failed as no work should is tried again


class _Working(Protocol):
    def _work(self) -> float: ...


class Worker:
    """A daemon thread that calls ``reader._work()`` whenever it is due, or a job has come in.

    Args:
        reader: the reader; ``_work()`` does what is to be done and returns when it is due again.
        name: the reader's name, which the thread carries.
        clock: what ``_work()`` counts in.
    """

    def __init__(self, reader: weakref.ref[_Working], name: str, clock: Clock) -> None:
        self.jobs: deque[Job] = deque()
        self.closed = False
        self.wake = Signal()
        self._thread = threading.Thread(
            target=_run, args=(self, reader, clock), name=f"exporter-core-reader-{name}", daemon=True
        )

    def start(self) -> None:
        """Begin; raises RuntimeError where no thread can be started."""
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is this one; not by its number, which is given again once a thread has ended."""
        return threading.current_thread() is self._thread

    def submit(self, job: Job) -> None:
        """Have the job done; it fails at once when the thread has been sent home."""
        self.jobs.append(job)
        self.wake.set()
        if self.closed:  # looked at after handing over: the thread may have looked before
            self.refuse()

    def close(self) -> None:
        """Send the thread home, once what it does is done. Does not wait."""
        self.closed = True
        self.wake.set()

    def refuse(self) -> None:
        """Fail the jobs that nobody will do."""
        while True:
            try:
                job = self.jobs.popleft()
            except IndexError:
                return
            job.end([job.reader._error(ExporterShutdownError, job.operation, "it has been shut down")])


def _run(worker: Worker, reference: weakref.ref[_Working], clock: Clock) -> None:
    while not worker.closed:
        # Before the look at the jobs, so that whoever hands one in later finds the signal that is waited for.
        worker.wake = wake = Signal()
        reader = reference()
        if reader is None:
            break
        due = clock.monotonic() + _BREATH
        try:
            due = reader._work()
        except BaseException as error:  # noqa: BLE001 - the work reports its failures itself; whatever escapes, the reader goes on
            log(_logger, logging.ERROR, "a reader's own work failed: %s", type(error).__name__)
        del reader  # nothing may be kept alive by a thread that waits
        clock.wait(wake, due - clock.monotonic())
    worker.refuse()
