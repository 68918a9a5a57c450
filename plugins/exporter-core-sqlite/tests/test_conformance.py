"""The exporter contract, clause by clause, on the exporter by itself. What need not pass is listed, with the reason."""

from exporter_core.conformance import conformance_suite

ACCEPTED = {
    "EXP-07": ("NOT_APPLICABLE", "a file gives no answer that could be incomplete"),
    "EXP-08": ("NOT_APPLICABLE", "a file is not connected to"),
    "EXP-09": ("NOT_APPLICABLE", "a file gives no answer that could be a Retry-After"),
    "EXP-11": ("NOT_APPLICABLE", "a file gives no answer that could be a Retry-After"),
    "EXP-13": ("NOT_APPLICABLE", "a file gives no answer that could be a transient status"),
    "EXP-15": ("NOT_APPLICABLE", "a file gives no answer that could be a permanent status"),
    "EXP-16": ("NOT_APPLICABLE", "a file gives no answer that could be a partial success"),
    "EXP-18": ("NOT_APPLICABLE", "a file gives no answer that could be a redirect"),
    "EXP-19": ("NOT_APPLICABLE", "a file gives no answer that could be another success"),
    "FLU-04": ("NOT_APPLICABLE", "it holds nothing, so that no flush delivers anything"),
}

TestConformance = conformance_suite("sqlite", accepted=ACCEPTED, schedules=3, points=2_003)
