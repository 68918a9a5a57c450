"""A reader's thread, which does all of its collecting and exporting."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from exporter_core.log import log
from exporter_core.sync import Signal, start_thread, thread_id

if TYPE_CHECKING:
    import weakref

    from exporter_core.clock import Clock
    from exporter_core.reader.jobs import Job

_logger = logging.getLogger(__name__)

_PAUSE: Final = 1.0  # seconds before work that failed as no work should is tried again


class _Working(Protocol):
    def _work(self) -> float: ...
    def _refuse(self, job: Job[Any]) -> None: ...


class ReaderThread:
    """A daemon thread that calls ``reader._work()`` whenever it is due, or a job has come in.

    It is started with the reader, since from Python 3.12 no thread can be started while the interpreter exits. It
    refers to the reader only while it works, so that a dropped reader can be collected, which ends the thread.

    Args:
        reader: ``_work()`` does what is due and returns the time of the next tick, ``_refuse()`` fails a job that
            comes too late.
        name: the reader's name, which the thread carries.
        clock: the clock of the times that ``_work()`` returns.
    """

    def __init__(self, reader: weakref.ref[_Working], name: str, clock: Clock) -> None:
        self.jobs: deque[Job[Any]] = deque()  # Any: whose they are is no matter here
        self.closed = False
        self._reader = reader
        self._clock = clock
        self._wake = Signal()
        self._name = f"exporter-core-reader-{name}"
        self.ended = Signal()
        """Set when it has ended."""
        self._id: int | None = None  # while it runs: another thread may get the number later

    def start(self) -> None:
        """Start the thread. Raises RuntimeError where none can be started."""
        start_thread(self._run, name=self._name)

    @property
    def is_current(self) -> bool:
        """True in the thread itself."""
        return self._id == thread_id()

    def submit(self, job: Job[Any]) -> None:
        """Queue a job; it fails at once if the thread has ended."""
        self.jobs.append(job)
        self._wake.set()
        if self.closed:  # looked at after handing over: the thread may have looked before
            self._refuse_jobs()

    def wake(self) -> None:
        """Have the reader look for work now."""
        self._wake.set()

    def close(self) -> None:
        """End the thread once its work is done. Does not wait."""
        self.closed = True
        self._wake.set()

    def _run(self) -> None:
        """Work until closed, or until the reader is dropped."""
        self._id = thread_id()
        try:
            self._work_until_closed()
        finally:
            self._id = None
            self.ended.set()

    def _work_until_closed(self) -> None:
        while not self.closed:
            # Before the look at the jobs: a caller that submits one later sets the signal that is waited for.
            self._wake = wake = Signal()
            reader = self._reader()
            if reader is None:
                break
            due = self._clock.monotonic() + _PAUSE
            try:
                due = reader._work()
            except BaseException as error:  # noqa: BLE001 - the work reports its failures itself; whatever escapes, the reader goes on
                log(_logger, logging.ERROR, "a reader's own work failed: %s", type(error).__name__)
            del reader  # nothing may be kept alive by a thread that waits
            self._clock.wait(wake, due - self._clock.monotonic())
        self._refuse_jobs()

    def _refuse_jobs(self) -> None:
        """Fail the jobs that nobody will do."""
        reader = self._reader()
        while reader is not None:  # a job that waits refers to it
            try:
                job = self.jobs.popleft()
            except IndexError:
                return
            reader._refuse(job)
