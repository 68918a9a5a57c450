"""A batch as the requests that are sent for it, each encoded once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter_core.otlp import Encoded, Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core_otlp.config import NetworkConfig

__all__ = ["Batch", "Request", "RequestEncoder"]


@dataclass(frozen=True, slots=True)
class Request:
    """The body of one request, the same for every attempt."""

    body: bytes
    points: int


class Batch:
    """What one export has to send."""

    def __init__(self, encoded: Encoded, compress: Callable[[bytes], bytes] | None) -> None:
        self._encoded = encoded
        self._compress = compress

    def requests(self) -> Iterator[Request]:
        """The requests in their order; none for a batch without points."""
        if self._encoded.points:
            data = self._encoded.data
            yield Request(self._compress(data) if self._compress else data, self._encoded.points)

    @property
    def dropped(self) -> int:
        """How many points OTLP cannot hold; complete once the requests are."""
        return len(self._encoded.dropped)

    @property
    def drop_reasons(self) -> list[str]:
        """Why, in a line each."""
        return [f"metric {point.metric!r}: {point.reason}" for point in self._encoded.dropped]

    @property
    def omitted(self) -> tuple[str, ...]:
        """What was left out besides points, in a line each."""
        return self._encoded.omitted


class RequestEncoder:
    """Turns batches into requests; what stays the same from one to the next is encoded once."""

    def __init__(self, config: NetworkConfig, encoding: str, compress: Callable[[bytes], bytes] | None) -> None:
        self._config = config
        self._encoding = encoding
        self._compress = compress
        self._encoder = Encoder()

    def encode(self, metrics: MetricsData) -> Batch:
        """The batch, encoded."""
        return Batch(self._encoder.encode(metrics), self._compress)
