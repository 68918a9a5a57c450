"""The exporter contract, clause by clause, on the exporters by themselves. What need not pass is listed, with why."""

from exporter_core.conformance import conformance_suite

ACCEPTED = {
    "FLU-04": ("NOT_APPLICABLE", "it holds nothing, so that no flush delivers anything"),
}

TestOtlpHttp = conformance_suite("otlp_http", accepted=ACCEPTED)
