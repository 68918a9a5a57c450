"""What the end of a gRPC call means for the request: to be sent again, or failed for good.

Source: https://opentelemetry.io/docs/specs/otlp/, "Failures" and "OTLP/gRPC Throttling".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grpc import StatusCode

from exporter_core import ExporterError
from exporter_core_otlp.answers import MalformedAnswerError, on_one_line, retry_delay, status_in
from exporter_core_otlp.retry import RetryableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from grpc import Call

    from exporter_core.masking import Masker

__all__ = ["failure"]

_RETRYABLE: Final = frozenset(
    {
        StatusCode.CANCELLED,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.ABORTED,
        StatusCode.OUT_OF_RANGE,
        StatusCode.UNAVAILABLE,
        StatusCode.DATA_LOSS,
    }
)
_DETAILS: Final = "grpc-status-details-bin"


def failure(call: Call, endpoint: str, mask: Masker) -> ExporterError:
    """The error for a call that has ended with another status than OK.

    Args:
        call: the call.
        endpoint: the server, for the message.
        mask: keeps secrets out of it.

    Returns:
        A RetryableError where OTLP has the client try again: of RESOURCE_EXHAUSTED only if the server says when.
    """
    code = call.code()
    details = on_one_line(call.details() or "")
    message = mask(f"{endpoint}: {code.name}: {details}" if details else f"{endpoint}: {code.name}")
    delay = _delay(call.trailing_metadata() or ())
    # A certificate is not better the next time; gRPC has no code of its own for it.
    lasting = "CERTIFICATE_VERIFY_FAILED" in details
    if (code in _RETRYABLE and not lasting) or (code is StatusCode.RESOURCE_EXHAUSTED and delay is not None):
        return RetryableError(message, retry_after=delay)
    return ExporterError(message)


def _delay(metadata: Iterable[tuple[str, str | bytes]]) -> float | None:
    """Seconds to wait by the ``RetryInfo`` that the call ended with; None if it has none that can be read."""
    for key, value in metadata:
        if key == _DETAILS and isinstance(value, bytes):
            try:
                return retry_delay(status_in(value))
            except MalformedAnswerError:
                return None
    return None
