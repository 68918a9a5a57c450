"""Being told of every instruction that a scheduled thread is about to execute in the subject's code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from exporter_core.conformance.scheduler.subjects import Interruptible

__all__ = ["Instructions", "watch_instructions"]


class Instructions(Protocol):
    """Calls back on the executing thread; what the callback raises is raised at the instruction."""

    def start(self) -> None:
        """Begin, for the process."""
        ...

    def stop(self) -> None:
        """End, and leave nothing behind."""
        ...

    def enter(self) -> None:
        """Begin, for the calling thread."""
        ...

    def leave(self) -> None:
        """End, for the calling thread."""
        ...


def watch_instructions(interruptible: Interruptible, callback: Callable[[], None]) -> Instructions:
    """The way this version of Python has."""
    if sys.version_info >= (3, 12):
        return _Monitoring(interruptible, callback)
    return _Tracing(interruptible, callback)


class _Tracing:
    """``sys.settrace`` with opcode events: per thread, so other threads see nothing of it."""

    def __init__(self, interruptible: Interruptible, callback: Callable[[], None]) -> None:
        def on_event(frame: FrameType, event: str, argument: object) -> object:  # noqa: ARG001 - the hook's signature
            if event == "opcode":
                callback()
            return on_event

        def on_call(frame: FrameType, event: str, argument: object) -> object:  # noqa: ARG001 - the hook's signature
            if not interruptible(frame.f_code):
                return None
            frame.f_trace_lines = False
            frame.f_trace_opcodes = True
            return on_event

        self._on_call = on_call

    def start(self) -> None:
        """Nothing: it is a matter of each thread."""

    def stop(self) -> None:
        """Nothing: it is a matter of each thread."""

    def enter(self) -> None:
        sys.settrace(self._on_call)  # type: ignore[arg-type]  # a trace function that may return None is typed otherwise

    def leave(self) -> None:
        sys.settrace(None)


if sys.version_info >= (3, 12):

    class _Monitoring:
        """``sys.monitoring``: instruction events of the subject's code objects alone, found when they first start."""

        _CANDIDATES = (4, 3, 5, 2, 1, 0)  # those that the documentation gives to debuggers and coverage come last

        def __init__(self, interruptible: Interruptible, callback: Callable[[], None]) -> None:
            self._interruptible = interruptible
            self._callback = callback
            self._tool = -1
            self._watched: list[CodeType] = []

        def start(self) -> None:
            monitoring = sys.monitoring
            for tool in self._CANDIDATES:
                if monitoring.get_tool(tool) is None:
                    break
            else:
                raise RuntimeError("no tool id of sys.monitoring is free: end the debugger, profiler or coverage tool")
            self._tool = tool
            monitoring.use_tool_id(tool, "exporter-core scheduler")
            events = monitoring.events
            disable, watched, callback = monitoring.DISABLE, self._watched, self._callback
            interruptible = self._interruptible

            def on_start(code: CodeType, offset: int) -> object:  # noqa: ARG001 - the hook's signature
                if interruptible(code):
                    watched.append(code)
                    monitoring.set_local_events(tool, code, events.INSTRUCTION)
                return disable

            def on_instruction(code: CodeType, offset: int) -> None:  # noqa: ARG001 - the hook's signature
                callback()

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

        def enter(self) -> None:
            """Nothing: the callback asks which thread it is on."""

        def leave(self) -> None:
            """Nothing: the callback asks which thread it is on."""
