"""What an HTTP answer means for the request: taken, to be sent again, or failed for good.

Source: https://opentelemetry.io/docs/specs/otlp/, "OTLP/HTTP Response".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exporter_core import ExporterError
from exporter_core_otlp.answers import (
    Answer,
    MalformedAnswerError,
    answer_in,
    on_one_line,
    retry_delay,
    status_in,
)
from exporter_core_otlp.retry import RetryableError, retry_after_seconds

if TYPE_CHECKING:
    from exporter_core.authoring import Masker
    from exporter_core_otlp.http.connection import HttpAnswer

_RETRYABLE: Final = frozenset({429, 502, 503, 504})
_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"


def judged(answer: HttpAnswer, url: str, mask: Masker) -> Answer:
    """What the server made of a request that it took.

    Args:
        answer: the server's.
        url: the endpoint, for messages.
        mask: keeps secrets out of those.

    Raises:
        RetryableError: it did not take it for now.
        ExporterError: it did not take it; or answers what is not OTLP, so that nobody knows.
    """
    kind = answer.status // 100
    if kind == 2:  # noqa: PLR2004 - 2xx
        return _taken(answer, url)
    said = f"{url}: {answer.status} {on_one_line(mask(answer.reason))}".rstrip()
    if kind == 3:  # noqa: PLR2004 - 3xx
        location = on_one_line(mask(answer.headers.get("location", "somewhere")))
        raise ExporterError(f"{said}: a redirect to {location}, which is not followed; make that the endpoint")
    text, delay = _explained(answer)
    text = on_one_line(mask(text))
    message = mask(f"{said}: {text}" if text else said)
    if answer.status not in _RETRYABLE:
        raise ExporterError(message)
    header = answer.headers.get("retry-after")
    if header is not None:
        delay = retry_after_seconds(header, answer.headers.get("date")) or delay
    raise RetryableError(message, retry_after=delay)


def _taken(answer: HttpAnswer, url: str) -> Answer:
    kind = _content_type(answer)
    if answer.body and kind not in {"", _PROTOBUF, _JSON}:
        raise ExporterError(f"{url}: {answer.status}, but the answer is not OTLP: it has the type {kind}")
    json = kind == _JSON or (not kind and answer.body.startswith(b"{"))
    try:
        return answer_in(answer.body, json=json)
    except MalformedAnswerError as error:
        raise ExporterError(f"{url}: {answer.status}, but the answer is not OTLP: {error}") from error


def _explained(answer: HttpAnswer) -> tuple[str, float | None]:
    """What the body of an error says, and how many seconds it asks to wait."""
    kind = _content_type(answer)
    if kind in {_PROTOBUF, _JSON}:
        try:
            status = status_in(answer.body, json=kind == _JSON)
        except MalformedAnswerError:
            pass  # shown as it is
        else:
            if status.message or status.details:
                return status.message, retry_delay(status)
    return answer.body.decode(errors="replace"), None


def _content_type(answer: HttpAnswer) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()
