"""One report for all processes of a pytest run: the first that needs it makes it, the others wait and read it."""

from __future__ import annotations

import fcntl
import os
import pickle
from hashlib import sha256
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from exporter_core.conformance.run.verdicts import Report


def shared_report(factory: pytest.TempPathFactory, key: str, make: Callable[[], Report]) -> Report:
    """The report that belongs to the key in this run of pytest.

    Args:
        factory: pytest's; the temporary folders of pytest-xdist's workers lie in one folder of their run.
        key: identifies the report.
        make: makes it. Its error is raised in the process that called it; another one tries again.
    """
    base = factory.getbasetemp()
    # In a pytest that a worker's test has started, the variable is there and the folder is its own.
    folder = base.parent if base.name == f"popen-{os.environ.get('PYTEST_XDIST_WORKER')}" else base
    path = folder / f"conformance-{sha256(key.encode()).hexdigest()[:16]}"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the end of a process gives it back
        if not path.exists():
            report, whole = make(), path.with_suffix(".new")
            whole.write_bytes(pickle.dumps(report))
            whole.replace(path)
            return report
    return cast("Report", pickle.loads(path.read_bytes()))  # noqa: S301 - written above
