"""Wrong exporters that deliver well, and change what belongs to the whole process."""

from __future__ import annotations

import atexit
import gc
import locale
import logging
import os
import random
import signal
import socket
import ssl
import sys
import threading
import warnings
from typing import TYPE_CHECKING

from exporter_core import Context, ExporterError
from third_party.right import LockedFileExporter, PlainExporter, SdkExporter

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData

    from third_party.right import PathConfig
    from third_party.transport import Answer, HttpConfig


class PrintsProgress(PlainExporter):
    """Each export prints a line to standard output, which belongs to the application."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        super().deliver(context, metrics)
        sys.stdout.write(f"exported {len(metrics.resource_metrics)} resources\n")


class SetsDefaultTimeout(PlainExporter):
    """The deadline is kept by the default time-out of every new socket of the process."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        socket.setdefaulttimeout(context.remaining())
        super().deliver(context, metrics)


class InstallsSignalHandler(PlainExporter):
    """SIGTERM is taken from the application: the exporter flushes, and the process goes on."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: None)


class ReplacesExceptHook(PlainExporter):
    """Uncaught exceptions are counted by a hook that does not call the one before it."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.crashes: list[object] = []
        sys.excepthook = lambda *found: self.crashes.append(found)
        threading.excepthook = self.crashes.append


class ConfiguresLogging(PlainExporter):
    """The first export configures the root logger."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        logging.basicConfig(level=logging.DEBUG, filename=os.devnull, force=True)
        super().deliver(context, metrics)


class SilencesWarnings(PlainExporter):
    """Every warning of the process is silenced, since one of them is a nuisance."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        warnings.simplefilter("ignore")


class SetsLocale(PlainExporter):
    """Numbers are written in the locale that the exporter sets for the process."""

    def encode(self, metrics: MetricsData) -> bytes:
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
        return super().encode(metrics)


class ClearsUmask(LockedFileExporter):
    """The file has to be readable by everybody: the umask of the process becomes 0, and stays so."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        os.umask(0)
        super().deliver(context, metrics)


class ChangesDirectory(LockedFileExporter):
    """Each export works in the file's folder, and stays there."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        os.chdir(self.config.path.parent)
        super().deliver(context, metrics)


class DisablesCollector(PlainExporter):
    """The garbage collector is off while a batch is encoded, and stays off where that fails or succeeds."""

    def encode(self, metrics: MetricsData) -> bytes:
        gc.disable()
        return super().encode(metrics)


class RaisesRecursionLimit(PlainExporter):
    """Deep attributes need a deep stack: the limit of the process is raised."""

    def encode(self, metrics: MetricsData) -> bytes:
        sys.setrecursionlimit(50_000)
        return super().encode(metrics)


class SeedsRandom(PlainExporter):
    """The jitter is reproducible: the process's random numbers are seeded before each attempt."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        random.seed(42)
        return super().attempt(context, body)


class ExportsEnvironment(PlainExporter):
    """The endpoint is put into the environment, where every child and every other exporter finds it."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = self.config.endpoint
        os.environ["NO_PROXY"] = "*"
        super().deliver(context, metrics)


class TrustsEverybody(PlainExporter):
    """Certificates are no longer verified, in the whole process."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        ssl._create_default_https_context = ssl._create_unverified_context


class PatchesSockets(PlainExporter):
    """Name look-ups of the process go through the exporter's cache."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        original, cache = socket.getaddrinfo, {}

        def look_up(*arguments, **named):
            key = (arguments, tuple(sorted(named.items())))
            if key not in cache:
                cache[key] = original(*arguments, **named)
            return cache[key]

        socket.getaddrinfo = look_up


class RegistersAtExit(PlainExporter):
    """Every export registers a function to be called at exit, which keeps the exporter and the batch."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        body = self.encode(metrics)
        atexit.register(lambda: self.last(body))
        self.send(context, body)

    def last(self, body: bytes) -> None:
        """Do nothing more: the batch was delivered."""


class TakesAlarm(PlainExporter):
    """The deadline is kept with SIGALRM, which only the main thread can receive."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        def stop(*_: object) -> None:
            raise ExporterError("the export took too long")

        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, context.remaining() or 0)
        try:
            super().deliver(context, metrics)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


class DisablesLoggers(PlainExporter):
    """Logging is disabled while an export runs, against the HTTP client's logs, and stays so after a failure."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        logging.disable(logging.CRITICAL)
        super().deliver(context, metrics)
        logging.disable(logging.NOTSET)


class ClosesStandardInput(LockedFileExporter):
    """Standard input is closed, since an exporter does not read."""

    def __init__(self, config: PathConfig) -> None:
        super().__init__(config)
        if sys.stdin is not None:
            sys.stdin.close()


class SdkPrintsFailures(SdkExporter):
    """A failure is printed to standard output."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        result = super().send(metrics, seconds)
        if result.name == "FAILURE":
            sys.stdout.write("could not export metrics\n")
        return result
