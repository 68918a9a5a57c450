"""The protocol of runners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from exporter_core.guard.call import Call, Result


class Runner(Protocol):
    """Makes the calls of one operation, in the order they came."""

    running: Call | None
    """The call that the exporter is in, its caller still waiting or not."""

    def perform(self, call: Call) -> Result:
        """Make the call, and wait for it until its context is done."""
        ...

    def refuse(self) -> None:
        """Withdraw the calls whose turn has not come, and those to come, except for those that must run."""
        ...

    def close(self) -> None:
        """Let go of the thread once the calls handed in so far are over. Does not wait."""
        ...
