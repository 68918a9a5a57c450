"""Every clause as a Markdown page: ``make clauses`` writes docs/clauses.md with it."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from exporter_core.conformance.clause import FAMILIES, TECHNIQUES, Clause, clauses, in_order
from exporter_core.conformance.readers import reader_clauses
from exporter_core.conformance.sdk import SPECIFICATION
from exporter_core.contract import CONTRACT_VERSION
from kit.mutants import MUTANTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_HEAD = """\
# The clauses of the exporter contract

What [the checker](conformance.md) checks: {count} clauses of contract version {contract}, {levels}; and {readers} about
readers, which `--readers` checks. `make clauses` writes this page from the clauses themselves; `exporter-core check
--explain ID` says the same of one.

MUST decides whether an exporter is conformant, SHOULD does so under `--strict`, INFO never. † follows from the contract
without standing in it. ‡ is Python hygiene, which never decides. Identifiers are never reused or renumbered.

**Technique**:

{techniques}

**Canary**: the fault with which the clause runs again on the exporter that passed, and has to fail. **Mutants**: the
exporters, wrong on purpose, that the checker's own tests hold the clause to.
"""


def catalogue() -> str:
    """The page."""
    found = in_order(clauses())
    readers = in_order(reader_clauses())
    return "\n".join([_head(found, readers), *_table([*found, *readers]), *_families([*found, *readers])])


def _head(found: Sequence[Clause], readers: Sequence[Clause]) -> str:
    levels = Counter(one.level for one in found)
    return _HEAD.format(
        count=len(found),
        contract=CONTRACT_VERSION,
        readers=len(readers),
        levels=", ".join(f"{levels[level]} {level}" for level in ("MUST", "SHOULD", "INFO") if levels[level]),
        techniques="\n".join(f"- *{letter}*: {what}" for letter, what in TECHNIQUES.items()),
    )


def _table(found: Sequence[Clause]) -> Iterator[str]:
    yield "| clause | level | promise |"
    yield "|---|---|---|"
    for one in found:
        yield f"| [{one.id}](#{one.id.lower()}) | {one.mark} | {_cell(one.promise)} |"


def _families(found: Sequence[Clause]) -> Iterator[str]:
    for family, members in groupby(found, lambda one: one.family):
        yield f"\n## {FAMILIES.get(family, family)}"
        for one in members:
            yield f"\n### {one.id}\n"
            yield f"**{one.promise}** ({one.mark}, since contract version {one.since})\n"
            yield f"> {one.words}\n"
            yield "| | |\n|---|---|"
            yield from (f"| {name} | {_cell(value)} |" for name, value in _rows(one).items() if value)
    yield ""


def _rows(one: Clause) -> dict[str, str]:
    sentence = SPECIFICATION.get(one.id)
    mutants = [mutant.exporter.__name__ for mutant in MUTANTS if mutant.clause == one.id]
    return {
        "how": one.how,
        "technique": f"*{one.technique}*: {TECHNIQUES[one.technique]}",
        "OpenTelemetry": f"{sentence.text} ([specification]({sentence.url}))" if sentence else "",
        "what to check": one.check,
        "needs of the harness": ", ".join(f"`{name}`" for name in (*one.needs, *one.faults)),
        "builds on": ", ".join(f"[{name}](#{name.lower()})" for name in one.after),
        "canary": one.fault or "static: it rests on the mutants",
        "mutants": ", ".join(f"`{name}`" for name in mutants),
    }


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(catalogue())
