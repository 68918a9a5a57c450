"""Wrong exporters over gRPC."""

from __future__ import annotations

import logging

import grpc

from exporter_core import ExporterError
from third_party.right_open_grpc import METHOD, TRANSIENT, OneChannel

log = logging.getLogger("open.grpc")


class NoTimeout(OneChannel):
    """Makes its call without a time-out, and does not end it when the context is done."""

    def call(self, context, body):
        method = self.get_channel().unary_unary(METHOD)
        return method(body, metadata=self.metadata(), compression=grpc.Compression.Gzip)


class NoCancel(OneChannel):
    """Gives the call the time that is left, and cannot be cancelled."""

    def call(self, context, body):
        method = self.get_channel().unary_unary(METHOD)
        return method(body, metadata=self.metadata(), timeout=context.remaining(), compression=grpc.Compression.Gzip)


class WaitsUntilReady(OneChannel):
    """Makes calls with wait_for_ready: without a deadline, an export to a server that is away never ends."""

    def call(self, context, body):
        method = self.get_channel().unary_unary(METHOD)
        future = method.future(
            body,
            timeout=context.remaining(),
            metadata=self.metadata(),
            wait_for_ready=True,
            compression=grpc.Compression.Gzip,
        )
        handle = context.on_done(future.cancel)
        try:
            return future.result()
        finally:
            handle.unregister()


class RetriesAllCodes(OneChannel):
    """Tries again after every status, INVALID_ARGUMENT and PERMISSION_DENIED included."""

    def judge(self, error):
        wait = super().judge(error)
        return 0.0 if wait is None and isinstance(error, grpc.RpcError) else wait


class LogsMetadata(OneChannel):
    """Logs the metadata of a call that failed, with the token in it."""

    def judge(self, error):
        log.warning("export failed: metadata %s", self.metadata())
        return super().judge(error)


class IgnoresPartialSuccess(OneChannel):
    """Never reads the response."""

    def read(self, answer):
        return 0


class TakesCancelledForDone(OneChannel):
    """Takes the status CANCELLED for the channel's shutdown, and returns."""

    def send(self, context, body):
        try:
            return super().send(context, body)
        except ExporterError as error:
            if "CANCELLED" in str(error):
                return 0
            raise

    def judge(self, error):
        if self.code(error) == "CANCELLED":
            return None
        return super().judge(error)


class InheritsChannel(OneChannel):
    """Does nothing in a forked child, which uses the channel of its parent."""

    def begin_anew(self):
        pass


class NeverReadsRetryInfo(OneChannel):
    """Never reads RetryInfo: tries again after its own back-off, and RESOURCE_EXHAUSTED never."""

    def judge(self, error):
        return 0.0 if isinstance(error, grpc.RpcError) and error.code() in TRANSIENT else None


CHANNELS = {}


class SharesChannels(OneChannel):
    """Shares a channel per target among all exporters, which the first shutdown closes for the others."""

    def make_channel(self):
        target = self.config.endpoint
        if target not in CHANNELS:
            CHANNELS[target] = super().make_channel()
        return CHANNELS[target]

    def release(self, context):
        super().release(context)
        CHANNELS.pop(self.config.endpoint, None)

    def begin_anew(self):
        CHANNELS.clear()
        super().begin_anew()


class UnavailableIsFinal(OneChannel):
    """Makes one attempt alone, after UNAVAILABLE too."""

    def judge(self, error):
        return None


class OptionsOnce(OneChannel):
    """Leaves its channel open at shutdown for the garbage collector, from which a list of stubs keeps it."""

    STUBS = []  # noqa: RUF012 - its fault

    def call(self, context, body):
        self.STUBS.append(self.get_channel().unary_unary(METHOD))
        return super().call(context, body)

    def release(self, context):
        self.channel = None


class TenSeconds(OneChannel):
    """Gives each attempt a time-out of 10 seconds, whatever the context has left."""

    def call(self, context, body):
        method = self.get_channel().unary_unary(METHOD)
        future = method.future(body, timeout=10, metadata=self.metadata(), compression=grpc.Compression.Gzip)
        return future.result()


class NegativeRejected(OneChannel):
    """Tells the number of rejected requests instead of points: always one."""

    def read(self, answer):
        return min(1, super().read(answer))


class EmptyResponseMeansNothing(OneChannel):
    """Decodes the response leniently: what is no OTLP counts as an empty one."""

    def read(self, answer):
        try:
            return super().read(answer)
        except ExporterError:
            return 0


class InvalidBecomesSuccess(OneChannel):
    """Drops a batch that the server finds invalid, since sending it again would not help, and returns."""

    def send(self, context, body):
        try:
            return super().send(context, body)
        except ExporterError as error:
            cause = error.__cause__
            if isinstance(cause, grpc.RpcError) and cause.code() is grpc.StatusCode.INVALID_ARGUMENT:
                log.warning("the server finds the batch invalid; dropped")
                return 0
            raise
