"""The raw TCP sink: records bytes, and closes, resets or stops reading as the script says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.conformance.sinks._server.core import Entry

if TYPE_CHECKING:
    from exporter_core.conformance.sinks._server.core import Core
    from exporter_core.conformance.sinks._server.listener import Wire

_GARBAGE = b"\x00\xff\x16\x03 this is no answer in any protocol \x80\x81\r\n"


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
            if wire.transport is not None and (core.shut or fault.kind == "hang"):
                wire.transport.pause_reading()
            core.enter(entry)
            # What a peer has sent before it closed arrives all the same: TCP has no answer to wait for.
            await core.until(lambda: not core.shut)
            if fault.kind == "hang":
                await core.until(lambda: wire.ended)
                return
            if fault.kind == "reset":
                wire.reset()
                return
            if fault.kind == "garbage":
                wire.write(_GARBAGE)
            if wire.transport is not None and not wire.transport.is_closing():
                wire.transport.resume_reading()
            entry.stored = core.stamp()
            core.changed()
            if fault.kind in {"truncate", "garbage"}:
                return
            data = await wire.read_some()
