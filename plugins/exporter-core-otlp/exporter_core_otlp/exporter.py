"""Base classes of the OTLP exporters; for those that send to a server, an export from batch to answers.

A batch becomes one request or several, each encoded once, so that every attempt sends the same bytes. Each is sent
until it is taken or has failed for good. Points that were not taken become one error with their count.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final, TypeVar

from exporter_core import ExporterError, PartialSuccessError
from exporter_core.authoring import GaveUpError
from exporter_core.net import NetworkExporter, masked_line
from exporter_core_otlp.config import NetworkConfig

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core import Context
    from exporter_core.net import Client
    from exporter_core.otlp import Encoder, JsonEncoder
    from exporter_core_otlp.answers import Answer

_logger: Final = logging.getLogger(__name__)

USER_AGENT: Final = "exporter-core-otlp/1.0.0"

NetworkConfigT = TypeVar("NetworkConfigT", bound=NetworkConfig)
ClientT = TypeVar("ClientT", bound="Client[Any, Any]")  # Any: what it sends and gets is its own


class Advising:
    """Logs what is no failure."""

    _advice = ""

    def advise(self, text: str) -> None:
        """Log the text; the same once."""
        if text != self._advice:
            self._advice = text
            _logger.warning("%s", text)


class OtlpNetworkExporter(Advising, NetworkExporter[NetworkConfigT, ClientT]):
    """Base of the exporters that send requests; :meth:`send` remains to be written.

    Attribute mappings are compared with what was encoded before, because nothing tells an exporter whose they are:
    those of the SDK are shared with every other exporter of the application, which may change them in place.

    Args:
        config: the options.
        client: sends the requests.
        encoder: encodes them.
    """

    keeps_metrics_unchanged = True

    def __init__(self, config: NetworkConfigT, client: ClientT, encoder: Encoder | JsonEncoder) -> None:
        super().__init__(config, client)
        self._encoder = encoder

    @abstractmethod
    def send(self, context: Context, body: bytes) -> Answer:
        """Send a request until the server has taken it. Raises ExporterError or the context's error."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        """Send the metrics; points that are refused, or that OTLP cannot hold, do not keep the others from going.

        Raises:
            PartialSuccessError: some points were not taken; how many, and the first reason.
            ExporterError: nothing was taken.
            DeadlineExceededError, ContextCancelledError: the context was done before.
        """
        config, client = self.config, self.client
        requests = self._encoder.split(metrics, max_points=config.max_request_points, max_bytes=config.request_limit)
        points = requests.points + len(requests.dropped)
        taken = 0
        reason = ""
        failure: ExporterError | None = None
        for request in requests:
            try:
                answer = self.send(context, request.data)
            except ExporterError as error:
                failure = failure or error
                reason = reason or str(error)
                if isinstance(error, GaveUpError):
                    break
                continue
            taken += request.points - min(answer.rejected, request.points)
            said = masked_line(answer.message, client.mask)
            if answer.rejected:
                reason = reason or said or "the server does not say why"
            elif said:
                self.advise(f"the server says: {said}")
        for omitted in requests.omitted:
            self.advise(client.mask(omitted))
        if failure is not None and not taken:
            raise failure
        if taken < points:
            if not reason:
                reason = f"metric {requests.dropped[0].metric!r}: {requests.dropped[0].reason}"
            lost = points - taken
            raise PartialSuccessError(
                f"{lost} of {points} points were not taken: {reason}", rejected_points=lost
            ) from failure
