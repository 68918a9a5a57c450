"""A batch as the requests that are sent for it, each encoded and compressed once, so that every attempt is the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter_core.otlp import Encoder, JsonEncoder, Requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core_otlp.config import NetworkConfig


@dataclass(frozen=True, slots=True)
class Request:
    """One request."""

    body: bytes
    points: int
    """How many points are in it."""


class Batch:
    """What one export has to send: an iterable of requests, each made when its turn comes.

    Args:
        requests: the encoded requests.
        compress: what is done to the body of each; None for nothing.
    """

    def __init__(self, requests: Requests, compress: Callable[[bytes], bytes] | None) -> None:
        self._requests = requests
        self._compress = compress
        self.points: int = requests.points + len(requests.dropped)
        """All points of the batch."""
        self.omitted: tuple[str, ...] = requests.omitted
        """What OTLP cannot hold besides points, in a line each; the points are sent without it."""
        self.drop_reason: str | None = None
        """Why the first of the points is not sent that OTLP cannot hold; None if it can hold them all."""
        if requests.dropped:
            first = requests.dropped[0]
            self.drop_reason = f"metric {first.metric!r}: {first.reason}"

    def __iter__(self) -> Iterator[Request]:
        for encoded in self._requests:
            data = encoded.data
            yield Request(data if self._compress is None else self._compress(data), encoded.points)


class RequestEncoder:
    """Turns batches into requests; what stays the same from one batch to the next is encoded once.

    Attribute mappings are compared with what was encoded, because nothing tells an exporter whose they are: those of
    the SDK are shared with every other exporter of the application, which may change them in place.

    Args:
        config: has the limits of a request.
        encoding: ``"protobuf"`` or ``"json"``.
        compress: what is done to the body of each request; None for nothing.
    """

    def __init__(self, config: NetworkConfig, encoding: str, compress: Callable[[bytes], bytes] | None) -> None:
        self._limits = {"max_points": config.max_request_points, "max_bytes": config.max_request_bytes}
        self._compress = compress
        self._encoder = JsonEncoder() if encoding == "json" else Encoder()

    def encode(self, metrics: MetricsData) -> Batch:
        """The requests for these metrics; none for metrics without points."""
        return Batch(self._encoder.split(metrics, **self._limits), self._compress)
