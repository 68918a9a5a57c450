"""The ``thread`` runner: each operation has a daemon thread of its own, and keeps every deadline on time."""

from __future__ import annotations

from exporter_core import forking
from exporter_core.guard.reentrancy import mark_thread
from exporter_core.guard.runners.handover import HandoverRunner
from exporter_core.sync import SimpleQueue, start_thread


class ThreadRunner(HandoverRunner):
    """A daemon thread, started at once: from Python 3.12 none can be started at interpreter exit.

    The thread refers to the runner only while it makes a call, so that a dropped guard can be collected.
    """

    def __init__(self, name: str, guard: object) -> None:
        super().__init__()
        self._queue: SimpleQueue[ThreadRunner | None] = SimpleQueue()
        start_thread(_work, self._queue, guard, name=name)

    def close(self) -> None:
        """End the thread after the calls that must run."""
        self.refuse()
        self._queue.put(None)

    def _hand_over(self) -> None:
        self._queue.put(self)


def _work(queue: SimpleQueue[ThreadRunner | None], guard: object) -> None:
    mark_thread(guard)
    process = forking.process
    while (runner := queue.get()) is not None:
        while runner._waiting:  # more than one, if a caller was interrupted before it could say that its call waits
            if (handed_over := runner._begin_next()) is not None:
                result = handed_over.call.run()
                runner.running = None
                handed_over.end(result)
                del result
            del handed_over  # nothing may be kept alive by a thread that waits
            if forking.process is not process:
                return  # the call forked and has returned in the child, too, where the queue is the parent's to work on
        del runner
