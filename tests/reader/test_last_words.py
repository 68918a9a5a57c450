"""A flush that times out while its export hangs in another attempt tells the failure of the attempt before."""

from __future__ import annotations

import threading

import pytest

from exporter_core.authoring import RetryableError, Retrying, RetryOptions
from exporter_core.context import Context
from exporter_core.errors import DeadlineExceededError
from exporter_core.reader import finish


def test_a_flush_that_times_out_tells_the_last_failed_attempt(rig) -> None:
    gate, entered, hanging = threading.Event(), threading.Event(), threading.Event()

    def attempt() -> None:
        if gate.is_set():
            return  # the last collection's, at shutdown
        if entered.is_set():
            hanging.set()
            assert gate.wait(30)
        entered.set()
        raise RetryableError("503 Service Unavailable: quota of tenant 7 used up")

    retrying = Retrying(RetryOptions(initial_interval=1, max_interval=1))
    one = rig(on_export=lambda context, metrics: retrying.run(context, attempt), gate=gate)
    one.meter.create_counter("c").add(1)
    context = Context.with_timeout(30)
    job = one.reader.begin_flush(context)
    assert hanging.wait(30)
    late = one.reader._late(job)
    assert isinstance(late, DeadlineExceededError)
    assert str(late) == (
        "reader '0:fake': force_flush timed out: the export is still running; "
        "the last attempt failed: 503 Service Unavailable: quota of tenant 7 used up"
    )
    context.cancel()
    gate.set()
    finish([job])
    with pytest.raises(Exception, match="the last attempt failed: 503 Service Unavailable: quota of tenant 7 used up"):
        raise job.error
