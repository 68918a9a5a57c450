"""The exporters of this project, checked as a user checks them: every clause, raw and guarded, with large batches."""

import pytest

from exporter_core.conformance.report import conclude
from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.verdicts import Settings

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

POINTS = 50_021
OVER_A_NETWORK = ("otlp_grpc", "otlp_http", "prometheus_remote_write")
LOCAL = ("console", "otlp_file", "sqlite")


@pytest.mark.parametrize("name", OVER_A_NETWORK)
def test_an_exporter_over_a_network_is_conformant(name: str) -> None:
    report = check(name, settings=Settings(points=POINTS))
    assert {mode: conclude(report, mode).exit_code for mode in report.modes} == {"raw": 0, "guarded": 0}


@pytest.mark.parametrize("name", LOCAL)
def test_a_local_exporter_breaks_no_clause(name: str) -> None:
    report = check(name, settings=Settings(points=POINTS))
    assert not [key for key, run in report.runs.items() if run.verdict in ("FAIL", "KIT_ERROR")]
