"""Messages of servers: OTLP's response, with its partial success, and the ``google.rpc.Status`` of an error.

A server that takes everything answers with an empty message. So protobuf's classes, which take as long to import as all
else here, are imported by the functions that read others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.rpc.status_pb2 import Status


_LONGEST_JSON: Final = 256 * 1024  # bytes; reading more would hold up all threads of the host
_LONGEST_STATUS: Final = 256 * 1024  # bytes, for the same reason: its details are many messages
_DETAILS: Final = 100  # of a status that are looked at


class MalformedAnswerError(ValueError):
    """Bytes that are not the expected message."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer to a request that it took, wholly or in part (OTLP's partial success)."""

    rejected: int = 0
    """The number of points that it did not take."""
    message: str = ""
    """The reason; advice if it took them all."""


def answer_in(body: bytes, *, json: bool = False) -> Answer:
    """Read an ``ExportMetricsServiceResponse``. Raises MalformedAnswerError for anything else."""
    if not body:
        return Answer()
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (  # noqa: PLC0415 - see above
        ExportMetricsServiceResponse,
    )

    response = ExportMetricsServiceResponse()
    _parse(response, body, json=json)
    partial = response.partial_success
    return Answer(max(0, partial.rejected_data_points), partial.error_message)


def status_in(body: bytes, *, json: bool = False) -> Status:
    """Read the ``google.rpc.Status`` of an error. Raises MalformedAnswerError for anything else."""
    if len(body) > _LONGEST_STATUS:
        raise MalformedAnswerError(f"longer than {_LONGEST_STATUS} bytes")
    from google.rpc.status_pb2 import Status  # noqa: PLC0415 - see above

    status = Status()
    _parse(status, body, json=json)
    return status


def retry_delay(status: Status) -> float | None:
    """Return the seconds to wait by the ``RetryInfo`` of a status; None if it has none."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - see above
    from google.rpc.error_details_pb2 import RetryInfo  # noqa: PLC0415 - see above

    for detail in status.details[:_DETAILS]:
        info = RetryInfo()
        try:
            found = detail.Unpack(info)  # does nothing to a detail of another type
        except DecodeError:
            continue
        if found:
            return max(0.0, float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9))
    return None


def _parse(message: Message, body: bytes, *, json: bool) -> None:
    if json and len(body) > _LONGEST_JSON:
        raise MalformedAnswerError(f"JSON of more than {_LONGEST_JSON} bytes")
    from google.protobuf.json_format import Parse, ParseError  # noqa: PLC0415 - see above
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - see above

    try:
        if json:
            Parse(body, message, ignore_unknown_fields=True)
        else:
            message.ParseFromString(body)
    except (DecodeError, ParseError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedAnswerError(f"not a {message.DESCRIPTOR.name}") from error
