"""Exporters whose fault is in the lists of what they hold, in the process, in a child, or past Python's own output."""

from __future__ import annotations

import copy
import gc
import locale
import logging
import os
import socket
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core.errors import ExporterError
from kit.memory import SECRET
from kit.mutant import POLL, Tells, killed_by
from kit.reference import BufferingExporter, ReferenceConfig, ReferenceExporter

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import Any

    from exporter_core.conformance.observe.tokens import Point
    from exporter_core.context import Context
    from kit.memory import Response, Wait

_TRACE = 5
_UNTOLD = 4  # characters


@killed_by("DAT-01", "corrupted")
class SharesLists(BufferingExporter):
    """Holds copies of the points and of their attributes, with the caller's lists in them."""

    def _accept(self, metrics: MetricsData) -> None:
        self._buffer.append(_copied(metrics))


def _copied(metrics: MetricsData) -> MetricsData:
    """The metrics data with other points."""

    def with_points(data: Any) -> Any:  # Any: of each kind of metric
        points = [replace(one, attributes=copy.deepcopy(one.attributes)) for one in data.data_points]
        return replace(data, data_points=points)

    return MetricsData(
        [
            replace(
                of_resource,
                scope_metrics=[
                    replace(of_scope, metrics=[replace(one, data=with_points(one.data)) for one in of_scope.metrics])
                    for of_scope in of_resource.scope_metrics
                ],
            )
            for of_resource in metrics.resource_metrics
        ]
    )


@killed_by("PY-05", "the priority")
class LowersItsPriority(ReferenceExporter):
    """Leaves the processors to others, once for all exporters."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        if os.nice(0) == 0:
            os.nice(1)


@killed_by("PY-05", "the names of the levels of logging")
class NamesALevel(ReferenceExporter):
    """Names a level of logging of its own."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        logging.addLevelName(_TRACE, "TRACE")


@killed_by("PY-05", "the garbage collector, which is on")
class TurnsCollectorOn(ReferenceExporter):
    """Turns the garbage collector off while it delivers, and on afterwards, however it was."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        gc.disable()
        try:
            super()._deliver(context, metrics)
        finally:
            gc.enable()


@killed_by("PY-05", "the locale")
class SetsPlainLocale(ReferenceExporter):
    """Sets the locale in which numbers have a point."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        locale.setlocale(locale.LC_ALL, "C")


@killed_by("SHD-02", "temporary files")
class LeavesWhatFailed(ReferenceExporter):
    """Leaves a temporary file with what could not be delivered."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        failure = super()._failure_of(response)
        if failure is not None:
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", delete=False) as kept:
                kept.write(str(failure))
        return failure


@killed_by("HND-02", "was logged, warned of or printed")
class WritesToDescriptor(ReferenceExporter):
    """Writes its secret to standard error, past Python, when it fails."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        failure = super()._failure_of(response)
        if failure is not None:
            os.write(2, f"{failure} to {SECRET}\n".encode())
        return failure


@killed_by("HND-02", "in its text")
class DumpsItsRequest(Tells, told=f"Bearer {SECRET}".encode().hex(" ")):
    """Ends the words of a failure with a dump of what it has sent."""


@killed_by("HND-02", "in its text")
class TellsMostOfIt(Tells, told=f"{SECRET[:-_UNTOLD]}***"):
    """Ends the words of a failure with its secret but for the last characters."""


@killed_by("DAT-02", "a Resource has a further attribute")
class NotesOnTheResource(ReferenceExporter):
    """Keeps on the caller's resource what it has made of it."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        for of_resource in metrics.resource_metrics:
            vars(of_resource.resource)["_made"] = dict(of_resource.resource.attributes)
        super()._deliver(context, metrics)


@killed_by("PY-01", "it returned")
class ChildBeginsAnew(ReferenceExporter):
    """Takes exports again in a child that was forked after its shutdown."""

    def _renew_after_fork(self) -> None:
        super()._renew_after_fork()
        self._is_shut_down = False


@killed_by("PY-01", "cut off")
class ChildCutsConnection(ReferenceExporter):
    """Shuts down in a forked child the connection that the parent sends on, which connects anew and tries again."""

    def __init__(self, config: ReferenceConfig) -> None:
        self._ends: tuple[socket.socket, socket.socket] | None = None
        super().__init__(config)

    def _renew_after_fork(self) -> None:
        super()._renew_after_fork()
        if self._ends is not None:
            self._ends[0].shutdown(socket.SHUT_RDWR)
            self._disconnect_ends()

    def _disconnect(self) -> None:
        super()._disconnect()
        self._disconnect_ends()

    def _disconnect_ends(self) -> None:
        ends, self._ends = self._ends, None
        for end in ends or ():
            end.close()

    def _exchange(self, points: Sequence[Point]) -> Generator[Wait, None, Response]:
        exchange = super()._exchange(points)
        while True:
            try:
                wait = next(exchange)
            except StopIteration as ended:
                response: Response = ended.value
                return response
            if wait.kind != "response":
                yield wait
                continue
            self._ends = self._ends or socket.socketpair()
            is_answered = False
            while not is_answered:
                is_answered = wait.ready()  # an answer that comes after the cut does not arrive
                if self._is_cut():
                    exchange.close()
                    raise ConnectionResetError("the connection was shut down")
                if not is_answered:
                    yield replace(wait, seconds=POLL)

    def _is_cut(self) -> bool:
        assert self._ends is not None
        try:
            return self._ends[0].recv(1, socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
