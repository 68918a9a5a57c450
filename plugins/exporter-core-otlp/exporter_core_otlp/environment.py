"""The options that OpenTelemetry's environment variables for OTLP give, read as OpenTelemetry Python reads them.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/. A variable for metrics alone overrides the one for
all signals. Time-outs are seconds, as in OpenTelemetry Python; the specification has milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALL: Final = "OTEL_EXPORTER_OTLP_"
_METRICS: Final = "OTEL_EXPORTER_OTLP_METRICS_"
_FILES: Final = {"ca_file": "CERTIFICATE", "key_file": "CLIENT_KEY", "cert_file": "CLIENT_CERTIFICATE"}


def preference_options(environ: Mapping[str, str]) -> dict[str, Any]:  # Any: options, which the model checks
    """Return the options of every OTLP exporter that variables give."""
    given = {
        "temporality_preference": environ.get(f"{_METRICS}TEMPORALITY_PREFERENCE", "").strip().lower(),
        "default_histogram_aggregation": environ.get(f"{_METRICS}DEFAULT_HISTOGRAM_AGGREGATION", "").strip().lower(),
    }
    given["temporality_preference"] = given["temporality_preference"].replace("lowmemory", "low_memory")
    return {option: value for option, value in given.items() if value}


def network_options(environ: Mapping[str, str], *, path: str = "") -> dict[str, Any]:  # Any: see above
    """Return the options of an OTLP exporter that sends to a server.

    Args:
        environ: the variables.
        path: what is added to the endpoint for all signals.
    """

    def variable(name: str) -> str:
        return environ.get(_METRICS + name, "").strip() or environ.get(_ALL + name, "").strip()

    given: dict[str, Any] = preference_options(environ)  # Any: see above
    endpoint = environ.get(f"{_METRICS}ENDPOINT", "").strip()
    if not endpoint and (base := environ.get(f"{_ALL}ENDPOINT", "").strip()):
        endpoint = base.rstrip("/") + path
    if endpoint:
        given["endpoint"] = endpoint
    for option, name in (("headers_list", "HEADERS"), ("compression", "COMPRESSION")):
        if value := variable(name):
            given[option] = value
    if timeout := variable("TIMEOUT"):
        given["timeout"] = _milliseconds(timeout)
    tls: dict[str, Any] = {option: value for option, name in _FILES.items() if (value := variable(name))}
    if insecure := variable("INSECURE"):
        tls["insecure"] = insecure.lower() == "true"
    # They are commonly set for all signals, so that an endpoint without TLS does not make them a mistake.
    if tls and endpoint and not endpoint.startswith("http://"):
        given["tls"] = tls
    return given


def _milliseconds(seconds: str) -> int | str:
    """Return seconds as the option has them; the text itself if it is no number, which the model refuses."""
    try:
        return round(float(seconds) * 1000)
    except (ValueError, OverflowError):
        return seconds
