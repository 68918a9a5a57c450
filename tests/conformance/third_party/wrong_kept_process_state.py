"""Wrong exporters in what they do to the whole process."""

from __future__ import annotations

import asyncio
import gc
import locale
import logging
import multiprocessing
import resource
import signal
import sys
import warnings

from third_party.right_kept_files import FileExporter


class LeavesSignalsBlocked(FileExporter):
    """Blocks SIGTERM while it writes, and forgets to unblock it when the write fails."""

    def deliver(self, context, data):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        super().deliver(context, data)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


class EnablesGc(FileExporter):
    """Turns the garbage collector off while it writes and on afterwards, also if the application had it off."""

    def deliver(self, context, data):
        gc.disable()
        try:
            super().deliver(context, data)
        finally:
            gc.enable()


class SetsPlainLocale(FileExporter):
    """Sets the locale of the process to C, so that numbers have a point."""

    def __init__(self, config):
        super().__init__(config)
        locale.setlocale(locale.LC_ALL, "C")


class FiltersWarnings(FileExporter):
    """Silences resource warnings for the whole process."""

    def __init__(self, config):
        super().__init__(config)
        warnings.simplefilter("ignore", ResourceWarning)


class RootWarning(FileExporter):
    """Tells of a failed write with a function of the module logging, which gives the root logger a handler."""

    def deliver(self, context, data):
        try:
            super().deliver(context, data)
        except OSError:
            logging.warning("cannot write %s", self.config.path)  # noqa: LOG015
            raise


class LowersNofile(FileExporter):
    """Sets the process's limit of descriptors."""

    def __init__(self, config):
        super().__init__(config)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard) - 3, hard))


class SetsStartMethod(FileExporter):
    """Sets multiprocessing's start method for all."""

    def __init__(self, config):
        super().__init__(config)
        multiprocessing.set_start_method("spawn", force=True)


class SetsPolicy(FileExporter):
    """Sets the policy of event loops."""

    def __init__(self, config):
        super().__init__(config)
        asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())


class DeepRecursion(FileExporter):
    """Raises the recursion limit, for deeply nested attributes."""

    def __init__(self, config):
        super().__init__(config)
        sys.setrecursionlimit(20000)
