"""TLS contexts made from options, and errors of sockets and OpenSSL in a few words."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Final

from exporter_core.errors import ExporterError

if TYPE_CHECKING:
    from exporter_core.net.options import TlsOptions


_SOURCE: Final = re.compile(r"^\[\w+\] |\s*\(_ssl\.c:\d+\)$")  # around OpenSSL's own words


def tls_context(tls: TlsOptions, *protocols: str) -> ssl.SSLContext:
    """Make the context that the options describe. Raises ExporterError for files that cannot be used.

    Args:
        tls: the options.
        protocols: what to offer for the connection (ALPN).
    """
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ExporterError(f"tls: ca_file {str(tls.ca_file)!r} cannot be used: {reason(error)}") from error
    if protocols:
        context.set_alpn_protocols(protocols)
    if tls.cert_file is not None:
        try:
            context.load_cert_chain(tls.cert_file, tls.key_file, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ExporterError(
                f"tls: cert_file {str(tls.cert_file)!r} with key_file {str(tls.key_file)!r} cannot be used: "
                f"{reason(error)}"
            ) from error
    return context


def _no_password() -> str:
    # Without this, OpenSSL would ask on the terminal.
    raise ValueError("the key is encrypted, and there is no option for its password")


def reason(error: OSError | ValueError) -> str:
    """Return what is wrong in a few words, without OpenSSL's line numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or _SOURCE.sub("", str(error))).lower().replace("_", " ")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
