"""Reports every instruction that a scheduled thread is about to execute in the subject's code."""

from __future__ import annotations

import dis
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType, FrameType

    from exporter_core.conformance.scheduler.subjects import Interruptible

_TELLING: Final = frozenset(
    {
        *("STORE_ATTR", "STORE_SUBSCR", "STORE_GLOBAL", "STORE_SLICE"),
        *("DELETE_ATTR", "DELETE_SUBSCR", "DELETE_GLOBAL"),
        "BEFORE_WITH",
    }
)


class Site:
    """An instruction that writes to what another thread may see, or enters a with block, where locks are taken.

    Races are found there more often than elsewhere, however often the code runs round them.
    """

    __slots__ = ()


@cache
def _sites_of(code: CodeType) -> dict[int, Site]:
    """The sites of a code object by their offsets, the same ones each time."""
    return {one.offset: Site() for one in dis.get_instructions(code) if one.opname in _TELLING}


class Instructions:
    """Calls back on the executing thread, with the site if it is one; an error of the callback is raised there."""

    def start(self) -> None:
        """Begin, for the process."""

    def stop(self) -> None:
        """End, and leave nothing behind."""

    def watch(self, frames: Iterable[FrameType]) -> None:
        """Report what is executed from here on, also in these frames, whose threads wait, and in those below them."""

    def rest(self) -> None:
        """Report no more until :meth:`watch`, where that saves time."""

    def enter(self) -> None:
        """Begin, for the calling thread."""

    def leave(self) -> None:
        """End, for the calling thread."""


def watch_instructions(interruptible: Interruptible, callback: Callable[[Site | None], None]) -> Instructions:
    """The way this version of Python has."""
    if sys.version_info >= (3, 12):
        return _Monitoring(interruptible, callback)
    return _Tracing(interruptible, callback)


class _Tracing(Instructions):
    """``sys.settrace`` with opcode events: per thread, so other threads see nothing of it."""

    def __init__(self, interruptible: Interruptible, callback: Callable[[Site | None], None]) -> None:
        self._interruptible = interruptible
        self._watching = False
        tracers: dict[int, Any] = {}  # by the code's id: hashing one for each call is too slow

        def tracer_of(code: CodeType) -> object:
            sites = _sites_of(code)

            def on_event(frame: FrameType, event: str, argument: object) -> object:  # noqa: ARG001 - the hook's signature
                if event == "opcode":
                    callback(sites.get(frame.f_lasti))
                return on_event

            return on_event

        def on_call(frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG001 - the hook's signature
            code = frame.f_code
            if not self._watching or not interruptible(code):
                return None
            frame.f_trace_lines = False
            frame.f_trace_opcodes = True
            tracer = tracers.get(id(code))
            if tracer is None:
                tracer = tracers[id(code)] = tracer_of(code)
            return tracer

        self._on_call = on_call

    def watch(self, frames: Iterable[FrameType]) -> None:
        self._watching = True
        for top in frames:
            frame: FrameType | None = top
            while frame is not None:
                if frame.f_trace is None:  # it began while nobody watched
                    frame.f_trace = self._on_call(frame, "call", None)
                frame = frame.f_back

    def rest(self) -> None:
        self._watching = False

    def enter(self) -> None:
        sys.settrace(self._on_call)

    def leave(self) -> None:
        sys.settrace(None)


if sys.version_info >= (3, 12):

    class _Monitoring(Instructions):
        """``sys.monitoring``: instruction events of the subject's code objects alone, found when they first start.

        The callback asks which thread it is on.
        """

        _CANDIDATES = (4, 3, 5, 2, 1, 0)  # those that the documentation gives to debuggers and coverage come last

        def __init__(self, interruptible: Interruptible, callback: Callable[[Site | None], None]) -> None:
            self._interruptible = interruptible
            self._callback = callback
            self._tool = -1
            self._watched: list[CodeType] = []

        def start(self) -> None:
            monitoring = sys.monitoring
            free = [tool for tool in self._CANDIDATES if monitoring.get_tool(tool) is None]
            if not free:
                raise RuntimeError("no tool id of sys.monitoring is free: end the debugger, profiler or coverage tool")
            tool = self._tool = free[0]
            monitoring.use_tool_id(tool, "exporter-core scheduler")
            events = monitoring.events
            disable, watched, callback = monitoring.DISABLE, self._watched, self._callback
            interruptible = self._interruptible
            sites: dict[int, dict[int, Site]] = {}  # by the code object's id: hashing one for each event is too slow

            def on_start(code: CodeType, offset: int) -> object:  # noqa: ARG001 - the hook's signature
                if interruptible(code):
                    watched.append(code)
                    sites[id(code)] = _sites_of(code)
                    monitoring.set_local_events(tool, code, events.INSTRUCTION)
                return disable

            def on_instruction(code: CodeType, offset: int) -> None:
                callback(sites[id(code)].get(offset))

            monitoring.register_callback(tool, events.PY_START, on_start)
            monitoring.register_callback(tool, events.INSTRUCTION, on_instruction)
            monitoring.set_events(tool, events.PY_START)
            monitoring.restart_events()  # what an earlier schedule has disabled

        def stop(self) -> None:
            monitoring, tool = sys.monitoring, self._tool
            monitoring.set_events(tool, 0)
            for code in self._watched:
                monitoring.set_local_events(tool, code, 0)
            monitoring.register_callback(tool, monitoring.events.PY_START, None)
            monitoring.register_callback(tool, monitoring.events.INSTRUCTION, None)
            monitoring.free_tool_id(tool)
