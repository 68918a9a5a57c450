"""A reader under an application's own provider, when the interpreter exits."""

import time
from collections.abc import Callable

import pytest

pytestmark = pytest.mark.usefixtures("warm_python")

CODE = """
import sys, threading
from opentelemetry.sdk.metrics import MeterProvider
from exporter_core.guard import GuardedExporter
from exporter_core.reader import PeriodicReader
from exporter_core.testing import FakeExporter

def export(context, metrics):
    print("exported", metrics.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0].value)

guard = GuardedExporter(FakeExporter(on_export=export, on_shutdown=lambda context: print("shut down")), name="fake")
provider = MeterProvider([PeriodicReader(guard, interval=3600)])
provider.get_meter("m").create_counter("c").add(7)
"""


def test_what_was_recorded_is_delivered_when_the_interpreter_exits(run_python: Callable) -> None:
    assert run_python(CODE).splitlines() == ["exported 7", "shut down"]


def test_a_reader_without_shutdown_at_exit_does_not_hold_the_interpreter_up(run_python: Callable) -> None:
    started = time.monotonic()
    code = CODE.replace("interval=3600)])", "interval=3600)], shutdown_on_exit=False)")
    assert run_python(code + 'print("end")').splitlines() == ["end"]
    assert time.monotonic() - started < 30
