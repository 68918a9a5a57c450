"""What tests share: sites of made-up distributions, interrupts anywhere, Python in an interpreter of its own."""

from __future__ import annotations

import dis
import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import pytest
from opentelemetry.sdk.version import __version__ as sdk_version

import exporter_core
from exporter_core import instruments
from exporter_core.cli import inspection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import FrameType

    from exporter_core.cli.inspection import CheckResult
    from exporter_core.discovery import PluginEntry

# Started in the background, or by nohup, the tests ignore Ctrl-C or the end of their terminal, and so would every
# program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

CHILD_TIMEOUT = 60.0
UNTIL_SECONDS = 30.0  # ends a failing test, never decides a passing one


GROUP = "exporter_core.exporters.v1"


class Site:
    """A directory of installed distributions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def path(self) -> list[str]:
        return [str(self.folder)]

    def install(
        self,
        name: str,
        points: str | bytes | None = None,
        *,
        version: str = "1.0",
        metadata: bool = True,
        suffix: str = "dist-info",
    ) -> Path:
        """Add a distribution; ``points`` is the text of its entry_points.txt."""
        info = self.folder / f"{name.replace('-', '_')}-{version}.{suffix}"
        info.mkdir()
        if metadata:
            file = "METADATA" if suffix == "dist-info" else "PKG-INFO"
            info.joinpath(file).write_text(
                f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nSummary: What {name} is for\n\nSummary: no\n"
            )
        if points is not None:
            info.joinpath("entry_points.txt").write_bytes(points if isinstance(points, bytes) else points.encode())
        return info

    def exporter(self, distribution: str, *lines: str, group: str = GROUP, **options: object) -> Path:
        """Add a distribution with these lines (or names) in the exporters' group."""
        rows = [line if "=" in line else f"{line} = {distribution.replace('-', '_')}:Exporter" for line in lines]
        return self.install(distribution, "\n".join([f"[{group}]", *rows, ""]), **options)  # type: ignore[arg-type]

    def uninstall(self, info: Path) -> None:
        shutil.rmtree(info)

    def settle(self, *, age: float = 3600.0) -> None:
        """Let the file system's clock tick past every change, and make the directories look long installed."""
        then = time.time() - age
        for folder in [*self.folder.iterdir(), self.folder]:
            if folder.is_dir():
                os.utime(folder, (then, then))
        tick(self.folder.parent)


def tick(folder: Path) -> None:
    """Return when a change made from here on has another time than every change made before."""
    probe = folder / ".tick"
    probe.write_text("")
    before = probe.stat().st_ctime_ns
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        probe.write_text("")
        if probe.stat().st_ctime_ns > before:
            probe.unlink()
            return
    raise TimeoutError("the file system's clock does not tick")


@pytest.fixture(scope="session")
def clock_tick():
    """The function :func:`tick`."""
    return tick


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def other_site(tmp_path: Path) -> Site:
    return Site(tmp_path / "other")


_INSPECTED: dict[tuple[PluginEntry, bool], CheckResult] = {}


@pytest.fixture
def inspected_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands look into an installed exporter once in all: each look is a process, and what is installed stays."""
    look = inspection.check_all

    def check_all(
        entries: Iterable[PluginEntry], *, path: Sequence[str] | None = None, build: bool = False, **options: Any
    ) -> list[CheckResult]:
        wanted = list(entries)
        if path is not None:
            return look(wanted, path=path, build=build, **options)
        unknown = [entry for entry in wanted if (entry, build) not in _INSPECTED]
        found = dict(zip(unknown, look(unknown, build=build, **options), strict=True))
        for entry, result in found.items():
            if result.ok and Path(sys.prefix) in Path(entry.location).parents:
                _INSPECTED[entry, build] = result
        return [found[entry] if entry in found else _INSPECTED[entry, build] for entry in wanted]

    monkeypatch.setattr(inspection, "check_all", check_all)


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
        gc.disable()  # what it calls for garbage of other tests would be traced, too, and its interrupt be lost there
        sys.settrace(self._call)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        sys.settrace(None)
        gc.enable()
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
def sdk_with_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """An SDK that has cardinality limits, whichever is installed."""
    monkeypatch.setattr("exporter_core.instruments.NO_CARDINALITY_LIMITS", "")


@pytest.fixture
def sdk_without_limits(monkeypatch: pytest.MonkeyPatch) -> str:
    """An SDK without cardinality limits, whichever is installed; its version."""
    version = sdk_version if instruments.NO_CARDINALITY_LIMITS else "1.45.1"
    reason = f"OpenTelemetry SDK {version} does not have it; 1.45.2 does"
    monkeypatch.setattr("exporter_core.instruments.NO_CARDINALITY_LIMITS", reason)
    monkeypatch.setattr("exporter_core.reader.collection.NO_CARDINALITY_LIMITS", reason)
    return version


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
