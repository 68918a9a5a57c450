"""``conformance_suite``: the clauses as pytest items, one each, for an exporter's own tests.

The checker runs once in a run of pytest, for the first item; all items read that report, in every process of
pytest-xdist. With its ``--dist loadscope`` one process runs all items of a suite, and no other waits for it.
"""

from __future__ import annotations

import fcntl
import os
import pickle
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

import pytest

from exporter_core.conformance.clause import select
from exporter_core.conformance.report.text import result_text
from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.verdicts import POINTS, SCHEDULES, Report, Settings, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from exporter_core.conformance.subject import Mode


def conformance_suite(
    target: str,
    *,
    accepted: Mapping[str, tuple[str, str]] | None = None,
    modes: Sequence[Mode] = ("raw",),
    clauses: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    sink: str | None = None,
    schedules: int = SCHEDULES,
    points: int = POINTS,
) -> type:
    """A test class with one item for each clause and mode.

    ``TestMine = conformance_suite("mine")`` in a test module is all that an exporter needs.

    An item fails unless its clause passes, or has the verdict that is accepted for it; an accepted verdict that is
    not the clause's any more fails as well, so that the list stays true. A subclass may add tests of its own that use
    the fixture ``report``, the :class:`~exporter_core.conformance.Report` of all items.

    Args:
        target: the exporter's name, or ``module:Class``; its harness comes from the entry point.
        accepted: expected verdicts other than PASS, by pattern of clause identifiers, each with its reason. The first
            pattern that fits decides.
        modes: raw, guarded, or both.
        clauses: patterns of the clauses to run; all of them unless given.
        options: the exporter's options, which go before those of its harness.
        sink: a sink of the checker's that the options point at, instead of a harness.
        schedules: how many seeds each scheduled clause tries; fewer are faster, and find less.
        points: the points of the largest batch; fewer are faster, and find less.

    Raises:
        ValueError: no clause is selected, or ``accepted`` names a clause or a verdict that there is not.
    """
    exceptions = {pattern: (Verdict(verdict), reason) for pattern, (verdict, reason) in (accepted or {}).items()}
    chosen = select(clauses)
    if not chosen:
        raise ValueError(f"no clause matches {' '.join(clauses)}")
    for pattern in exceptions:
        if not any(fnmatchcase(one.id, pattern) for one in select()):
            raise ValueError(f"accepted: no clause matches {pattern!r}")
    key = repr((target, clauses, modes, options, sink, schedules, points))
    reports: list[Report] = []

    def run() -> Report:
        settings = Settings(schedules=schedules, points=points)
        return check(target, patterns=clauses, modes=modes, options=options, sink=sink, settings=settings)

    class TestConformance:
        """The clauses of the exporter contract."""

        @pytest.fixture
        def report(self, tmp_path_factory: pytest.TempPathFactory) -> Report:
            """The results of all clauses."""
            if not reports:
                reports.append(_shared_report(tmp_path_factory, key, run))
            return reports[0]

        @pytest.mark.parametrize(
            ("clause", "mode"),
            [pytest.param(one.id, mode, id=f"{one.id}-{mode}") for one in chosen for mode in modes],
        )
        def test_clause(self, report: Report, clause: str, mode: str) -> None:
            wanted, reason = next(
                (value for pattern, value in exceptions.items() if fnmatchcase(clause, pattern)),
                (Verdict.PASS, ""),
            )
            if report.run(clause, mode).verdict != wanted:
                accepted = [f"  accepted   {wanted}: {reason}"] if reason else []
                pytest.fail("\n".join([*result_text(report, clause, mode), *accepted]), pytrace=False)

    TestConformance.__name__ = TestConformance.__qualname__ = f"TestConformance[{target}]"
    return TestConformance


def _shared_report(factory: pytest.TempPathFactory, key: str, make: Callable[[], Report]) -> Report:
    """The report that belongs to the key in this run of pytest; the first process makes it, others wait and read it.

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
