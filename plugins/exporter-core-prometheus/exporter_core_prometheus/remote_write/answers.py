"""Servers' answers to remote write, by their meaning.

Sources: https://prometheus.io/docs/specs/prw/remote_write_spec/ and …/remote_write_spec_2_0/, "Response" and "Retries".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from exporter_core import ExporterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter_core.net import HttpAnswer

_BAD_REQUEST: Final = 400
_UNSUPPORTED: Final = 415
_TOO_MANY: Final = 429
_WAYS_OUT: Final = {
    401: "check basic_auth, bearer_token or headers",
    403: "check basic_auth, bearer_token or headers",
    404: "endpoint is not where remote write is taken; Prometheus needs --web.enable-remote-write-receiver",
    405: "endpoint is not where remote write is taken; Prometheus needs --web.enable-remote-write-receiver",
    413: "the request is too large; lower max_request_bytes or max_request_samples",
    415: "the server does not take this version of the protocol; change protocol",
}
_WRITTEN: Final = "x-prometheus-remote-write-{}-written"


@dataclass(frozen=True, slots=True)
class Written:
    """The numbers of elements that a server says it has stored."""

    samples: int
    histograms: int
    exemplars: int


class RefusedError(ExporterError):
    """The server refused a request for good.

    Args:
        message: the server's words, and the way out.
        status: the HTTP status.
        written: what it stored all the same, None if it does not say.
    """

    def __init__(self, message: str, status: int, written: Written | None) -> None:
        super().__init__(message)
        self.status: int = status
        self.written: Written | None = written

    @property
    def is_about_the_version(self) -> bool:
        """True if the server does not take this version."""
        return self.status == _UNSUPPORTED

    @property
    def may_be_about_the_version(self) -> bool:
        """True if the server may take another version: servers of 1.0 also answer 400 to one that they do not know."""
        return self.status in {_BAD_REQUEST, _UNSUPPORTED}


def written(headers: Mapping[str, str]) -> Written | None:
    """Return the numbers in the headers `X-Prometheus-Remote-Write-*-Written`; None if there is none of them."""
    found = [headers.get(_WRITTEN.format(what)) for what in ("samples", "histograms", "exemplars")]
    if all(number is None for number in found):
        return None
    return Written(*(int(number) if number and number.isdecimal() else 0 for number in found))


def raise_for_answer(answer: HttpAnswer) -> None:
    """Raise for a request that was not taken: RetryableError for 429 and 5xx, else RefusedError."""
    if answer.ok:
        return
    failure = answer.failure(retryable=answer.status == _TOO_MANY or answer.status >= 500)  # noqa: PLR2004 - 5xx
    if answer.status // 100 != 4 or answer.status == _TOO_MANY:  # noqa: PLR2004 - 4xx
        raise failure
    way_out = _WAYS_OUT.get(answer.status)
    raise RefusedError(f"{failure}; {way_out}" if way_out else str(failure), answer.status, written(answer.headers))
