"""The harness that shows the conformance checker what the remote-write exporter delivers, and lets its backend fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from exporter_core.conformance import SinkHarness

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECRET: Final = "canary-5f3a9e"  # noqa: S105 - what must not appear in errors


class RemoteWriteHarness(SinkHarness):
    """A remote-write sink of its own for each run."""

    kind = "remote_write"
    secret = _SECRET

    def config(self) -> Mapping[str, Any]:
        """The sink and a secret; waits are short, and bounded by nothing but the context that is handed in."""
        return {
            "endpoint": self.endpoint,
            "bearer_token": _SECRET,
            "timeout": 0,
            "retry": {"initial_interval": 20, "max_interval": 50, "max_elapsed_time": 0},
        }
