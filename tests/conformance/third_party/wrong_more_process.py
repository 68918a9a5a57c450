"""Further wrong exporters that deliver well, and change what belongs to the whole process."""

from __future__ import annotations

import asyncio
import decimal
import json
import logging
import os
import resource
import signal
import sys
import threading
import urllib.request
from typing import TYPE_CHECKING

from third_party.right import PlainExporter

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core import Context
    from third_party.transport import HttpConfig


class AddsLogHandler(PlainExporter):
    """The root logger gets a handler when the exporter is made, which stays when it is shut down."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        logging.getLogger().addHandler(logging.NullHandler())


class SetsEventLoop(PlainExporter):
    """An event loop of the exporter's becomes that of the calling thread, and is closed in the end."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(asyncio.sleep(0))
            super().deliver(context, metrics)
        finally:
            loop.close()


class PatchesJson(PlainExporter):
    """The standard library's JSON encoder is taught to write everything, for all of the process."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        json.JSONEncoder.default = lambda _, value: str(value)  # type: ignore[method-assign]


class InstallsOpener(PlainExporter):
    """urllib's opener is replaced by one without proxies, for all of the process."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
        super().deliver(context, metrics)


class InsertsPath(PlainExporter):
    """The folder of vendored libraries is put before all others that modules are imported from."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        sys.path.insert(0, os.path.join(os.path.dirname(__file__), "vendor"))  # noqa: PTH118, PTH120 - as seen in the wild


class RaisesFileLimit(PlainExporter):
    """The process's limit of open files is raised as far as it goes, for the sake of the pool."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        super().deliver(context, metrics)


class SetsPrecision(PlainExporter):
    """Decimal arithmetic of the thread that makes the exporter has six digits from then on."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        decimal.getcontext().prec = 6


class BlocksSignals(PlainExporter):
    """SIGTERM waits while an export runs, and after one that has failed it waits for ever."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        super().deliver(context, metrics)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class SetsThreadStack(PlainExporter):
    """Threads of the process get small stacks, since the exporter's own one needs little."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        threading.stack_size(256 * 1024)


class CapturesWarnings(PlainExporter):
    """Warnings of the process go to the log from the first export on."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        logging.captureWarnings(capture=True)
        super().deliver(context, metrics)


class ReplacesRecordFactory(PlainExporter):
    """Records of all loggers are made by a factory of the exporter's, which adds the endpoint to each."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        make = logging.getLogRecordFactory()

        def make_with_endpoint(*arguments: object, **named: object) -> logging.LogRecord:
            record = make(*arguments, **named)
            record.endpoint = config.endpoint
            return record

        logging.setLogRecordFactory(make_with_endpoint)


class DiesOfBrokenPipes(PlainExporter):
    """SIGPIPE ends the process again, as it does in C, so that a broken pipe of a shell script ends it quietly."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)


class ReconfiguresOutput(PlainExporter):
    """Standard error is set to replace what cannot be encoded, for the exporter's own messages."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        if hasattr(sys.stderr, "reconfigure"):
            sys.stderr.reconfigure(errors="replace", line_buffering=True)
