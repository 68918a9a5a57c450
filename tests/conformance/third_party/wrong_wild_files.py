"""Wrong exporters to a file."""

from __future__ import annotations

import dataclasses
import os
import sys

from exporter_core import ExporterError, ExporterShutdownError
from third_party.right_wild_files import WildFile


class UnlockedSwap(WildFile):
    """Writes what is held and clears the list afterwards, with what came meanwhile."""

    def write(self, context):
        self.take_turn(context)
        try:
            context.raise_if_done()
            if not self.lines:
                return
            try:
                self.append(context, b"".join(self.lines))
            except OSError as error:
                context.raise_if_done()
                self.lines.clear()
                raise ExporterError(f"the file cannot be written: {error.strerror}") from error
            self.lines.clear()
        finally:
            self.turn.release()


class LosesAtDeadline(WildFile):
    """Loses what a flush could not write before its deadline: it was taken out of the list, and is not put back."""

    def write(self, context):
        self.take_turn(context)
        try:
            context.raise_if_done()
            with self.lock:
                lines, self.lines = self.lines, []
            if not lines:
                return
            try:
                self.append(context, b"".join(lines))
            except OSError as error:
                context.raise_if_done()
                raise ExporterError(f"the file cannot be written: {error.strerror}") from error
        finally:
            self.turn.release()


class PlainOpen(WildFile):
    """Uses open() and write(), which block as long as the disk does."""

    def append(self, context, data):
        with open(self.config.path, "ab", buffering=0) as file:
            begin = os.fstat(file.fileno()).st_size
            view = memoryview(data)
            try:
                while view:
                    view = view[file.write(view) :]
            except OSError:
                os.ftruncate(file.fileno(), begin)
                raise


class HandleError(WildFile):
    """Prints an OSError to stderr and forgets it, as handleError of logging's handlers does."""

    def append(self, context, data):
        try:
            super().append(context, data)
        except OSError as error:
            context.raise_if_done()
            print("--- Logging error ---", type(error).__name__, file=sys.stderr)  # noqa: T201 - its fault


class FloatValues(WildFile):
    """Makes floats of all values before they are encoded, as InfluxDB's line protocol does without the i."""

    def prepare(self, metrics):
        def metric(one):
            if not hasattr(one.data, "is_monotonic"):
                return one
            points = [
                dataclasses.replace(p, value=float(p.value)) if isinstance(p.value, int) else p
                for p in one.data.data_points
            ]
            return dataclasses.replace(one, data=dataclasses.replace(one.data, data_points=points))

        copy = dataclasses.replace(
            metrics,
            resource_metrics=[
                dataclasses.replace(
                    r,
                    scope_metrics=[
                        dataclasses.replace(s, metrics=[metric(m) for m in s.metrics]) for s in r.scope_metrics
                    ],
                )
                for r in metrics.resource_metrics
            ],
        )
        return super().prepare(copy)


class LeavesOutZeros(WildFile):
    """Leaves out sums of zero along with those without a value, by a look at the truth of the value."""

    def prepare(self, metrics):
        def metric(one):
            if not hasattr(one.data, "is_monotonic"):
                return one
            points = [p for p in one.data.data_points if p.value]
            return dataclasses.replace(one, data=dataclasses.replace(one.data, data_points=points))

        copy = dataclasses.replace(
            metrics,
            resource_metrics=[
                dataclasses.replace(
                    r,
                    scope_metrics=[
                        dataclasses.replace(s, metrics=[metric(m) for m in s.metrics]) for s in r.scope_metrics
                    ],
                )
                for r in metrics.resource_metrics
            ],
        )
        return super().prepare(copy)


class LeavesPieces(WildFile):
    """Leaves a line there of which the disk took half, and writes the next line behind it."""

    def append(self, context, data):
        fd = None
        while fd is None:
            try:
                fd = os.open(self.config.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o644)
            except OSError as error:
                if error.errno != 6:
                    raise
                context.wait(0.02)
                context.raise_if_done()
        try:
            view = memoryview(data)
            while view:
                context.raise_if_done()
                try:
                    view = view[os.write(fd, view) :]
                except BlockingIOError:
                    context.wait(0.02)
        finally:
            os.close(fd)


class ModeW(WildFile):
    """Cuts off at each flush what was in the file, as mode w does."""

    def append(self, context, data):
        if os.path.isfile(self.config.path):
            os.truncate(self.config.path, 0)
        super().append(context, data)


class SecondHandedBuffer(WildFile):
    """Renews nothing after a fork: the child writes the lines that the parent holds, too, as stdio's buffers do."""

    def after_fork(self):
        pass


class Umask(WildFile):
    """Calls os.umask(0o077) at construction, so that others cannot read the file."""

    def __init__(self, config):
        super().__init__(config)
        os.umask(0o077)


class PrintsSummary(WildFile):
    """Prints a line to standard output after each write, left from debugging."""

    def append(self, context, data):
        super().append(context, data)
        print("wrote", len(data), "bytes")  # noqa: T201 - its fault


class AcquireTimeout(WildFile):
    """Waits for its turn with acquire(timeout=remaining), which no cancellation ends."""

    def take_turn(self, context):
        left = context.remaining()
        if not self.turn.acquire(timeout=-1 if left is None else left):
            context.raise_if_done()
            raise ExporterError("busy")


class SkipsUnchanged(WildFile):
    """Does not write a batch again that encodes to the same line as the last one."""

    _last = None

    def prepare(self, metrics):
        line, dropped = super().prepare(metrics)
        if line == self._last:
            return None, dropped
        self._last = line
        return line, dropped


class ClearsExemplars(WildFile):
    """Clears the exemplars of the caller's points once they are encoded, to save memory."""

    def prepare(self, metrics):
        prepared = super().prepare(metrics)
        for resource in metrics.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        if isinstance(getattr(point, "exemplars", None), list):
                            point.exemplars.clear()
        return prepared


class AddsHostName(WildFile):
    """Adds host.name to the attributes of the points that it is handed."""

    def prepare(self, metrics):
        for resource in metrics.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        if isinstance(point.attributes, dict):
                            point.attributes["host.name"] = "here"
        return super().prepare(metrics)


class ShutdownSkipsBuffer(WildFile):
    """Sets the flag at shutdown and leaves what is held."""

    def shutdown(self, context):
        self.close()
        context.raise_if_done()


class CloseAfterWrite(WildFile):
    """Writes first at shutdown and sets its flag then; what is accepted between is lost."""

    def shutdown(self, context):
        if self.closed:
            raise ExporterShutdownError("shut down")
        try:
            context.raise_if_done()
            self.write(context)
        finally:
            self.close()


class BoundedBuffer(WildFile):
    """Cuts the list to the last thousand lines, so that memory is bounded, without a word."""

    def too_many(self):
        with self.lock:
            del self.lines[:-1000]
        return False


class AsciiWithQuestionMarks(WildFile):
    """Replaces text that is not ASCII by question marks, as old statsd clients do."""

    def prepare(self, metrics):
        line, dropped = super().prepare(metrics)
        return line and line.decode().encode("ascii", "replace"), dropped
