"""Right exporters over HTTP connections that are kept: each its own, shared ones, and addresses that are remembered."""

from __future__ import annotations

import os
import threading
import time

from exporter_core import PartialSuccessError
from exporter_core.authoring import SerialExporter, keep_untouched
from exporter_core.otlp import Encoder
from third_party import keen_transport
from third_party.keen_base import Conf, Harness

LOCK = threading.Lock()
SHARED = {}  # (process, endpoint, token): [count, idle]
KNOWN = {}  # (process, name, port): (address, until when)


class Pool(SerialExporter[Conf]):
    """Sends with http.client over a pool of kept connections."""

    conformance_harness = Harness
    connection = keen_transport.Connection
    most = 5

    def __init__(self, config):
        super().__init__(config)
        self.encoder, self.idle = Encoder(), self.make_pool()

    def make_pool(self):
        return []

    def judge(self, status, headers, data):
        keen_transport.judge(status, headers, data)

    def attempts(self, context, attempt):
        keen_transport.attempts(context, attempt, self.most)

    def deliver(self, context, metrics):
        body, dropped = keen_transport.encoded(self.encoder, metrics)

        def attempt():
            connection = self.idle.pop() if self.idle else self.connection(self.config)
            try:
                connection.post(context, body, self.judge)
            finally:
                self.idle.append(connection)

        self.attempts(context, attempt)
        if dropped:
            raise PartialSuccessError("some points do not fit", rejected_points=dropped)

    def release(self, context):
        while self.idle:
            self.idle.pop().close()

    def begin_anew(self):
        keep_untouched(self.idle)
        self.idle, self.encoder = self.make_pool(), Encoder()


class CountedPool(Pool):
    """Connections are shared by all exporters of one endpoint and token in this process, and counted."""

    def key(self):
        return os.getpid(), self.config.endpoint, self.config.token and self.config.token.get_secret_value()

    def make_pool(self):
        with LOCK:
            entry = SHARED.setdefault(self.key(), [0, []])
            entry[0] += 1
            return entry[1]

    def release(self, context):
        with LOCK:
            entry = SHARED.get(self.key())
            if entry is None:
                return
            entry[0] -= 1
            if entry[0] == 0:
                del SHARED[self.key()]
                while entry[1]:
                    entry[1].pop().close()

    def begin_anew(self):
        global LOCK  # noqa: PLW0603 - another thread may have held it when the process forked
        LOCK = threading.Lock()
        super().begin_anew()

    def __del__(self):
        if not self.is_shut_down:
            self.release(None)


class CachingConnection(keen_transport.Connection):
    def post(self, context, body, judge=keen_transport.judge):
        name = self.host
        key = os.getpid(), name, self.port
        try:
            if self.http is None or self.http.sock is None:
                found = KNOWN.get(key)
                if found is None or found[1] < time.monotonic():
                    found = KNOWN[key] = (keen_transport.lookup(context, name, self.port), time.monotonic() + 30)
                self.host = found[0][0]
            super().post(context, body, judge)
        except BaseException:
            KNOWN.pop(key, None)
            raise
        finally:
            self.host = name


class CachedLookup(Pool):
    """The addresses of names are kept for 30 seconds for the whole process; a failed connection forgets them."""

    connection = CachingConnection
