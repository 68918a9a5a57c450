"""INT: the shape of an exporter, and how it is registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.conformance.clause import clause
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError
from exporter_core.errors import ContractError
from exporter_core.guard import verify

if TYPE_CHECKING:
    from exporter_core.conformance.case import Case


@clause(
    "INT-01",
    "MUST",
    "the operations fit the frozen contract",
    words="The five operations. An implementation may take a leading part of an operation's parameters.",
    technique="T",
    check="names and parameters of temporality, aggregation, export, force_flush and shutdown",
    canary=None,
)
def operations(case: Case) -> None:
    """Run the verifier of plugins over the class: it finds nothing."""
    try:
        verify(case.subject.exporter_class)
    except ContractError as error:
        raise Failed("the five operations with the contract's parameters", str(error).splitlines()[0]) from error
    case.observe("the five operations have the contract's names and parameters")


@clause(
    "INT-02",
    "MUST",
    "registered under a contract version that this core supports",
    words="The group carries the contract's major version.",
    technique="T",
    check="the entry-point group in pyproject.toml: exporter_core.exporters.v1",
    canary=None,
)
def version(case: Case) -> None:
    """Look at the entry point's group: it names a supported version."""
    entry = case.subject.entry
    if entry is None:
        raise VerdictError(Verdict.NOT_APPLICABLE, "a class that no entry point registers")
    if case.subject.of_the_sdk:
        raise VerdictError(Verdict.NOT_APPLICABLE, f"an exporter of the OpenTelemetry SDK, in the group {entry.group}")
    if not entry.supported:
        raise Failed("an entry point of the group exporter_core.exporters.v1", f"the group is {entry.group}")
    case.observe(f"registered in the group {entry.group}")
