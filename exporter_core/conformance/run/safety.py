"""Keeps a check away from real backends: what a worker's environment may hold, and which addresses it may connect to.

An exporter goes where its options, its defaults or the environment point, and the checker duplicates and corrupts data.
"""

from __future__ import annotations

import errno
import re
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEPT_BACK: Final = re.compile(
    r"^OTEL_|_PROXY$|TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|CONNECTION_?STRING"
    r"|^(AWS|AZURE|APPLICATIONINSIGHTS|CLOUDSDK|DATADOG|DD|GCP|GOOGLE|HONEYCOMB|LOGFIRE|NEW_RELIC|SPLUNK)_",
    re.IGNORECASE,
)
_CONNECTING: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOPBACK: Final = ("127.", "::1", "localhost")


def without_backends(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without OpenTelemetry's own variables, proxies and credentials."""
    return {name: value for name, value in environment.items() if not _KEPT_BACK.search(name)}


def kept_back(environment: Mapping[str, str], text: str) -> str:
    """The first variable that is named in the text and that workers do not get; empty if there is none."""
    return next((name for name in environment if _KEPT_BACK.search(name) and name in text), "")


def connect_to_sinks_only() -> None:
    """Have this process's Python code connect to the checker's own sinks and nowhere else, for good.

    Code in C that makes its own connections is not seen.
    """
    sys.addaudithook(_refuse_others)


def _refuse_others(event: str, arguments: tuple[object, ...]) -> None:
    if event not in _CONNECTING:
        return
    address = arguments[1]
    if not isinstance(address, tuple) or not isinstance(address[0], str):
        return  # a socket of this machine's own
    from exporter_core.conformance.observe.sink_harness import SINK_PORTS  # noqa: PLC0415 - heavy, and there by then

    host, port = address[:2]
    if port not in SINK_PORTS or not host.startswith(_LOOPBACK):
        raise ConnectionRefusedError(
            errno.ECONNREFUSED, f"the checker lets an exporter connect to its sink alone, not to {host}:{port}"
        )
