"""One report for all processes of a pytest run: the first that asks makes it, the others wait for it and read it."""

from __future__ import annotations

import fcntl
import os
import pickle
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from exporter_core.conformance.run.verdicts import Report


def shared_report(factory: pytest.TempPathFactory, key: str, make: Callable[[], Report]) -> Report:
    """The report that belongs to the key in this run of pytest.

    Args:
        factory: pytest's; the temporary folders of pytest-xdist's workers lie in one folder of their run.
        key: what tells this report from others.
        make: makes it. What it raises is raised in the process that made it; another one tries again.
    """
    base = factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    path = folder / f"conformance-{sha256(key.encode()).hexdigest()[:16]}"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the end of a process gives it back
        if not path.exists():
            report = make()
            _write(path, pickle.dumps(report))
            return report
    found: Report = pickle.loads(path.read_bytes())  # noqa: S301 - as above
    return found


def _write(path: Path, data: bytes) -> None:
    whole = path.with_suffix(".new")
    whole.write_bytes(data)
    whole.replace(path)
