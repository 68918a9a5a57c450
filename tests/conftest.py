"""What the tests share: one Hypothesis profile, a small heap, and running Python in an interpreter of its own."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from pathlib import Path

# How long an example takes depends on what else the machine does; the time-out of the whole test is bound enough.
settings.register_profile("exporter-core", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("exporter-core")

# Started in the background, or by nohup, the tests ignore Ctrl-C or the end of their terminal, and so would every
# program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

CHILD_TIMEOUT = 60.0


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
