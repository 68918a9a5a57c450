"""A gRPC channel to the server, on which nothing happens but the calls that are made."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc import experimental

from exporter_core_otlp.tls import tls_context

if TYPE_CHECKING:
    from exporter_core import Context
    from exporter_core_otlp.config import Tls
    from exporter_core_otlp.grpc.config import OtlpGrpcConfig

__all__ = ["METHOD", "credentials", "open_channel"]

METHOD: Final = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
_LONGEST_ANSWER: Final = 4 * 1024 * 1024
_PATIENCE: Final = 20.0  # seconds, as gRPC has it
_LONGER: Final = 0.1  # seconds by which an attempt outlives its call, so that the error is that of the call's deadline
_ROOTS: Final = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"


def open_channel(
    context: Context, config: OtlpGrpcConfig, tls: grpc.ChannelCredentials | None, user_agent: str
) -> grpc.Channel:
    """A channel that connects with its first call, through the proxy that gRPC finds in the environment, if any.

    The context is that of the first call.
    """
    remaining = context.remaining()
    patience = _PATIENCE if remaining is None else min(_PATIENCE, remaining + _LONGER)
    options: list[tuple[str, Any]] = [  # Any: as gRPC has it
        # A call then runs on the thread that makes it: nothing to start, which cannot be done while the interpreter
        # exits, and nothing to leave behind. Of unary calls, only those with a stream of answers have it.
        (experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
        # Else exporters of one process share connections, and one's shutdown does not close its own.
        ("grpc.use_local_subchannel_pool", 1),
        # A service config from the DNS could have gRPC retry beside this exporter's own plan.
        ("grpc.service_config_disable_resolution", 1),
        # How long an attempt to connect may take (what the names say is about the attempts of a channel that is kept).
        # A closed channel waits for its end, and with it the socket.
        ("grpc.min_reconnect_backoff_ms", round(patience * 1000)),
        ("grpc.initial_reconnect_backoff_ms", round(patience * 1000)),
        ("grpc.max_send_message_length", -1),  # batches are split before
        ("grpc.max_receive_message_length", _LONGEST_ANSWER),
        ("grpc.primary_user_agent", user_agent),
    ]
    compression = grpc.Compression.Gzip if config.compression == "gzip" else grpc.Compression.NoCompression
    if tls is None:
        return grpc.insecure_channel(config.target, options, compression)
    return grpc.secure_channel(config.target, tls, options, compression)


def credentials(tls: Tls) -> grpc.ChannelCredentials:
    """What the options say about TLS. ExporterError for files that cannot be used, which gRPC would not explain."""
    tls_context(tls)
    return grpc.ssl_channel_credentials(
        root_certificates=_system_roots() if tls.ca_file is None else tls.ca_file.read_bytes(),
        private_key=None if tls.key_file is None else tls.key_file.read_bytes(),
        certificate_chain=None if tls.cert_file is None else tls.cert_file.read_bytes(),
    )


def _system_roots() -> bytes | None:
    """The certificates that this system trusts, where OpenSSL looks for them; None for those that gRPC brings along."""
    if _ROOTS in os.environ:
        return None
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return Path(paths.cafile).read_bytes()
    files = sorted(Path(paths.capath).glob("*.[0-9]")) if paths.capath else []
    return b"\n".join(file.read_bytes() for file in files) or None
