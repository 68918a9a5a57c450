"""Right exporters of unusual design: nothing is wrong with them."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
import threading
import weakref
from collections import deque
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from exporter_core import Context, ExporterError, ExporterShutdownError
from third_party.late_transport import HttpConfig, Sender, Transport
from third_party.right_late_holding import Buffered
from third_party.right_late_http import PlainHttp
from third_party.wrong_late_http import InParts

LOG = logging.getLogger(__name__)


class _FromFile(Sender):
    def send(self, context: Context, body: Path) -> None:
        try:
            super().send(context, body.read_bytes())
        except BaseException:
            if not context.done:
                body.unlink()
            raise
        body.unlink()


def _remove(folder: str, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


class Spool(Buffered):
    """Right: each batch waits in a file of a temporary folder until a flush sends it."""

    sender_class = _FromFile
    folder: str | None = None

    def fresh(self) -> None:
        super().fresh()
        self.folder = None
        self.number = 0

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.down:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        body = self.encode(metrics)
        with self.lock:
            if self.down:
                raise ExporterShutdownError("the exporter has been shut down")
            try:
                if self.folder is None:
                    folder = tempfile.mkdtemp(prefix="spool-")
                    self.remover = weakref.finalize(self, _remove, folder, os.getpid())
                    self.folder = folder
                self.number += 1
                path = Path(self.folder) / f"{self.number:09d}.pb"
                path.write_bytes(body)
            except OSError as error:
                raise ExporterError("the batch cannot be written to the spool") from error
            self.held.append(path)

    def shutdown(self, context: Context) -> None:
        try:
            super().shutdown(context)
        except ExporterShutdownError:
            raise  # another shutdown removes the folder
        except BaseException:
            self.remove()
            raise
        self.remove()

    def remove(self) -> None:
        if self.folder is not None:
            self.remover()

    def begin_anew(self) -> None:
        if self.folder is not None:
            self.remover.detach()
        super().begin_anew()


class ParallelParts(InParts):
    """Right: sends the parts of a large batch on up to four threads, which end before export returns."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        whole = ExportMetricsServiceRequest.FromString(self.encode(metrics))
        parts = deque(part.SerializeToString() for part in self.parts(whole))
        if len(parts) == 1:
            return self.sender.send(context, parts.pop())
        errors: list[Exception] = []

        def work() -> None:
            sender = Sender(self.config)
            try:
                while not context.done:
                    try:
                        part = parts.popleft()
                    except IndexError:
                        return
                    try:
                        sender.send(context, part)
                    except Exception as error:
                        errors.append(error)
            finally:
                sender.close()

        threads = [threading.Thread(target=work, daemon=True, name="part") for _ in range(min(4, len(parts)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors or parts:
            context.raise_if_done()
        self.conclude(errors)
        return None


class SdkBuffered(MetricExporter):
    """Right: an exporter of the SDK that holds batches until force_flush or shutdown."""

    def __init__(self, endpoint: str, token: str = "") -> None:
        super().__init__()
        self.inner = Buffered(HttpConfig(endpoint=endpoint, token=token))

    def try_to(self, operation, *arguments) -> bool:
        try:
            operation(*arguments)
        except Exception as error:
            LOG.warning("%s", type(error).__name__)
            return False
        return True

    def export(self, metrics_data, timeout_millis: float = 10_000, **kwargs) -> MetricExportResult:
        done = self.try_to(self.inner.export, Context.with_timeout(timeout_millis / 1000), metrics_data)
        return MetricExportResult.SUCCESS if done else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self.try_to(self.inner.force_flush, Context.with_timeout(timeout_millis / 1000))

    def shutdown(self, timeout_millis: float = 30_000, **kwargs) -> None:
        self.try_to(self.inner.shutdown, Context.with_timeout(timeout_millis / 1000))


class _Flagged(Transport):
    def request(self, context: Context, body: bytes, headers: dict):
        if self.connection is None:
            try:  # with this flag getaddrinfo asks nobody: it only reads the text
                found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
                self.host = found[0][4][0]
            except socket.gaierror:
                pass
        return super().request(context, body, headers)


class _FlaggedSender(Sender):
    transport_class = _Flagged


class NumericHostFlag(PlainHttp):
    """Right: asks getaddrinfo with AI_NUMERICHOST first, which never looks anything up."""

    sender_class = _FlaggedSender
