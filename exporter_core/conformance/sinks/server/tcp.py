"""The raw TCP sink: records bytes, and closes, resets or stops reading as the script says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.conformance.sinks.server.core import GARBAGE, Entry, NetworkServer

if TYPE_CHECKING:
    from exporter_core.conformance.sinks.faults import Fault
    from exporter_core.conformance.sinks.server.listener import Wire


class TcpServer(NetworkServer):
    """A raw TCP sink; the script has one fault a connection, due with its first bytes."""

    async def serve(self, wire: Wire) -> None:
        """Record the bytes of a connection until it ends."""
        fault: Fault | None = None
        while data := await wire.reader.read(65536):
            wire.busy = True
            fault = fault or self.take_fault()
            entry = self.add(wire, "DATA", "", (), body=data, body_size=len(data))
            entry.update(fault=fault.text)
            if not await self._take(wire, entry, fault):
                return

    def content(self) -> bytes:
        """The bytes of each connection after those of the one before, whichever came first."""
        stored = [entry.request for entry in self.entries if entry.request.stored]
        return b"".join(one.body for one in sorted(stored, key=lambda one: one.connection))

    async def _take(self, wire: Wire, entry: Entry, fault: Fault) -> bool:
        """Take one piece of data as the script says; False if the connection is over."""
        if wire.transport is not None and self.is_shut and not wire.ended:
            wire.transport.pause_reading()
        self.enter(entry)
        # What a peer has sent before it closed arrives all the same: TCP has no answer to wait for.
        await self.until(lambda: not self.is_shut)
        if fault.kind == "hang":
            script = self.scripts
            await wire.neglect(until=lambda: self.scripts != script)
        if fault.kind in {"reset", "hang"}:
            wire.reset()
            return False
        if wire.transport is not None and not wire.transport.is_closing():
            wire.transport.resume_reading()
        entry.update(stored=self.stamp())
        if fault.kind == "garbage":
            wire.write(GARBAGE)
        self.changed()
        return fault.kind not in {"truncate", "garbage"}
