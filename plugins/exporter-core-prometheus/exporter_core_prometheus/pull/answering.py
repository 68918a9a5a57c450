"""Answers to scrapes: collected, translated, encoded and compressed once for all scrapes at the same time."""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from isal import igzip

from exporter_core import Context, DeadlineExceededError, ExporterCoreError, ExporterError
from exporter_core_prometheus.exposition import (
    Accepted,
    Format,
    accepted_by,
    content_type,
    encode_protobuf,
    encode_text,
    takes_gzip,
)
from exporter_core_prometheus.translation import Translation, TranslationOptions, Translator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core import Collect

PATH: Final = "/metrics"
SCRAPE_SECONDS: Final = 10.0
"""Seconds for a scrape that does not say how long it waits: Prometheus' own default."""
LONGEST_SCRAPE_SECONDS: Final = 120.0
_RESERVE: Final = 0.1  # of a scrape's time is kept for the way back,
_MOST_RESERVE: Final = 0.5  # and at most so many seconds
_LEAST_COMPRESSED: Final = 1024  # bytes
_HEADER: Final = "HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS"

_ESCAPING: Final = {
    "no_utf8_escaping_with_suffixes/development": "underscore_escaping_with_suffixes",
    "no_translation/development": "underscore_escaping_without_suffixes/development",
}
"""The strategy for scrapers that know classic names only, in place of one that escapes nothing."""


class _Answers:
    """The answers made of one collection so far."""

    def __init__(self, metrics: MetricsData) -> None:
        self.metrics = metrics
        self.translations: dict[bool, Translation] = {}
        self.bodies: dict[tuple[Accepted, bool], bytes] = {}


class Application:
    """The WSGI application: ``/metrics``, and nothing else.

    Args:
        options: the choices of the translation.
        collect: gives the metrics.
    """

    def __init__(self, options: TranslationOptions, collect: Collect) -> None:
        escaping = _ESCAPING.get(options.strategy)
        classic = TranslationOptions(
            strategy=escaping or options.strategy,  # type: ignore[arg-type]  # the values of the table are strategies
            scope_info_enabled=options.scope_info_enabled,
            target_info_enabled=options.target_info_enabled,
            is_constant_label=options.is_constant_label,
        )
        self._translators = {True: Translator(options), False: Translator(classic)}
        self._escapes = escaping is None
        self._collect = collect
        self._turn = threading.Lock()
        self._answers: _Answers | None = None
        self._count = threading.Lock()
        self._scrapes = 0
        self._problems: tuple[str, ...] = ()

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:  # Any: WSGI
        """Answer a request."""
        if environ["PATH_INFO"] != PATH:
            return _plain(start_response, "404 Not Found", f"metrics are at {PATH}")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _plain(start_response, "405 Method Not Allowed", "GET gives the metrics", ("Allow", "GET, HEAD"))
        accepted = accepted_by(environ.get("HTTP_ACCEPT", ""))
        compressed = takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", ""))
        try:
            body, compressed = self._body(Context.with_timeout(_seconds(environ)), accepted, compressed)
        except ExporterCoreError as error:
            return _plain(start_response, "503 Service Unavailable", " ".join(str(error).split()))
        headers = [("Content-Type", content_type(accepted)), ("Content-Length", str(len(body)))]
        headers.append(("Vary", "Accept, Accept-Encoding"))
        start_response("200 OK", [*headers, ("Content-Encoding", "gzip")] if compressed else headers)
        if environ["REQUEST_METHOD"] == "HEAD":
            return [b""]
        # A file: the server sends from the one body, however slowly its clients read, and keeps no copies.
        wrap: Callable[[io.BytesIO], Iterable[bytes]] = environ["wsgi.file_wrapper"]
        return wrap(io.BytesIO(body))

    def _body(self, context: Context, accepted: Accepted, compressed: bool) -> tuple[bytes, bool]:
        """Return the answer, and True if it is compressed."""
        with self._counted(), self._of(self._collected(context), context) as answers:
            body = answers.bodies.get((accepted, False))
            if body is None:
                body = answers.bodies[accepted, False] = self._encoded(answers, accepted)
            if not compressed or len(body) < _LEAST_COMPRESSED:
                return body, False
            smaller = answers.bodies.get((accepted, True))
            if smaller is None:
                smaller = answers.bodies[accepted, True] = igzip.compress(body, 1)
            return smaller, True

    def _collected(self, context: Context) -> MetricsData:
        try:
            return self._collect(context)
        except DeadlineExceededError:
            hint = "look at the callbacks of observable instruments"
            raise DeadlineExceededError(f"the scrape timed out: the collection still runs; {hint}") from None

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count a scrape; the last one lets go of the answers, which are as large as the metrics."""
        with self._count:
            self._scrapes += 1
        try:
            yield
        finally:
            with self._count:
                self._scrapes -= 1
                if not self._scrapes:
                    self._answers = None

    @contextmanager
    def _of(self, metrics: MetricsData, context: Context) -> Iterator[_Answers]:
        """Give the answers made of these metrics, to one scrape at a time."""
        remaining = context.remaining()
        if not self._turn.acquire(timeout=-1 if remaining is None else remaining):
            raise DeadlineExceededError("the scrape timed out: another one is still being encoded")
        try:
            answers = self._answers
            if answers is None or answers.metrics is not metrics:
                answers = self._answers = _Answers(metrics)
            yield answers
        finally:
            self._turn.release()

    def _encoded(self, answers: _Answers, accepted: Accepted) -> bytes:
        utf8 = accepted.utf8 or self._escapes
        translator = self._translators[utf8]
        translation = answers.translations.get(utf8)
        if translation is None:
            translation = answers.translations[utf8] = translator.translate(answers.metrics)
        problems = [f"{one.metric} ({_points(one.points)}): {one.reason}" for one in translation.problems]
        if accepted.format is Format.PROTOBUF:
            body, further = encode_protobuf(translation, translator.label_maker)
        else:
            openmetrics = accepted.format is Format.OPENMETRICS
            body, further = encode_text(translation, translator.label_maker, openmetrics=openmetrics)
        self._report((*problems, *further))
        return body

    def _report(self, problems: tuple[str, ...]) -> None:
        """Report metrics that are left out, once for as long as they are the same."""
        if problems != self._problems:
            self._problems = problems
            if problems:
                self._collect.report(ExporterError(f"scrape: left out: {'; '.join(problems)}"))


def _points(count: int) -> str:
    return f"{count} point{'s' * (count != 1)}"


def _seconds(environ: Mapping[str, Any]) -> float:
    """Return the seconds that a scrape may take, by its header, less some for the way back."""
    try:
        seconds = float(environ.get(_HEADER, SCRAPE_SECONDS))
    except ValueError:
        seconds = SCRAPE_SECONDS
    if not 0 < seconds <= LONGEST_SCRAPE_SECONDS:  # in this form it refuses NaN too
        seconds = SCRAPE_SECONDS
    return seconds - min(_MOST_RESERVE, seconds * _RESERVE)


def _plain(start_response: Callable[..., Any], status: str, text: str, *headers: tuple[str, str]) -> list[bytes]:
    """Answer with a line of text."""
    body = f"{text}\n".encode()
    start_response(
        status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), *headers]
    )
    return [body]
