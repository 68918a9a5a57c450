"""What the exporters to local places share."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path

from pydantic import SecretStr

from exporter_core import Exporter, ExporterConfig, ExporterError, ExporterShutdownError
from third_party.local_encoder import LineEncoder

ALL = weakref.WeakSet()


def renew_all():
    """Begin anew in a forked child."""
    for one in list(ALL):
        one._fresh()


os.register_at_fork(after_in_child=renew_all)


class PathConfig(ExporterConfig):
    """The options of an exporter to a file."""

    path: Path
    """The file."""
    key: SecretStr = SecretStr("")
    """A key."""


class AddressConfig(ExporterConfig):
    """The options of an exporter to a server."""

    address: str
    """host:port."""


class Turns(Exporter[PathConfig]):
    """Makes one delivery at a time, with a life cycle."""

    enc = LineEncoder()

    def __init__(self, config):
        super().__init__(config)
        self._fresh()
        ALL.add(self)

    def _fresh(self):
        self._cv = threading.Condition()
        self._busy = False
        self._down = getattr(self, "_down", False)
        self._running = None

    def _take(self, context):
        with self._cv:
            while self._busy:
                if self._down:
                    raise ExporterShutdownError("shut down")
                context.raise_if_done()
                self._cv.wait(0.02)
            if self._down:
                raise ExporterShutdownError("shut down")
            self._busy = True

    def _give(self):
        with self._cv:
            self._busy = False
            self._cv.notify_all()

    def export(self, context, metrics):
        if self._down:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        data = self.enc.line(metrics)
        self._take(context)
        own = context.child()
        self._running = own
        try:
            self.deliver(own, data)
        except OSError as error:
            raise ExporterError(f"cannot write: {error.strerror}") from error
        finally:
            self._running = None
            if self._down and self._late:
                self.release()
            self._give()

    _late = False

    def force_flush(self, context):
        context.raise_if_done()
        with self._cv:
            while self._busy and not self._down:
                context.raise_if_done()
                self._cv.wait(0.02)

    def shutdown(self, context):
        with self._cv:
            if self._down:
                raise ExporterShutdownError("shut down")
            self._down = True
            while self._busy and not context.done:
                self._cv.wait(0.02)
            if self._busy:
                self._late = True
                if self._running is not None:
                    self._running.cancel("shut down")
            else:
                self.release()
        context.raise_if_done()

    def deliver(self, context, data): ...
    def release(self): ...

    def __del__(self):
        try:
            self.release()
        except Exception:  # noqa: S110
            pass
