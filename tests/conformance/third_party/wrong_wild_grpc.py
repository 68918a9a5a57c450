"""Wrong exporters over grpcio."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import grpc

from exporter_core import ExporterError
from third_party.right_wild_grpc import WildGrpc
from third_party.wild_base import Transient


class _NoHandle:
    def unregister(self):
        pass


class NeverCloses(WildGrpc):
    """Does not close the channel at shutdown."""

    def release(self, context):
        pass


class NoTimeoutOfTheCall(WildGrpc):
    """Makes calls that have no time-out and are never cancelled."""

    def limit(self, context):
        return None

    def interrupt(self, context, call):
        return _NoHandle()


class NoCancellation(WildGrpc):
    """Gives the call the deadline as its time-out, and no cancellation ends it."""

    def interrupt(self, context, call):
        return _NoHandle()


class TenSecondsPerCall(WildGrpc):
    """Gives the call OTLP's ten seconds as its time-out, whatever the deadline, and no cancellation ends it."""

    def limit(self, context):
        return 10

    def interrupt(self, context, call):
        return _NoHandle()


class RetriesEveryStatus(WildGrpc):
    """Tries again after every status, after INVALID_ARGUMENT and UNAUTHENTICATED too."""

    def attempt(self, context, data):
        try:
            return super().attempt(context, data)
        except ExporterError as error:
            if isinstance(error.__cause__, grpc.RpcError):
                raise Transient(str(error)) from error.__cause__
            raise


class IgnoresPartial(WildGrpc):
    """Does not look at the response."""

    def attempt(self, context, data):
        super().attempt(context, data)
        return 0, ""


class ChannelOfTheClass(WildGrpc):
    """Keeps the channel in an attribute of the class: a second exporter sends where the first one does."""

    _one = None

    def channel(self):
        if type(self)._one is None:
            type(self)._one = super().channel()
        self._channel = type(self)._one
        return self._channel

    def begin_anew(self):
        super().begin_anew()
        type(self)._one = None


class ForkSupport(WildGrpc):
    """Sets GRPC_ENABLE_FORK_SUPPORT in the application's environment."""

    def __init__(self, config):
        super().__init__(config)
        os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "true"


class DetailsInError(WildGrpc):
    """Shows the metadata of the call in the error, the token with it."""

    def attempt(self, context, data):
        try:
            return super().attempt(context, data)
        except ExporterError as error:
            raise ExporterError(f"{error}; metadata: {dict(self.metadata())}") from error.__cause__


class ChannelPerExport(WildGrpc):
    """Makes a channel for each export and keeps it in a list until it is shut down."""

    def __init__(self, config):
        super().__init__(config)
        self._channels = []

    def channel(self):
        channel = grpc.insecure_channel(urlsplit(self.config.endpoint).netloc, options=self.options)
        self._channels.append(channel)
        return channel

    def begin_anew(self):
        self._keep = self._channels
        self._channels = []

    def release(self, context):
        for channel in self._channels:
            channel.close()
        self._channels.clear()


class NoRetry(WildGrpc):
    """Raises an error at once for UNAVAILABLE."""

    def attempt(self, context, data):
        try:
            return super().attempt(context, data)
        except Transient as error:
            raise ExporterError(str(error)) from error.__cause__
