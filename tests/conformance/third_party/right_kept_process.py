"""A right exporter with a child process."""

from __future__ import annotations

import os
import select
import subprocess
import sys

from exporter_core import ExporterError
from third_party.local_base import Turns
from third_party.local_harnesses import PipeHarness

CHILD = """
import os,sys
for line in sys.stdin.buffer:
    try:
        with open(sys.argv[1],'ab') as f: f.write(line)
        out=b'ok\\n'
    except OSError as e: out=b'no %d\\n'%e.errno
    os.write(1,out)
"""


class ChildExporter(Turns):
    """Has a child process write, with one line each way for a batch."""

    conformance_harness = PipeHarness
    _p = None

    def _fresh(self):
        super()._fresh()
        self.__dict__.setdefault("_kept", [])
        if self._p is not None:
            for f in (self._p.stdin, self._p.stdout):
                f.close()
            self._p.returncode = 0  # not ours: never waited for
        self._p = None

    def spawn(self):
        if self._p is None:
            p = subprocess.Popen(
                [sys.executable, "-SE", "-c", CHILD, str(self.config.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, "KEY": self.config.key.get_secret_value()},
            )
            os.set_blocking(p.stdin.fileno(), False)
            self._p = p
        return self._p

    def until(self, context, r, w):
        while True:
            context.raise_if_done()
            if any(select.select(r, w, [], 0.02)):
                return

    def deliver(self, context, data):
        p = self.spawn()
        try:
            left = memoryview(data)
            while left:
                self.until(context, [], [p.stdin])
                n = p.stdin.write(left[:65536])
                left = left[n or 0 :]
            answer = b""
            while not answer.endswith(b"\n"):
                self.until(context, [p.stdout], [])
                got = p.stdout.read(100)
                if not got:
                    raise ExporterError("the child has ended")
                answer += got
        except BaseException:
            self.release()
            raise
        if answer != b"ok\n":
            raise ExporterError("the child could not write: " + os.strerror(int(answer.split()[1])))

    def release(self):
        if self._p is not None:
            p, self._p = self._p, None
            p.kill()
            p.stdin.close()
            p.stdout.close()
            p.wait()
