"""JUnit XML, read back by a consumer that others wrote."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import junitparser
import pytest

from exporter_core.conformance.report import as_junit
from exporter_core.conformance.run.verdicts import Report


@pytest.fixture
def suites(report: Report) -> dict[str, junitparser.TestSuite]:
    return {suite.name: suite for suite in junitparser.JUnitXml.fromstring(as_junit(report).encode())}


def outcomes(suite: junitparser.TestSuite) -> dict[str, str]:
    return {
        case.name.split()[0]: type(case.result[0]).__name__ if case.result else "passed"
        for case in suite
        if not case.is_passed
    }


def test_each_mode_is_a_suite_with_a_case_for_each_clause(report: Report, suites) -> None:
    assert list(suites) == ["mine raw", "mine guarded"]
    for suite in suites.values():
        assert len(list(suite)) == suite.tests == len(report.clauses)
    assert {case.classname for case in suites["mine raw"]} == {
        "conformance.raw.Export",
        "conformance.raw.Shutdown",
        "conformance.raw.Python",
    }


def test_what_the_exit_code_rests_on_are_failures_and_errors_the_rest_is_skipped(suites) -> None:
    assert outcomes(suites["mine guarded"]) == {}
    assert outcomes(suites["mine raw"]) == {
        "EXP-01": "Failure",
        "EXP-02": "Skipped",  # BLOCKED: the failure is that of EXP-01
        "EXP-03": "Skipped",  # a SHOULD
        "EXP-08": "Skipped",
        "EXP-10": "Skipped",
        "EXP-14": "Skipped",
        "SHD-04": "Error",
        "SHD-05": "Error",
        "SHD-07": "Error",  # not run
        "PY-01": "Skipped",  # hygiene
    }
    raw = suites["mine raw"]
    assert (raw.failures, raw.errors, raw.skipped) == (1, 3, 6)


def test_under_strict_a_failed_should_is_a_failure(report: Report) -> None:
    (raw, _) = junitparser.JUnitXml.fromstring(as_junit(report, strict=True).encode())
    assert outcomes(raw)["EXP-03"] == "Failure"
    assert outcomes(raw)["PY-01"] == "Skipped"


def test_seed_and_origin_are_properties_and_each_case_says_how_to_run_it_again(suites) -> None:
    properties = {one.name: one.value for one in suites["mine raw"].properties()}
    assert properties["seed"] == "7"
    assert properties["origin"] == "exporter-core-mine 1.0"
    assert properties["conclusion"].startswith("not conformant")
    (case,) = (one for one in suites["mine raw"] if one.name.startswith("EXP-01 "))
    assert "exporter-core check mine --clause EXP-01 --raw --seed 7" in case.system_out
    assert "look at: " in case.result[0].text
    assert 'File "mine.py", line 3' in case.system_err


def test_hostile_words_stay_words_and_what_xml_cannot_hold_is_escaped(report: Report, hostile: str) -> None:
    text = as_junit(report)
    root = ET.fromstring(text)  # noqa: S314 - written a line above
    assert {one.tag for one in root.iter()} == {
        "testsuites",
        "testsuite",
        "properties",
        "property",
        "testcase",
        "failure",
        "error",
        "skipped",
        "system-out",
        "system-err",
    }
    message = root.find(".//failure").get("message")
    assert message == hostile.replace("\x1b", "\\x1b").replace("\x00", "\\x00")
