"""Messages between a pool and its workers come out of their line as they went in."""

from __future__ import annotations

import pytest

from exporter_core.conformance.run.messages import (
    Message,
    Ready,
    Refused,
    RunClause,
    Secrets,
    WorkerSetup,
    decode,
    encode,
)
from exporter_core.conformance.run.verdicts import Run, Settings, Verdict

HOSTILE = "two\nlines, \x00 and half a character: \ud800"

MESSAGES = [
    WorkerSetup("mine", Settings(seed=7, patience=0.5), mode="raw", first=True, options={"url": HOSTILE, "n": [1, {}]}),
    RunClause("SHD-07", {"EXP-01": Verdict.FAIL}),
    Ready("exporter-core-mine 1.0", "wire", {"token": "***"}),
    Refused(HOSTILE),
    Secrets(("one", HOSTILE)),
    Run("EXP-01", "raw", Verdict.UNOBSERVABLE, seen=HOSTILE, timeline=[{"seconds": 0.1, "kind": "call", "text": "x"}]),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_one_line_and_comes_out_as_it_went_in(message: Message) -> None:
    line = encode(message)
    assert line.index(b"\n") == len(line) - 1
    assert decode(line) == message
    if isinstance(message, Run):
        assert decode(line).verdict is Verdict.UNOBSERVABLE
