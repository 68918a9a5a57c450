"""The exporter contract, clause by clause, on the exporters by themselves. What need not pass is listed, with why."""

from exporter_core.conformance import conformance_suite

ACCEPTED = {
    "FLU-04": ("NOT_APPLICABLE", "it holds nothing, so that no flush delivers anything"),
}

OVER_GRPC = {**ACCEPTED, "EXP-19": ("NOT_APPLICABLE", "its protocol has no one status for success")}

NO_ANSWER = "a file gives no answer that could be"
OF_A_FILE = {
    **ACCEPTED,
    "EXP-07": ("NOT_APPLICABLE", f"{NO_ANSWER} incomplete"),
    "EXP-08": ("NOT_APPLICABLE", "a file is not connected to"),
    "EXP-09": ("NOT_APPLICABLE", f"{NO_ANSWER} a Retry-After"),
    "EXP-11": ("NOT_APPLICABLE", f"{NO_ANSWER} a Retry-After"),
    "EXP-13": ("NOT_APPLICABLE", f"{NO_ANSWER} a transient status"),
    "EXP-15": ("NOT_APPLICABLE", f"{NO_ANSWER} a permanent status"),
    "EXP-16": ("NOT_APPLICABLE", f"{NO_ANSWER} a partial success"),
    "EXP-18": ("NOT_APPLICABLE", f"{NO_ANSWER} a redirect"),
    "EXP-19": ("NOT_APPLICABLE", f"{NO_ANSWER} another success"),
}

TestOtlpFile = conformance_suite("otlp_file", accepted=OF_A_FILE, schedules=3, points=2_003)
TestOtlpGrpc = conformance_suite("otlp_grpc", accepted=OVER_GRPC, schedules=3, points=2_003)
TestOtlpHttp = conformance_suite("otlp_http", accepted=ACCEPTED, schedules=3, points=2_003)
