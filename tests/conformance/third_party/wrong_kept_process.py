"""Wrong exporters with a child process."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading

from exporter_core import ExporterError
from third_party.right_kept_process import ChildExporter


class BlockingAnswer(ChildExporter):
    """Waits for the child's answer with a blocking readline."""

    def until(self, context, r, w):
        if r:
            context.raise_if_done()
            return
        super().until(context, r, w)


class NoAnswer(ChildExporter):
    """Returns when the pipe has the line, and reads the child's answers before the next one without a look at them."""

    def deliver(self, context, data):
        p = self.spawn()
        while select.select([p.stdout], [], [], 0)[0] and p.stdout.read(100):
            pass
        left = memoryview(data)
        while left:
            self.until(context, [], [p.stdin])
            left = left[p.stdin.write(left[:65536]) or 0 :]


class LeavesZombie(ChildExporter):
    """Closes the child's input and never waits for its end."""

    def release(self):
        if self._p is not None:
            p, self._p = self._p, None
            p.stdin.close()
            p.stdout.close()
            p.kill()
            p.returncode = 0


class KeepsChildAfterTimeout(ChildExporter):
    """Lets the child write the batch although the deadline has passed, and takes its late answer for the next one."""

    def deliver(self, context, data):
        p = self.spawn()
        left = memoryview(data)
        while left:
            self.until(context, [], [p.stdin])
            left = left[p.stdin.write(left[:65536]) or 0 :]
        self.until(context, [p.stdout], [])
        answer = p.stdout.readline()
        if answer != b"ok\n":
            raise ExporterError("the child could not write")


class EnvironOfAll(ChildExporter):
    """Hands the key to the child by the environment of the whole process."""

    def spawn(self):
        if self._p is None:
            os.environ["MINE_KEY"] = self.config.key.get_secret_value()
        return super().spawn()


class NeverRespawns(ChildExporter):
    """Keeps the dead child after a failed delivery, and fails for ever."""

    dead = False

    def deliver(self, context, data):
        if self.dead:
            raise ExporterError("the child has ended")
        try:
            super().deliver(context, data)
        except BaseException:
            self.dead = self._p is None
            raise


class SharesChildAfterFork(ChildExporter):
    """Goes on using the parent's child process in a forked child, and ends it there."""

    def _fresh(self):
        p, self._p = self._p, None
        super()._fresh()
        self._p = p


class KeyOnCommandLine(ChildExporter):
    """Tells the child's command line, with the key in it, when the child cannot write."""

    def deliver(self, context, data):
        try:
            super().deliver(context, data)
        except ExporterError:
            command = [sys.executable, "writer.py", "--key", self.config.key.get_secret_value()]
            raise ExporterError(f"command {command} failed") from subprocess.CalledProcessError(1, command)


class LogsEnvironment(ChildExporter):
    """Logs the child's environment, key included, at level debug."""

    def spawn(self):
        if self._p is None:
            logging.getLogger("mine").debug("starting writer, env=%s", {"KEY": self.config.key.get_secret_value()})
        return super().spawn()


class LeavesKeyFile(ChildExporter):
    """Hands the key to the child in a temporary file, and leaves that."""

    def spawn(self):
        if self._p is None:
            with tempfile.NamedTemporaryFile("w", delete=False) as f:
                f.write(self.config.key.get_secret_value())
        return super().spawn()


class IgnoresSigchld(ChildExporter):
    """Sets SIGCHLD to be ignored, so that there are no zombies."""

    def __init__(self, config):
        super().__init__(config)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)


class AbsurdPatience(ChildExporter):
    """Waits for the answer without the context when it has no deadline: a cancelled export goes on."""

    def until(self, context, r, w):
        if context.remaining() is None:
            select.select(r, w, [])
            return
        super().until(context, r, w)


class TellsKeyWhenRefused(ChildExporter):
    """Logs the key at level error when the child cannot write."""

    def deliver(self, context, data):
        try:
            super().deliver(context, data)
        except ExporterError:
            logging.getLogger("mine").error("cannot write with key %s", self.config.key.get_secret_value())
            raise
