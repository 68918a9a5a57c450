"""The raw TCP sink: records bytes, and closes, resets or stops reading as the script says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.conformance.sinks.server.core import GARBAGE, Entry

if TYPE_CHECKING:
    from exporter_core.conformance.sinks.faults import Fault
    from exporter_core.conformance.sinks.server.core import Core
    from exporter_core.conformance.sinks.server.listener import Wire


class TcpServer:
    """Serves the connections of one raw TCP sink; the script has one fault a connection, due with its first bytes."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def serve(self, wire: Wire) -> None:
        """Record what comes until the connection ends."""
        core = self._core
        data = await wire.read_some()
        if not data:
            return
        wire.busy = True
        fault = core.take_fault()
        while data:
            entry = Entry(core, wire.number, "DATA", "", headers=[], body_size=len(data))
            entry.body, entry.fault = data, fault
            core.entries.append(entry)
            if not await self._take(wire, entry, fault):
                return
            data = await wire.read_some()

    async def _take(self, wire: Wire, entry: Entry, fault: Fault) -> bool:
        """Do with one piece of data what the script says; whether the connection goes on."""
        core = self._core
        if wire.transport is not None and core.shut and not wire.ended:
            wire.transport.pause_reading()
        core.enter(entry)
        # What a peer has sent before it closed arrives all the same: TCP has no answer to wait for.
        await core.until(lambda: not core.shut)
        if fault.kind == "hang":
            script = core.scripts
            await wire.neglect(until=lambda: core.scripts != script)
        if fault.kind in {"reset", "hang"}:
            wire.reset()
            return False
        if wire.transport is not None and not wire.transport.is_closing():
            wire.transport.resume_reading()
        entry.stored = core.stamp()
        if fault.kind == "garbage":
            wire.write(GARBAGE)
        core.changed()
        return fault.kind not in {"truncate", "garbage"}
