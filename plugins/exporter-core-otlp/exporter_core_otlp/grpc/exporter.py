"""The exporter: one attempt of a request, as one gRPC call over a channel that is kept for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

import grpc

from exporter_core import Destination, ExporterError
from exporter_core_otlp.answers import MalformedAnswerError, answer_in
from exporter_core_otlp.grpc.channel import METHOD, credentials, open_channel
from exporter_core_otlp.grpc.config import OtlpGrpcConfig
from exporter_core_otlp.grpc.forking import RunningCall, calling, spoilt
from exporter_core_otlp.grpc.verdict import failure
from exporter_core_otlp.network import USER_AGENT, NetworkExporter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter_core import Context
    from exporter_core_otlp.answers import Answer
    from exporter_core_otlp.encoding import Request

__all__ = ["OtlpGrpcExporter"]

_ENDLESS: Final = 1e8  # seconds; gRPC takes a deadline some centuries away for one that has passed
_EARLY: Final = 0.1  # seconds by which gRPC's clock may see the deadline before ours does

_inherited: list[object] = []
"""Channels of the parent, in a forked child: closing one there would disturb the parent's connection."""


class OtlpGrpcExporter(NetworkExporter[OtlpGrpcConfig]):
    """Send metrics by OTLP over gRPC."""

    def __init__(self, config: OtlpGrpcConfig) -> None:
        super().__init__(config)
        headers = {name.lower(): value for name, value in config.header_values().items()}
        self._user_agent = headers.pop("user-agent", USER_AGENT)
        self._metadata = tuple(headers.items())
        self._tls = credentials(config.tls) if config.secure else None
        self._channel: grpc.Channel | None = None

    def destination(self) -> Destination:
        """The server that is sent to."""
        return Destination(self.config.endpoint)

    def attempt(self, context: Context, request: Request) -> Answer:
        """Make one call.

        It fails at once where the server cannot be reached, instead of waiting until it can (gRPC's
        ``wait_for_ready``), as OTLP's exporters do: so the error says why, and attempts are spaced by one plan alone.
        """
        while True:
            if spoilt():
                raise ExporterError(
                    f"{self.config.endpoint}: gRPC cannot be used in this process, which was forked during an export; "
                    "fork between exports, or use otlp_http"
                )
            with calling(context) as running:
                call, answers = self._call(context, request, running)
            if running.interrupted or context.done or call.code() is grpc.StatusCode.UNAVAILABLE:
                # It is closed. Or it would go on trying to connect, all by itself; the next one looks the server's name
                # up anew, and may find another.
                self.release()
            if call.code() is grpc.StatusCode.OK:
                return self._taken(answers)
            if not running.interrupted or context.done:
                self._failed(context, call)

    def release(self) -> None:
        """Close the channel."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def forget(self) -> None:
        """Let go of the channel that is the parent's."""
        if self._channel is not None:
            _inherited.append(self._channel)
        self._channel = None

    def _call(self, context: Context, request: Request, running: RunningCall) -> tuple[grpc.Call, list[bytes]]:
        """The call, ended, and what the server sent: one answer if all is well."""
        if self._channel is None:
            self._channel = open_channel(context, self.config, self._tls, self._user_agent)
        channel = self._channel
        export: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(METHOD)
        remaining = context.remaining()
        timeout = None if remaining is None or remaining > _ENDLESS else remaining
        try:
            call = export(request.body, timeout=timeout, metadata=self._metadata, wait_for_ready=False)
            running.ended_by(channel.close)
            return call, _answers(context, channel, call)
        except BaseException:
            self.release()  # Ctrl-C leaves a call that nobody waits for
            raise

    def _failed(self, context: Context, call: grpc.Call) -> NoReturn:
        remaining = context.remaining()
        if call.code() is grpc.StatusCode.DEADLINE_EXCEEDED and remaining is not None and remaining < _EARLY:
            context.wait(remaining)
        context.raise_if_done()
        raise failure(call, self.config.endpoint, self.mask)

    def _taken(self, answers: list[bytes]) -> Answer:
        try:
            (answer,) = answers
            return answer_in(answer)
        except (MalformedAnswerError, ValueError) as error:
            raise ExporterError(f"{self.config.endpoint}: OK, but the answer is not OTLP") from error


def _answers(context: Context, channel: grpc.Channel, call: Iterable[bytes]) -> list[bytes]:
    """Wait for the end of the call, on this thread; what the server has sent until then."""
    # Of a call of this kind that another thread cancels, gRPC keeps the connection open for ever; of a channel that is
    # closed, it does not.
    ending = context.on_done(channel.close)
    try:
        return list(call)
    except grpc.RpcError as error:
        # The error is the call. A traceback would lead back to it, and keep all of it until garbage is collected.
        error.__traceback__ = None
        return []
    finally:
        ending.unregister()
