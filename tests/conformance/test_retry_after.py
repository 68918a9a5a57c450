"""What a backend asks to wait is told from a pause of the exporter's own, whatever the status is beside it."""

import pytest
from third_party.right import PlainExporter
from third_party.transport import Answer

from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.verdicts import Run, Settings, Verdict


class ReadsItOfTheBusyAlone(PlainExporter):
    """Reads Retry-After where the status is 503, and for no other status."""

    def attempt(self, context, body) -> Answer:
        answer = super().attempt(context, body)
        return answer if answer.status == 503 else Answer(answer.status, {}, answer.body)


class PausesForASecond(PlainExporter):
    """Never reads Retry-After, and pauses for a second anyway."""

    def attempt(self, context, body) -> Answer:
        answer = super().attempt(context, body)
        return Answer(answer.status, {"retry-after": "1"}, answer.body)


def _check(exporter: type[PlainExporter]) -> Run:
    report = check(
        f"{exporter.__module__}:{exporter.__name__}",
        patterns=["EXP-15"],
        modes=["raw"],
        sink="otlp_http",
        options={"endpoint": "{endpoint}"},
        settings=Settings(canaries=False, points=5),
    )
    return report.run("EXP-15", "raw")


@pytest.mark.parametrize(
    ("exporter", "expected"),
    [
        (ReadsItOfTheBusyAlone, "no further attempt before Retry-After: 1 beside status 429 is over"),
        (PausesForASecond, "no further attempt before Retry-After: 2 is over"),
    ],
)
def test_an_attempt_that_comes_sooner_than_the_backend_asked_fails(exporter: type[PlainExporter], expected: str):
    run = _check(exporter)
    assert (run.verdict, run.expected) == (Verdict.FAIL, expected), run


def test_one_that_waits_as_asked_beside_each_status_passes():
    run = _check(PlainExporter)
    assert run.verdict is Verdict.PASS, run
    assert [text for text in run.observations if text.startswith("with retry-after:1:429, a further attempt 1.")]
