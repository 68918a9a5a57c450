"""What servers say: OTLP's response, with its partial success, and the ``google.rpc.Status`` of an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from exporter_core import ExporterError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

LONGEST_ANSWER: Final = 4 * 1024 * 1024
"""Bytes of a message that is received."""
_SHOWN: Final = 500  # characters of what a server says


class MalformedAnswerError(ValueError):
    """Bytes that are not the message that they should be."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer to a request that it took, wholly or in part (OTLP's partial success)."""

    rejected: int = 0
    """How many points it did not take."""
    message: str = ""
    """Why, or advice if it took them all."""


def answer_in(body: bytes, *, json: bool = False) -> Answer:
    """The answer in an ``ExportMetricsServiceResponse``. Raises MalformedAnswerError for anything else."""
    if not body:
        return Answer()
    response = ExportMetricsServiceResponse()
    _parse(response, body, json=json)
    partial = response.partial_success
    return Answer(max(0, partial.rejected_data_points), partial.error_message)


def status_in(body: bytes, *, json: bool = False) -> Status:
    """The ``google.rpc.Status`` of an error. Raises MalformedAnswerError for anything else."""
    status = Status()
    _parse(status, body, json=json)
    return status


def retry_delay(status: Status) -> float | None:
    """Seconds to wait by the ``RetryInfo`` of a status; None if it has none."""
    for detail in status.details:
        info = RetryInfo()
        try:
            found = detail.Unpack(info)  # does nothing to a detail of another type
        except DecodeError:
            continue
        if found:
            return max(0.0, float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9))
    return None


def too_long() -> ExporterError:
    """That an answer is longer than is received."""
    return ExporterError(f"the answer is longer than {LONGEST_ANSWER} bytes")


def first_of_each(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by name, as text; of several with one name, the first."""
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return found


def on_one_line(text: str) -> str:
    """What a server says, for a message: printable, on one line, and not too long."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def _parse(message: Message, body: bytes, *, json: bool) -> None:
    try:
        if json:
            Parse(body, message, ignore_unknown_fields=True)
        else:
            message.ParseFromString(body)
    except (DecodeError, ParseError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedAnswerError(f"not a {message.DESCRIPTOR.name}") from error
