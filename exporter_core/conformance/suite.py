"""``conformance_suite``: the clauses as pytest items, one each, for an exporter's own tests.

The checker runs once in each test process, when the first item asks; all items read that report.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest

from exporter_core.conformance.clause import select
from exporter_core.conformance.engine import check
from exporter_core.conformance.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exporter_core.conformance.engine import Report
    from exporter_core.conformance.subject import Mode

__all__ = ["conformance_suite"]


def conformance_suite(
    target: str,
    *,
    accepted: Mapping[str, tuple[str, str]] | None = None,
    modes: Sequence[Mode] = ("raw",),
    clauses: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> type:
    """A test class with one item for each clause and mode.

    ``TestMine = conformance_suite("mine")`` in a test module is all that an exporter needs.

    An item fails unless its clause passes, or has the verdict that is accepted for it; an accepted verdict that is
    not the clause's any more fails as well, so that the list stays true.

    Args:
        target: the exporter's name, or ``module:Class``; its harness comes from the entry point.
        accepted: what need not pass: by pattern of clause identifiers, the verdict and the reason for it.
        modes: raw, guarded, or both.
        clauses: patterns of the clauses to run; all of them unless given.
        options: the exporter's options, which go before those of its harness.
    """
    exceptions = dict(accepted or {})
    reports: list[Report] = []

    def report() -> Report:
        if not reports:
            reports.append(check(target, patterns=clauses, modes=modes, options=options))
        return reports[0]

    items = [pytest.param(one.id, mode, id=f"{one.id}-{mode}") for one in select(clauses) for mode in modes]

    class TestConformance:
        """The clauses of the exporter contract."""

        @pytest.mark.parametrize(("clause", "mode"), items)
        def test_clause(self, clause: str, mode: str) -> None:
            run = report().run(clause, mode)
            wanted, reason = next(
                (value for pattern, value in exceptions.items() if fnmatchcase(clause, pattern)),
                (Verdict.PASS, ""),
            )
            if run.verdict != wanted:
                expected = f"accepted as {wanted} ({reason})" if reason else run.expected
                pytest.fail(
                    f"{clause} {mode}: {run.verdict}\n  expected: {expected}\n  seen: {run.seen}\n"
                    f"  reproduce: exporter-core check {target} --clause {clause} --{mode} "
                    f"--seed {report().settings.seed}\n{run.dump}",
                    pytrace=False,
                )

    TestConformance.__name__ = TestConformance.__qualname__ = f"TestConformance[{target}]"
    return TestConformance
