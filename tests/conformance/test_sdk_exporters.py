"""The SDK's own exporters, from their PyPI packages, raw through the bridge and behind the guard, over the kit's sinks.

Their JSON reports are kept in the folder that EXPORTER_CORE_ARTEFACTS names, or in .artefacts.
"""

import json
import os
import textwrap
from concurrent import futures
from pathlib import Path

import jsonschema
import pytest

from exporter_core.conformance.report import as_json, json_schema
from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.verdicts import Report, Settings, Verdict

pytestmark = pytest.mark.nightly

ROOT = Path(__file__).parents[2]
SECRET = "Bearer s3cr3t-0f-the-header"  # noqa: S105 - it must not be in a report
# A raw exporter that ignores its deadline costs the patience; its time-out of its own, 10 s, must not be over by then.
SETTINGS = Settings(patience=4, schedules=1, points=2_003)
EXPORTERS = {
    "console": ("opentelemetry.sdk.metrics.export:ConsoleMetricExporter", "stdout", None),
    "otlp-http": (
        "otlp_proto_http",
        "otlp_http",
        {"endpoint": "{endpoint}", "headers": {"authorization": SECRET}},
    ),
    "otlp-grpc": (
        "opentelemetry.exporter.otlp.proto.grpc.metric_exporter:OTLPMetricExporter",
        "otlp_grpc",
        {"endpoint": "http://{host}:{port}"},
    ),
}
NAMES = tuple(EXPORTERS)


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    """All of them side by side, since most of the time each waits for the others' patience to end."""
    with futures.ThreadPoolExecutor() as pool:
        checks = {
            name: pool.submit(check, target, sink=sink, options=options, settings=SETTINGS)
            for name, (target, sink, options) in EXPORTERS.items()
        }
        found = {name: one.result() for name, one in checks.items()}
    folder = Path(os.environ.get("EXPORTER_CORE_ARTEFACTS") or ROOT / ".artefacts") / "conformance"
    folder.mkdir(parents=True, exist_ok=True)
    for name, report in found.items():
        text = json.dumps(as_json(report), indent=2)
        (folder / f"{name}-{os.getpid()}.json").write_text(text)
    return found


def verdicts(report: Report, mode: str) -> dict[str, Verdict]:
    return {clause: run.verdict for (clause, of), run in report.runs.items() if of == mode}


@pytest.mark.parametrize("name", NAMES)
def test_deliveries_are_seen_on_the_wire_and_every_clause_has_its_result(reports, name) -> None:
    report = reports[name]
    assert report.tier == "wire"
    assert report.origin is not None
    assert report.origin.startswith("opentelemetry-")
    jsonschema.Draft202012Validator(json_schema()).validate(as_json(report))
    assert not report.stopped
    for mode in report.modes:
        of_mode = verdicts(report, mode)
        assert {of_mode[clause] for clause in ("EXP-01", "EXP-02", "EXP-03", "FLU-01", "SHD-01")} == {Verdict.PASS}
        assert of_mode["SHD-05"] is (Verdict.FAIL if (name, mode) == ("console", "raw") else Verdict.PASS)
        broken = [report.run(clause, mode).seen for clause, one in of_mode.items() if one is Verdict.KIT_ERROR]
        assert broken == []


@pytest.mark.parametrize("name", NAMES)
def test_cancellation_cannot_be_expressed_raw_and_is_kept_behind_the_guard(reports, name) -> None:
    run = reports[name].run("EXP-10", "raw")
    assert run.verdict is Verdict.INEXPRESSIBLE
    assert run.seen == "a MetricExporter of the OpenTelemetry SDK cannot be told that a call is cancelled"
    assert reports[name].run("EXP-10", "guarded").verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("name", "clause", "when"),
    [
        ("console", "EXP-06", "while the gate was shut"),
        ("otlp-http", "EXP-06", "while the gate was shut"),
        ("otlp-grpc", "EXP-06", "while the gate was shut"),
        ("otlp-grpc", "EXP-08", "while connecting hung"),
    ],
)
def test_a_deadline_that_it_ignores_is_said_plainly_and_kept_behind_the_guard(reports, name, clause, when) -> None:
    run = reports[name].run(clause, "raw")
    assert run.verdict is Verdict.FAIL
    assert run.expected == f"export ends at its deadline {when}"
    assert run.seen.startswith("export had not ended 4 s later")
    assert any(event["text"].startswith("a deadline of ") for event in run.timeline)
    assert reports[name].run(clause, "guarded").verdict is Verdict.PASS


def test_retrying_beyond_a_deadline_is_not_taken_for_a_failure_that_is_swallowed(reports) -> None:
    run = reports["otlp-http"].run("EXP-14", "raw")
    assert run.verdict is Verdict.PASS
    assert "with status:500" in " ".join(run.observations)


def test_the_official_http_exporter_takes_a_page_for_success_whatever_stands_before_it(reports) -> None:
    for mode in ("raw", "guarded"):
        run = reports["otlp-http"].run("EXP-18", mode)
        assert run.verdict is Verdict.FAIL
        assert run.seen == "it returned"
        assert any("redirect" in event["text"] for event in run.timeline if event["kind"] == "wire")


def test_the_official_grpc_exporter_behind_the_guard_does_but_encode_a_batch_anew_for_each_attempt(reports) -> None:
    report = reports["otlp-grpc"]
    # What grpcio does in a child that is forked in the middle of a call is not the same each time.
    deciding = {clause.id: clause.technique for clause in report.clauses if not clause.hygiene}
    other = {
        clause: (run.verdict, run.seen)
        for (clause, mode), run in report.runs.items()
        if mode == "guarded"
        and clause in deciding
        and run.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE, Verdict.INEXPRESSIBLE)
    }
    scheduled = {clause for clause, technique in deciding.items() if technique == "P"}
    # It counts its own deadline on the wall clock, which EXP-12 steps while it may be connecting. It reads for how
    # long to wait in a trailer of another name than the servers' (EXP-15).
    assert other.keys() - scheduled - {"EXP-12"} == {"DAT-01", "EXP-15", "EXP-16"}, other
    assert {verdict for clause, (verdict, _) in other.items() if clause in scheduled} <= {Verdict.UNOBSERVABLE}, other
    assert report.run("DAT-01", "guarded").expected == "a further attempt sends what the first one did"


def test_a_result_without_a_count_can_still_say_that_some_points_were_refused(reports) -> None:
    for mode in ("raw", "guarded"):
        run = reports["otlp-http"].run("EXP-16", mode)
        assert (run.verdict, run.seen) == (Verdict.FAIL, "it returned, and logged nothing")


def test_the_console_exporter_by_itself_goes_on_after_its_shutdown_and_the_guard_stops_it(reports) -> None:
    for clause, seen in (("SHD-05", "3 of its 3 points arrived"), ("SHD-06", "it returned")):
        run = reports["console"].run(clause, "raw")
        assert (run.verdict, run.seen) == (Verdict.FAIL, seen)
        assert reports["console"].run(clause, "guarded").verdict is Verdict.PASS
    assert reports["console"].run("SHD-07", "raw").verdict is Verdict.INEXPRESSIBLE


def test_a_secret_of_the_options_is_nowhere_in_the_report_and_the_command_has_the_rest(reports) -> None:
    text = json.dumps(as_json(reports["otlp-http"]))
    assert "s3cr3t" not in text
    (command,) = {
        result["reproduce"]
        for clause in as_json(reports["otlp-http"])["clauses"]
        for mode, result in clause["results"].items()
        if (clause["id"], mode) == ("EXP-06", "raw")
    }
    assert "--clause EXP-06 --raw --seed 1 --sink otlp_http --config" in command
    assert '"endpoint": "{endpoint}"' in command


@pytest.mark.parametrize("name", NAMES)
def test_hanging_exporters_do_not_make_a_check_long(reports, name) -> None:
    # A dozen clauses wait for the patience of 4 s, several at a time; one after the other they would take minutes.
    assert reports[name].seconds < 90


# --- what the guard turns round --------------------------------------------------------------------------------------

ROGUE = """
    from kit.reference import ReferenceExporter
    from exporter_core.context import Context

    class Rogue(ReferenceExporter):
        def export(self, context, metrics):
            self._deliver(Context.background(), metrics)

        def shutdown(self, context):
            self._release(got=self._turn.take(context))
"""


def test_an_exporter_that_hangs_and_lies_after_shutdown_is_kept_in_order_by_the_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rogue.py").write_text(textwrap.dedent(ROGUE))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    clauses = ("EXP-05", "EXP-06", "EXP-09", "EXP-10", "SHD-05", "SHD-06", "SHD-07")
    report = check("rogue:Rogue", patterns=clauses, settings=Settings(patience=2))
    assert verdicts(report, "raw") == dict.fromkeys(clauses, Verdict.FAIL)
    assert verdicts(report, "guarded") == dict.fromkeys(clauses, Verdict.PASS)
