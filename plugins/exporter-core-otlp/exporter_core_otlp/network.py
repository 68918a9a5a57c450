"""What the OTLP exporters that send to a server have in common: an export from batch to verdict.

A batch becomes one request or several, each encoded once, so that every attempt sends the same bytes. Each is sent
until it is taken or has failed for good. What was not taken becomes one error with the count.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from exporter_core import ExporterError, PartialSuccessError
from exporter_core.authoring import masker_for
from exporter_core_otlp.answers import on_one_line
from exporter_core_otlp.compression import gzipped
from exporter_core_otlp.config import NetworkConfig
from exporter_core_otlp.encoding import RequestEncoder
from exporter_core_otlp.forking import reset_after_fork
from exporter_core_otlp.preferences import OtlpExporter
from exporter_core_otlp.retry import GivenUpError, Retrying
from exporter_core_otlp.transport.link import Link
from exporter_core_otlp.turn import Turn

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core import Context
    from exporter_core.authoring import Masker
    from exporter_core_otlp.answers import Answer
    from exporter_core_otlp.encoding import Batch, Request
    from exporter_core_otlp.transport.address import Url
    from exporter_core_otlp.transport.link import Connection
    from exporter_core_otlp.transport.waiting import Waiter

USER_AGENT: Final = "exporter-core-otlp/1.0.0"

NetworkConfigT = TypeVar("NetworkConfigT", bound=NetworkConfig)
AnswerT = TypeVar("AnswerT")


class NetworkExporter(OtlpExporter[NetworkConfigT], Generic[NetworkConfigT, AnswerT]):
    """Base of the exporters that send requests: what is left to write is the connection, and what its answers mean.

    Exports from several threads take turns. In a forked child the exporter begins anew, with no connection.

    Args:
        config: the options.
        server: which server it is, for messages, without secrets.
        encoding: ``"protobuf"`` or ``"json"``.
    """

    def __init__(self, config: NetworkConfigT, server: str, *, encoding: str = "protobuf") -> None:
        super().__init__(config)
        self.server = server
        self._encoder = RequestEncoder(config, encoding, gzipped if config.compression == "gzip" else None)
        self._retrying = Retrying(config.retry)
        self._link = Link(self.connect, server, masker_for(config))
        self._turn = Turn(self._link.release)
        reset_after_fork(self)

    @abstractmethod
    def connect(self, context: Context, waiter: Waiter) -> Connection[AnswerT]:
        """A connection to the server.

        Raises:
            RetryableError: the server cannot be reached for the moment.
            ExporterError: nor will it be.
            DeadlineExceededError, ContextCancelledError: as soon as the context is done.
        """

    @abstractmethod
    def judge(self, answer: AnswerT) -> Answer:
        """What the server made of a request.

        Raises:
            RetryableError: it did not take it for now.
            ExporterError: it did not take it, or nobody knows. The message holds no secret.
        """

    @property
    def mask(self) -> Masker:
        """Keeps secrets out of messages."""
        return self._link.mask

    def keep_secret(self, *urls: Url | None) -> None:
        """Let the credentials of these URLs be in no error."""
        secrets = [secret for url in urls if url is not None for secret in url.secrets]
        self._link.mask = masker_for({"options": self.config, "secrets": secrets})

    def export(self, context: Context, metrics: MetricsData) -> None:
        """Send the metrics; points that are refused, or that OTLP cannot hold, do not keep the others from going.

        Raises:
            PartialSuccessError: some points were not taken; how many, and the first reason.
            ExporterError: nothing was taken.
            DeadlineExceededError, ContextCancelledError: the context was done before.
        """
        with self._turn.export(context, self.config.timeout_seconds) as running:
            self._deliver(running, self._encoder.encode(metrics))

    def force_flush(self, context: Context) -> None:
        """Return at once, or raise the error of a done context: what export has accepted is delivered."""
        if not self._turn.shut_down:
            context.raise_if_done()

    def shutdown(self, context: Context) -> None:
        """Wait for a running export while the context lasts, then end that; close every connection.

        Raises the context's error if that is done; everything is closed all the same.
        """
        self._turn.shutdown(context)

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child."""
        self._turn.reset_after_fork()
        self._link.forget()

    def _attempt(self, context: Context, request: Request) -> Answer:
        return self.judge(self._link.ask(context, request.body))

    def _deliver(self, context: Context, batch: Batch) -> None:
        taken = 0
        reason: str | None = None
        failure: ExporterError | None = None
        for request in batch:
            try:
                answer = self._retrying.run(context, partial(self._attempt, context, request))
            except ExporterError as error:
                failure = failure or error
                reason = reason or str(error)
                if isinstance(error, GivenUpError):
                    break
                continue
            taken += request.points - min(answer.rejected, request.points)
            said = on_one_line(self.mask(answer.message))
            if answer.rejected:
                reason = reason or said or "the server does not say why"
            elif said:
                self.advise(f"the server says: {said}")
        for omitted in batch.omitted:
            self.advise(self.mask(omitted))
        if failure is not None and not taken:
            raise failure
        lost = batch.points - taken
        if lost:
            reason = reason or batch.drop_reason or ""
            raise PartialSuccessError(
                f"{lost} of {batch.points} points were not taken: {reason}", rejected_points=lost
            ) from failure
