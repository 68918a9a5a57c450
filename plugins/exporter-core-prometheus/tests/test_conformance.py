"""The exporter contract, clause by clause, on the exporter by itself. What need not pass is listed, with why."""

from exporter_core.conformance import conformance_suite

ACCEPTED = {
    "FLU-04": ("NOT_APPLICABLE", "it holds nothing, so that no flush delivers anything"),
    "EXP-19": ("NOT_APPLICABLE", "its protocol has no one status for success"),
    "EXP-16": ("UNOBSERVABLE", "an answer of 1.0 never says how much of a request was stored"),
}

TestPrometheusRemoteWrite = conformance_suite("prometheus_remote_write", accepted=ACCEPTED, schedules=3, points=2_003)
