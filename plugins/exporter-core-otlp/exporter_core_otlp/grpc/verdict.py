"""What the end of a gRPC call means for the request: taken, to be sent again, or failed for good.

Sources: https://opentelemetry.io/docs/specs/otlp/, "Failures" and "OTLP/gRPC Throttling"; gRPC's documents
PROTOCOL-HTTP2.md ("Errors") and http-grpc-status-mapping.md.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from google.rpc.code_pb2 import Code
from h2.errors import ErrorCodes

from exporter_core import ExporterError
from exporter_core_otlp.answers import MalformedAnswerError, answer_in, on_one_line, retry_delay, status_in
from exporter_core_otlp.grpc.frames import error_name
from exporter_core_otlp.grpc.message import message_in
from exporter_core_otlp.retry import RetryableError

if TYPE_CHECKING:
    from exporter_core.authoring import Masker
    from exporter_core_otlp.answers import Answer
    from exporter_core_otlp.grpc.connection import CallEnd

_RETRYABLE: Final = frozenset(
    {Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.ABORTED, Code.OUT_OF_RANGE, Code.UNAVAILABLE, Code.DATA_LOSS}
)
_OF_RESET: Final[dict[int, int]] = {
    ErrorCodes.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCodes.CANCEL: Code.CANCELLED,
    ErrorCodes.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCodes.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}
_OF_HTTP: Final[dict[int, int]] = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
    429: Code.UNAVAILABLE,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}
_OK: Final = 200
_STATUS: Final = re.compile(r"[0-9]{1,3}")


def judged(end: CallEnd, endpoint: str, mask: Masker) -> Answer:
    """What the server made of a request that it took.

    Args:
        end: of the call.
        endpoint: the server, for messages.
        mask: keeps secrets out of those.

    Raises:
        RetryableError: where OTLP has the client try again: of RESOURCE_EXHAUSTED only if the server says when.
        ExporterError: it did not take it; or answers what is not OTLP, so that nobody knows.
    """
    code, details = _status(end)
    if code == Code.OK:
        if end.premature:
            raise ExporterError(f"{endpoint}: OK, but before the server has the whole request")
        try:
            return answer_in(message_in(end.body, end.headers.get("grpc-encoding", "identity")))
        except MalformedAnswerError as error:
            raise ExporterError(f"{endpoint}: OK, but the answer is not OTLP: {error}") from error
    details = on_one_line(mask(details))
    message = mask(f"{endpoint}: {_name(code)}: {details}" if details else f"{endpoint}: {_name(code)}")
    delay = _delay(end)
    if code in _RETRYABLE or (code == Code.RESOURCE_EXHAUSTED and delay is not None):
        raise RetryableError(message, retry_after=delay)
    raise ExporterError(message)


def _status(end: CallEnd) -> tuple[int, str]:
    """GRPC's status and what was said with it."""
    if end.reset is not None:
        return _OF_RESET.get(end.reset, Code.INTERNAL), f"the server broke off the call ({error_name(end.reset)})"
    status = end.headers.get("grpc-status")
    if status is not None:
        details = unquote(end.headers.get("grpc-message", ""))
        return (int(status), details) if _STATUS.fullmatch(status) else (Code.UNKNOWN, f"status {status!r}: {details}")
    if end.status != _OK:
        said = end.body.decode(errors="replace")
        return _OF_HTTP.get(end.status, Code.UNKNOWN), f"HTTP status {end.status}: {said}".rstrip(": ")
    return Code.UNKNOWN, "the answer is not gRPC: it has no status"


def _name(code: int) -> str:
    return Code.Name(code) if code in Code.values() else f"status {code}"


def _delay(end: CallEnd) -> float | None:
    """Seconds to wait by the ``RetryInfo`` that the call ended with; None if it has none that can be read."""
    details = end.headers.get("grpc-status-details-bin")
    if details is None:
        return None
    try:
        return retry_delay(status_in(base64.b64decode(details + "=" * (-len(details) % 4))))
    except ValueError:  # no base64, or no such message
        return None
