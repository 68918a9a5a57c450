"""Wrong exporters that share or wait for too much."""

from __future__ import annotations

from third_party.right_wild_async import WildLoop
from third_party.right_wild_http import WildHttp
from third_party.wrong_wild_holding import WaitsForRoomForEver

_session = {}


class SharedSession(WildHttp):
    """Shares one connection of the module among all exporters, opened by the first that sends."""

    @property
    def _connection(self):
        return _session.get("connection")

    @_connection.setter
    def _connection(self, value):
        if value is not None or self.__dict__.get("_made"):
            _session["connection"] = value
        self.__dict__["_made"] = True


class WaitsForRoomOf512(WaitsForRoomForEver):
    """Waits for ever for room when the queue has 512 batches, as queue.put does."""

    room_batches = 512


class ClassLoop(WildLoop):
    """Keeps the event loop in an attribute of this very class, and the first shutdown stops it for all."""

    shared = None

    def loop(self):
        if ClassLoop.shared is None:
            super().loop()
            ClassLoop.shared = self._loop, self._finalizer
        self._loop, self._finalizer = ClassLoop.shared
        return self._loop

    def begin_anew(self):
        super().begin_anew()
        ClassLoop.shared = None
