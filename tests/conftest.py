"""What the tests share: one Hypothesis profile, a small heap, and running Python in an interpreter of its own."""

from __future__ import annotations

import dis
import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import pytest
from hypothesis import HealthCheck, settings

import exporter_core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

# How long an example takes depends on what else the machine does; the time-out of the whole test is bound enough.
settings.register_profile("exporter-core", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("exporter-core")

# Started in the background, or by nohup, the tests ignore Ctrl-C or the end of their terminal, and so would every
# program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

CHILD_TIMEOUT = 60.0
UNTIL_SECONDS = 30.0  # ends a failing test, never decides a passing one


def pytest_collection_finish() -> None:
    """What all tests together have imported is not to be looked through by each that collects garbage."""
    gc.collect()
    gc.freeze()


class RunPython(Protocol):
    def __call__(self, code: str, *arguments: str, options: tuple[str, ...] = ()) -> str: ...


@pytest.fixture
def run_python(tmp_path: Path) -> RunPython:
    """Run code in a fresh interpreter in an empty folder; what it printed. A failure shows its standard error."""

    def run(code: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_"))}
        done = subprocess.run(
            [sys.executable, *options, "-c", code, *arguments],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CHILD_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


PACKAGE = str(Path(exporter_core.__file__).parent)

# After these, Python looks whether a signal has come.
LOOKS = {"CALL", "CALL_FUNCTION_EX", "CALL_KW", "RESUME", "JUMP_BACKWARD"}


class _Interrupt:
    """Raises KeyboardInterrupt at the n-th point of our code where this thread can be interrupted."""

    def __init__(self, number: int) -> None:
        self._left = number
        self._last: dict[FrameType, str] = {}
        self._returned: set[FrameType] = set()  # frames that called one of ours, and so have no point at that call
        self.place: str | None = None

    def __enter__(self) -> Self:
        sys.settrace(self._call)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        sys.settrace(None)
        return kind is KeyboardInterrupt and self.place is not None

    def _call(self, frame: FrameType, event: str, argument: object) -> Callable[..., object] | None:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, frame: FrameType, event: str, argument: object) -> Callable[..., object]:
        if event == "return" and frame.f_back is not None:
            self._returned.add(frame.f_back)
        if event == "opcode":
            last = self._last.get(frame, "")
            self._last[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            of_ours = frame in self._returned and last.startswith("CALL")
            self._returned.discard(frame)
            if last in LOOKS and not of_ours:
                self._left -= 1
                if self._left == 0:
                    self.place = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
                    sys.settrace(None)
                    raise KeyboardInterrupt
        return self._step


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Wait for what another thread is about to do, and gives no signal of."""

    def wait(condition: Callable[[], object]) -> None:
        tick, context = threading.Event(), exporter_core.Context.with_timeout(UNTIL_SECONDS)
        while not condition():
            assert not context.done, "the condition never held"
            tick.wait(0.001)

    return wait


@pytest.fixture
def interrupted() -> Callable[..., Iterator[tuple[str, object]]]:
    """Do something once for each point where Ctrl-C can come, until it comes to its end without it."""

    def everywhere(
        begin: Callable[[], tuple[Callable[[], object], Callable[[], object]]],
    ) -> Iterator[tuple[str, object]]:
        """``begin`` makes what is done and what is looked at then; yields each point with that."""
        act, _ = begin()
        with _Interrupt(0):
            act()  # from Python 3.13, a function's opcodes are traced from its second time on
        number = 0
        while True:
            number += 1
            act, look = begin()
            with _Interrupt(number) as interrupt:
                act()
            if interrupt.place is None:
                assert number > 1, "there is no point of ours"
                return
            yield interrupt.place, look()

    return everywhere
