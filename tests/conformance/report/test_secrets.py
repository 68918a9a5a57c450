"""No form of the report tells a secret, wherever the exporter, the harness or the backend put it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from exporter_core.cli.check_output import as_json_text
from exporter_core.conformance.report import as_json, as_junit, as_text
from exporter_core.conformance.report.html import as_html
from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.verdicts import Report
from kit.memory import SECRET

OTHER = "An0ther-s3cret"
EXPORTER = f"""
    from exporter_core.conformance.observe.journal import Exchange
    from kit.memory import MemoryHarness
    from kit.mutants.answers import TellsSecret

    class TellingHarness(MemoryHarness):
        def setup(self, directory, stamp):
            super().setup(directory, stamp)
            stamp("wire", "connected with token {SECRET}")

        def wire_log(self):
            headers = (("authorization", "Basic dXNlcjpodW50ZXIy"), ("x-api-key", "{OTHER}"), ("x-token", "{SECRET}"))
            yield Exchange(0.0, "POST http://user:{OTHER}@db/", headers, answer="token={OTHER}", problems=("{SECRET}",))

    class Telling(TellsSecret):
        conformance_harness = TellingHarness
"""


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    (tmp_path / "telling.py").write_text(textwrap.dedent(EXPORTER))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return check("telling:Telling", patterns=["HND-02"], modes=["raw"], options={"token": OTHER})


def test_no_form_of_a_report_tells_a_secret(report: Report) -> None:
    run = report.run("HND-02", "raw")
    assert run.wire[0]["headers"] == [["authorization", "***"], ["x-api-key", "***"], ["x-token", "***"]]
    assert run.wire[0]["request"] == "POST http://***@db/"
    assert "connected with token ***" in {event["text"] for event in run.timeline}
    for text in (as_json_text(as_json(report)), as_text(report), as_html(report), as_junit(report)):
        assert "HND-02" in text
        assert SECRET not in text
        assert OTHER not in text
        assert "dXNlcjpodW50ZXIy" not in text
