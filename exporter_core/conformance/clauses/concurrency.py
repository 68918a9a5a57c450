"""CON: what the contract asks of nobody, and what an exporter's author may want to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.conformance.clause import clause
from exporter_core.conformance.clauses.canary import HoldsUntilFlush
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError
from exporter_core.conformance.scheduled import exercised

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.rounds import Round
    from exporter_core.context import Context


class LosesUpdate(HoldsUntilFlush):
    """Holds batches, and adds each to the list as it was when the export began."""

    seed = 1

    def export(self, context: Context, metrics: MetricsData) -> object:  # noqa: ARG002 - it is only held
        held = self.held
        self.between()
        self.held = [*held, metrics]
        return None


@clause(
    "CON-01",
    "INFO",
    "two exports at once",
    words="Called by one caller at a time.",
    technique="P",
    check="nothing, unless several callers use it without a guard: then export under a lock",
    canary=LosesUpdate,
    after=("EXP-01", "EXP-03", "SHD-01"),
    needs=("read_back",),
)
def two_exports(case: Case) -> None:
    """Run two exports at once, then a flush and a shutdown: both batches arrive once."""

    def scenario(one: Round) -> None:
        exporter = one.exporter()
        batches = [case.batch(1) for _ in range(2)]
        exports = [one.export(exporter, batch) for batch in batches]
        one.beside(*([export] for export in exports))
        one.alone(one.flush(exporter), one.shutdown(exporter))
        for export in exports:
            case.succeeded(export)
        one.delivered(*batches, expected="both arrive once")

    try:
        exercised(case, scenario, "two exports at once both arrived")
    except Failed as error:
        if case.canary is not None:
            raise
        # The contract has one caller at a time: this is no failure.
        raise VerdictError(
            Verdict.NOT_APPLICABLE,
            f"the contract has one export at a time; of two at once: {error.seen}",
            error.expected,
        ) from error
