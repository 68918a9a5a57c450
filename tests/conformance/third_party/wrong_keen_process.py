"""Wrong exporters in what belongs to the whole process, to its threads and to its children."""

from __future__ import annotations

import faulthandler
import functools
import gc
import logging
import os
import resource
import signal
import socket
import threading
import time
import urllib.request

from exporter_core import ExporterError
from third_party import keen_transport
from third_party.right_keen_http import Pool

POOLS = {}


class SharedPool(Pool):
    """Shares its connections with all exporters of the endpoint, and the first shutdown closes them for good."""

    def make_pool(self):
        pool = POOLS.get((os.getpid(), self.config.endpoint))
        if pool is None:
            pool = POOLS[os.getpid(), self.config.endpoint] = ClosablePool()
        return pool

    def deliver(self, context, metrics):
        if self.idle.closed:
            raise ExporterError("the pool is closed")
        super().deliver(context, metrics)

    def release(self, context):
        super().release(context)
        self.idle.closed = True
        POOLS.pop((os.getpid(), self.config.endpoint), None)


class ClosablePool(list):
    closed = False


class SharingConnection(keen_transport.Connection):
    common = {}  # noqa: RUF012 - the fault

    def __init__(self, config):
        super().__init__(config)
        self.common.update(self.headers)
        self.headers = self.common


class SharedHeaders(Pool):
    """Has one dictionary of headers for all exporters, who send the token of the one made last."""

    connection = SharingConnection

    def __init__(self, config):
        super().__init__(config)
        self.connection(config)


class ChildShutsSocket(Pool):
    """Shuts inherited sockets down in a forked child, which are the parent's too."""

    def __init__(self, config):
        super().__init__(config)
        self.made = []

        class Noted(keen_transport.Connection):
            def __init__(self, config):
                super().__init__(config)
                outer_made.append(self)

        outer_made = self.made
        self.connection = Noted

    def begin_anew(self):
        for one in self.made:
            if one.http is not None and one.http.sock is not None:
                try:
                    one.http.sock.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        super().begin_anew()
        self.made.clear()


class KeepsALineOfEach(Pool):
    """Keeps a line about each export, without end."""

    def __init__(self, config):
        super().__init__(config)
        self.history = []

    def deliver(self, context, metrics):
        try:
            super().deliver(context, metrics)
        finally:
            self.history.append((time.time(), len(metrics.resource_metrics)))


class CachesItsHost(Pool):
    """A cache over a method keeps each exporter."""

    @functools.cache  # noqa: B019 - the fault
    def host(self):
        return self.config.endpoint

    def deliver(self, context, metrics):
        self.host()
        super().deliver(context, metrics)


class ReplacesTheOpener(Pool):
    """Replaces the opener of urllib for the whole process when it is made."""

    def __init__(self, config):
        super().__init__(config)
        urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))


class GcStaysOff(Pool):
    """Turns the garbage collector off while it delivers, and on again only after success."""

    def deliver(self, context, metrics):
        gc.disable()
        super().deliver(context, metrics)
        gc.enable()


class Nice(Pool):
    """Makes the whole process yield to others when it is made."""

    def __init__(self, config):
        super().__init__(config)
        if os.nice(0) == 0:
            os.nice(5)


class RenamesThread(Pool):
    """Renames the thread that calls export."""

    def deliver(self, context, metrics):
        threading.current_thread().name = "exporting"
        super().deliver(context, metrics)


class MasksSignals(Pool):
    """Blocks a signal in the calling thread while it sends, and unblocks it only after success."""

    def deliver(self, context, metrics):
        old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        super().deliver(context, metrics)
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


class EnablesFaulthandler(Pool):
    """Enables the fault handler when it is made."""

    def __init__(self, config):
        super().__init__(config)
        faulthandler.enable()


class PinsCpu(Pool):
    """Binds the process to one processor when it exports."""

    def deliver(self, context, metrics):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        super().deliver(context, metrics)


class LimitsFiles(Pool):
    """Lowers the limit of open files when it is made."""

    def __init__(self, config):
        super().__init__(config)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard) - 1 if soft > 1000 else soft, hard))


class StackSize(Pool):
    """Sets the size of the stacks of all later threads before it delivers."""

    def deliver(self, context, metrics):
        threading.stack_size(512 * 1024)
        super().deliver(context, metrics)


class NamesLevels(Pool):
    """Gives a level of logging another name when it is made."""

    def __init__(self, config):
        super().__init__(config)
        logging.addLevelName(5, "TRACE")
