"""JSON is the master: it fits its schema, whatever came of the clauses and wherever the check broke off."""

from __future__ import annotations

import jsonschema
import pytest
from hypothesis import given, strategies as st

from exporter_core.conformance.clause import select
from exporter_core.conformance.observe.journal import Exchange
from exporter_core.conformance.report import as_json, json_schema
from exporter_core.conformance.report.conclusion import deciding
from exporter_core.conformance.run.verdicts import Report, Run, Settings, Verdict

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def test_a_report_with_every_verdict_and_a_wire_log_fits_its_schema(report: Report) -> None:
    document = as_json(report)
    VALIDATOR.validate(document)
    clause = next(one for one in document["clauses"] if one["id"] == "EXP-01")
    assert clause["results"]["raw"]["wire"][0]["answer"] == "503"
    assert set(Exchange._fields) - {"digests"} == set(json_schema()["$defs"]["exchange"]["required"])


@given(
    st.dictionaries(
        st.tuples(st.sampled_from([one.id for one in select()]), st.sampled_from(["raw", "guarded"])),
        st.sampled_from(list(Verdict)),
    )
)
def test_a_partial_report_fits_it_as_well_and_is_never_called_conformant(results: dict) -> None:
    chosen = select()
    report = Report("mine", ("raw", "guarded"), Settings(), chosen)
    report.runs = {(clause, mode): Run(clause, mode, verdict) for (clause, mode), verdict in results.items()}
    document = as_json(report)
    VALIDATOR.validate(document)
    assert sum(len(one["results"]) for one in document["clauses"]) == len(results)
    missing = [one.id for one in deciding(report.clauses) for mode in report.modes if (one.id, mode) not in results]
    assert (document["conclusion"]["exit_code"] == 0) <= (not missing)


def test_a_result_that_lacks_a_field_does_not_fit(report: Report) -> None:
    document = as_json(report)
    del document["clauses"][0]["results"]["guarded"]["wire"]
    with pytest.raises(jsonschema.ValidationError, match="wire"):
        VALIDATOR.validate(document)
