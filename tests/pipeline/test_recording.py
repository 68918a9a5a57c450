"""The exemplar filter that notices the first measurement of a process."""

import os

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    ExemplarFilter,
    TraceBasedExemplarFilter,
)

from exporter_core.pipeline.recording import FirstMeasurement

ARGUMENTS = (1, 0, {}, Context())


class Odd(ExemplarFilter):
    def should_sample(self, value, time_unix_nano, attributes, context):
        return value % 2 == 1


@pytest.mark.parametrize(
    "inner", [AlwaysOffExemplarFilter(), AlwaysOnExemplarFilter(), TraceBasedExemplarFilter(), Odd()]
)
def test_it_answers_as_the_filter_inside_does(inner):
    outer = FirstMeasurement(inner, lambda: None)
    for value in (1, 2):
        arguments = (value, *ARGUMENTS[1:])
        assert outer.should_sample(*arguments) == inner.should_sample(*arguments)


def test_it_calls_back_once_a_process_and_knows_whether_that_has_recorded(monkeypatch):
    calls = []
    noticing = FirstMeasurement(AlwaysOffExemplarFilter(), lambda: calls.append(None))
    assert not noticing.has_recorded
    for process in (os.getpid(), os.getpid() + 1):
        monkeypatch.setattr("exporter_core.pipeline.recording.getpid", lambda process=process: process)
        assert not noticing.has_recorded
        noticing.should_sample(*ARGUMENTS)
        noticing.should_sample(*ARGUMENTS)
        assert noticing.has_recorded
    assert len(calls) == 2
