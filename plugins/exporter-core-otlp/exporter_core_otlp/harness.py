"""How the conformance checker of exporter-core sees what the OTLP exporters deliver, and lets their backend fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter_core.conformance import SinkHarness

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OtlpHttpHarness"]


class OtlpHttpHarness(SinkHarness):
    """An OTLP/HTTP sink of its own for each run."""

    kind = "otlp_http"
    secret = "canary-5f3a9e"  # noqa: S105 - what must not appear in errors

    def config(self) -> Mapping[str, Any]:
        """The sink and a secret header; waits are short, and bounded by nothing but the context that is handed in."""
        return {
            "endpoint": self.endpoint,
            "headers": [{"name": "api-key", "value": self.secret}],
            "timeout": 0,
            "retry": {"initial_interval": 20, "max_interval": 50, "max_elapsed_time": 0},
        }
