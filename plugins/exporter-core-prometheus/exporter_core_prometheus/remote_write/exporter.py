"""The exporter ``prometheus_remote_write``: metrics to Prometheus and everything that takes its remote write."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

import cramjam
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

from exporter_core import (
    ContextCancelledError,
    DeadlineExceededError,
    ExporterError,
    InstrumentKind,
    PartialSuccessError,
)
from exporter_core.authoring import GaveUpError
from exporter_core.net import HttpClient, NetworkExporter
from exporter_core_prometheus.remote_write import wire
from exporter_core_prometheus.remote_write.answers import RefusedError, Written, raise_for_answer, written
from exporter_core_prometheus.remote_write.config import RemoteWriteConfig
from exporter_core_prometheus.remote_write.encoder import Encoder, Version1, Version2, halved, split
from exporter_core_prometheus.translation import Kind, Problem, Translator

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core import Context
    from exporter_core_prometheus.remote_write.encoder import Chunk, Request
    from exporter_core_prometheus.translation import GoneSeries, LabelMaker, Labels, Series, Translation

_logger: Final = logging.getLogger(__name__)
USER_AGENT: Final = "exporter-core-prometheus/1.0.0"
_LAST_SECONDS: Final = 2.0  # for the markers of a shutdown, which are worth no longer wait
_NAMED: Final = 3  # metrics that an error names


class RemoteWriteExporter(NetworkExporter[RemoteWriteConfig, HttpClient]):
    """Send metrics by Prometheus remote write."""

    keeps_metrics_unchanged = True

    def __init__(self, config: RemoteWriteConfig) -> None:
        super().__init__(config, HttpClient(config, user_agent=USER_AGENT, policy=raise_for_answer))
        self.begin_anew()

    def begin_anew(self) -> None:
        """Begin with no series and no knowledge of the server: a forked child's series are its own."""
        config = self.config
        options = config.translation_options(target_info_enabled=config.target_info_enabled, job_and_instance=True)
        self._translator = Translator(options)
        self._encoder: Encoder = Version1(self._maker) if config.protocol == "1.0" else Version2(self._maker)
        self._is_proven = False  # that the server knows 2.0
        self._max_samples = config.max_request_samples
        self._ended: dict[tuple[str, Labels], tuple[GoneSeries, Series]] = {}  # whose markers are still to be sent
        self._last = 0  # nanoseconds
        self._is_reached = False  # by the last export

    @property
    def _maker(self) -> LabelMaker:
        return self._translator.label_maker

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        """Return the SDK's default, for histograms what the option ``default_histogram_aggregation`` says."""
        is_exponential = self.config.default_histogram_aggregation == "base2_exponential_bucket_histogram"
        if is_exponential and instrument_kind == InstrumentKind.HISTOGRAM:
            return ExponentialBucketHistogramAggregation()
        return super().aggregation(instrument_kind)

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        """Send the metrics; points that are refused, or that Prometheus cannot hold, do not keep the others from going.

        Raises:
            PartialSuccessError: some points were not taken; how many, and the first reason.
            ExporterError: nothing was taken.
            DeadlineExceededError, ContextCancelledError: the context was done before.
        """
        self._is_reached = False
        translation = self._translator.translate(metrics)
        self._note_ended(translation)
        delivery = _Delivery(translation.problems)
        try:
            for chunks in split(translation.families, self._max_samples):
                self._deliver_chunks(context, chunks, delivery)
            self._send_markers(context, self._time_of(translation))
            self._is_reached = True
        except GaveUpError as error:
            delivery.fail(error, None)
        finally:
            self._encoder.end_export()
        total = sum(
            len(group.points)
            for family in translation.families
            for group in family.groups
            if family.kind is not Kind.INFO
        )
        delivery.finish(total + sum(problem.points for problem in translation.problems))

    def release(self, context: Context) -> None:
        """Mark all series as ended, if the server took the last export and takes that at once; close the connection."""
        try:
            if self.config.staleness_markers and self._is_reached and not context.done:
                for gone in self._translator.forget():
                    self._ended |= {(gone.name, series.labels): (gone, series) for series in gone.series}
                brief = context.child(timeout=_LAST_SECONDS)
                self._send_markers(brief, max(time.time_ns(), self._last + 1_000_000))
        except (ExporterError, DeadlineExceededError, ContextCancelledError) as error:
            # No data is lost: the server takes the series to be ended after five minutes.
            _logger.debug("staleness markers were not sent: %s", error)
        finally:
            super().release(context)

    # --- requests ----------------------------------------------------------------------------------------------------

    def _deliver_chunks(self, context: Context, chunks: list[Chunk], delivery: _Delivery) -> None:
        """Send the content of one request, as several if it is too long.

        Raises:
            GaveUpError: no time is left for another attempt.
            DeadlineExceededError, ContextCancelledError: the context is done.
        """
        context.raise_if_done()
        request = self._encoder.encode(chunks)
        if len(request.body) > self.config.max_request_bytes:
            halves = halved(chunks)
            if halves is None:
                delivery.drop(chunks, len(request.body), self.config.max_request_bytes)
                return
            self._max_samples = max(1, min(self._max_samples, request.samples + request.histograms) // 2)
            for half in halves:
                self._deliver_chunks(context, half, delivery)
            return
        try:
            stored = self._post(context, request)
        except RefusedError as error:
            if not self._falls_back(error):
                delivery.fail(error, request, chunks)
                return
            self._deliver_chunks(context, chunks, delivery)
        except ExporterError as error:
            if isinstance(error, GaveUpError):
                raise
            delivery.fail(error, request, chunks)
        else:
            delivery.take(request, stored)

    def _post(self, context: Context, request: Request) -> Written | None:
        """Post a request; return what the server says it stored, None if it took all.

        Raises:
            RefusedError: it did not take it.
            ExporterError, DeadlineExceededError, ContextCancelledError: as those of the client.
        """
        encoder = self._encoder
        body = bytes(cramjam.snappy.compress_raw(request.body))
        answer = self.client.post(
            context,
            body,
            content_type=encoder.content_type,
            headers={"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": encoder.version},
        )
        if not isinstance(encoder, Version2):
            return None
        stored = written(answer.headers)
        if stored is None:
            raise RefusedError(
                f"{self.client.server}: {answer.status}, but without the headers X-Prometheus-Remote-Write-*-Written: "
                "nothing proves that the server knows remote write 2.0; change protocol",
                _NOT_PROVEN,
                None,
            )
        self._is_proven = True
        return stored

    def _falls_back(self, error: RefusedError) -> bool:
        """Change to version 1.0 if the server may know no other; return True if so."""
        is_doubted = error.is_about_the_version if self._is_proven else error.may_be_about_the_version
        if self.config.protocol != "auto" or isinstance(self._encoder, Version1) or not is_doubted:
            return False
        self._encoder = Version1(self._maker)
        return True

    # --- ended series ------------------------------------------------------------------------------------------------

    def _note_ended(self, translation: Translation) -> None:
        """Note the series that have ended, and forget those that are back."""
        if not self.config.staleness_markers:
            return
        for gone in translation.gone:
            self._ended |= {(gone.name, series.labels): (gone, series) for series in gone.series}
        if not self._ended:
            return
        names = {name for name, _ in self._ended}
        for family in translation.families:
            if family.name in names:
                for group in family.groups:
                    for series in group.series:
                        self._ended.pop((family.name, series.labels), None)

    def _time_of(self, translation: Translation) -> int:
        """Return the newest time of any point; now if there is none."""
        times = [group.points[0].time_unix_nano or 0 for family in translation.families for group in family.groups]
        self._last = max(times, default=time.time_ns())
        return self._last

    def _send_markers(self, context: Context, nanoseconds: int) -> None:
        """Send the markers of the series that have ended; those of a request that fails are sent with the next export.

        Raises:
            ExporterError, DeadlineExceededError, ContextCancelledError: as those of the client.
        """
        for key in [key for key, (_, series) in self._ended.items() if series.written is None]:
            del self._ended[key]  # never sent
        while self._ended:
            keys = list(self._ended)[: self.config.max_request_samples]
            request = self._encoder.encode_gone([self._ended[key] for key in keys], wire.milliseconds(nanoseconds))
            try:
                self._post(context, request)
            except RefusedError as error:
                if self._falls_back(error):
                    continue
                # It refuses them for good, or has newer samples of these series.
                _logger.debug("staleness markers were refused: %s", error)
            for key in keys:
                del self._ended[key]


_NOT_PROVEN: Final = 415


class _Delivery:
    """The fate of the points of one export."""

    def __init__(self, problems: list[Problem]) -> None:
        self._taken = 0
        self._problems = list(problems)
        self._failure: ExporterError | None = None
        self._details = ""

    def take(self, request: Request, stored: Written | None) -> None:
        """Note a request that was taken, wholly unless the server says otherwise."""
        self._problems += request.problems
        missing = 0
        if stored is not None:
            missing = max(0, request.samples - stored.samples) + max(0, request.histograms - stored.histograms)
        if missing:
            sent = request.samples + request.histograms
            self._failure = self._failure or ExporterError(f"the server stored {sent - missing} of {sent} samples")
        self._taken += max(0, request.points - missing)

    def fail(self, error: ExporterError, request: Request | None, chunks: list[Chunk] | None = None) -> None:
        """Note a request that was not taken, or was taken in part."""
        if request is not None and isinstance(error, RefusedError):
            self._problems += request.problems
            lost = request.samples + request.histograms
            if error.written is not None:
                lost -= error.written.samples + error.written.histograms
                self._taken += max(0, request.points - lost)
            if self._failure is None:
                samples = f"{lost} sample was" if lost == 1 else f"{lost} samples were"
                self._details = f"; {samples} not stored, of series of {_named(chunks or [])}"
        self._failure = self._failure or error

    def drop(self, chunks: list[Chunk], size: int, limit: int) -> None:
        """Note a point that no request can hold."""
        reason = f"a point of {size} bytes does not fit a request of at most {limit} bytes"
        self._problems += [Problem(chunk.family.name, len(chunk.points), reason) for chunk in chunks]

    def finish(self, points: int) -> None:
        """Raise if not all points were taken.

        Raises:
            PartialSuccessError: some were.
            ExporterError: none was.
        """
        lost = points - self._taken
        failure = self._failure
        if failure is not None and self._details:
            failure.args = (f"{failure}{self._details}",)
        if failure is None and not self._problems:
            return
        reasons = [] if failure is None else [str(failure)]
        reasons += [f"metric {problem.metric!r}: {problem.reason}" for problem in self._problems]
        more = "" if len(reasons) == 1 else f" (and {len(reasons) - 1} more)"
        if failure is not None and not self._taken and not self._problems:
            raise failure
        raise PartialSuccessError(
            f"{lost} of {points} points were not taken: {reasons[0]}{more}", rejected_points=lost
        ) from failure


def _named(chunks: list[Chunk]) -> str:
    """Return the names of metrics, not too many."""
    names = list(dict.fromkeys(chunk.family.name for chunk in chunks))
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown
