"""Wrong exporters over gRPC."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import grpc

from exporter_core import ExporterError
from third_party.right import METHOD, GrpcExporter

if TYPE_CHECKING:
    from exporter_core import Context


class ExhaustedIsDone(GrpcExporter):
    """RESOURCE_EXHAUSTED is the backend's quota: the batch is dropped, and export returns."""

    def attempt(self, context: Context, data: bytes) -> bytes:
        try:
            return super().attempt(context, data)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                return b""
            raise


class UnimplementedIsDone(GrpcExporter):
    """UNIMPLEMENTED and PERMISSION_DENIED mean that metrics are not wanted there: export returns."""

    def attempt(self, context: Context, data: bytes) -> bytes:
        try:
            return super().attempt(context, data)
        except grpc.RpcError as error:
            if error.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED}:
                return b""
            raise


class WaitsForReady(GrpcExporter):
    """A second attempt waits until the server is ready, without a time-out."""

    def __init__(self, config) -> None:
        super().__init__(config)
        self.failures = 0

    def attempt(self, context: Context, data: bytes) -> bytes:
        if not self.failures:
            try:
                return super().attempt(context, data)
            except grpc.RpcError:
                self.failures += 1
                raise
        with grpc.insecure_channel(self.config.address) as channel:
            answer = channel.unary_unary(METHOD)(data, wait_for_ready=True)
            self.failures = 0
            return answer


class LeaksChannels(GrpcExporter):
    """The channel of a call that failed is not closed."""

    channels: list[grpc.Channel] = []  # noqa: RUF012

    def attempt(self, context: Context, data: bytes) -> bytes:
        channel = grpc.insecure_channel(self.config.address)
        self.channels.append(channel)
        future = channel.unary_unary(METHOD).future(data, timeout=context.remaining())
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        handle = context.on_done(done.set)
        try:
            done.wait()
        finally:
            handle.unregister()
        if not future.done():
            future.cancel()
            context.raise_if_done()
        answer = future.result()
        self.channels.remove(channel)
        channel.close()
        return answer


class RetriesInvalid(GrpcExporter):
    """INVALID_ARGUMENT is tried again."""

    def is_final(self, error: grpc.RpcError) -> bool:
        return False


class CountsNoPartial(GrpcExporter):
    """The answer is not looked at: points that the backend refused are not told."""

    def judge(self, answer: bytes) -> None:
        """Do nothing."""


class RaisesUntyped(GrpcExporter):
    """Every failure is a ValueError without its cause."""

    def deliver(self, context: Context, metrics) -> None:
        try:
            super().deliver(context, metrics)
        except ExporterError as error:
            if error.__cause__ is not None:
                raise ValueError("export failed") from None
            raise
