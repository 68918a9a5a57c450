"""Wrong exporters in how they write files."""

from __future__ import annotations

import os

from third_party.right_keen_local import Filed


class IgnoresShortWrite(Filed):
    """Does not look at how much was written."""

    def write(self, data):
        os.write(self.fd, data)


class TornLine(Filed):
    """Appends the next line to one that was cut short."""

    def write(self, data):
        self.torn = False
        super().write(data)


class Memoises(Filed):
    """Keeps a mark on the resource and the data of the caller."""

    def shape(self, metrics):
        for resource in metrics.resource_metrics:
            object.__setattr__(resource.resource, "_filed_memo", "x")
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    object.__setattr__(metric.data, "_filed_memo", "x")
        return metrics


class DupLeak(Filed):
    """Writes to a second descriptor of the file, and leaves it open after a failure."""

    def write(self, data):
        fd = os.dup(self.fd)
        saved, self.fd = self.fd, fd
        try:
            super().write(data)
        finally:
            self.fd = saved
        os.close(fd)
