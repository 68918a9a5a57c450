"""Ctrl-C at every point of a shutdown where Python can deliver it, and signal handlers that shut down themselves."""

import signal
import threading
from collections.abc import Callable

import pytest

from exporter_core.errors import ExporterReentrancyError
from exporter_core.guard import GuardState
from exporter_core.pipeline import Pipeline
from exporter_core.reader import PeriodicReader
from exporter_core.testing import FakeExporter

LONG = 30.0
SOON = 0.1  # seconds: a deadline that is meant to pass


@pytest.mark.parametrize("how", ["shutdown", "the end of a block"])
def test_a_shutdown_interrupted_anywhere_releases_the_exporter_and_nobody_waits_for_it(
    pipeline: Callable, interrupted: Callable, until: Callable, how: str
) -> None:
    def begin() -> tuple[Callable[[], object], Callable[[], object]]:
        exporter = FakeExporter()
        one: Pipeline = pipeline(a=exporter)
        one.meter_provider.get_meter("m").create_counter("c").add(1)
        act = (lambda: one.shutdown(LONG)) if how == "shutdown" else (lambda: one.__exit__(None, None, None))
        return act, lambda: (one, exporter)

    for place, (one, exporter) in interrupted(begin):
        begun = bool(one.readers[0]._closing.taken)
        one.shutdown(0 if begun else LONG)  # raises if it has to wait
        until(lambda exporter=exporter: "shutdown" in exporter.calls)
        until(lambda one=one: one.exporters[0].state is GuardState.SHUT_DOWN)
        assert exporter.calls.count("shutdown") == 1, place


def test_a_readers_shutdown_interrupted_anywhere_releases_the_exporter(
    pipeline: Callable, interrupted: Callable, until: Callable
) -> None:
    def begin() -> tuple[Callable[[], object], Callable[[], object]]:
        exporter = FakeExporter()
        reader: PeriodicReader = pipeline(a=exporter).readers[0]
        return lambda: reader.shutdown(LONG * 1000), lambda: (reader, exporter)

    for place, (reader, exporter) in interrupted(begin):
        reader.shutdown(LONG * 1000)  # only warns if the first had begun
        until(lambda exporter=exporter: "shutdown" in exporter.calls)
        assert exporter.calls.count("shutdown") == 1, place


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="the platform has no signals for threads")
def test_a_signal_handler_that_interrupts_a_shutdown_is_refused_one_of_its_own(pipeline: Callable) -> None:
    main, handled = threading.get_ident(), threading.Event()
    raised: list[Exception] = []

    def handle(*_: object) -> None:
        try:
            one.shutdown(SOON)
        except Exception as error:  # noqa: BLE001 - looked at below
            raised.append(error)
        handled.set()

    def export(*_: object) -> None:
        while not handled.wait(0.01):  # again: one that comes just before a thread waits does not wake it
            signal.pthread_kill(main, signal.SIGUSR1)

    one = pipeline(a=FakeExporter(on_export=export))
    one.meter_provider.get_meter("m").create_counter("c").add(1)
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        assert one.shutdown(LONG).ok
    finally:
        signal.signal(signal.SIGUSR1, before)
    error = raised[0]
    assert isinstance(error, ExporterReentrancyError)
    assert "a signal handler that interrupts this thread's own shutdown" in str(error)
