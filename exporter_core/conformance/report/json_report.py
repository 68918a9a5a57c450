"""The report as JSON: everything that was seen. ``schema.json`` beside this module describes it."""

from __future__ import annotations

import json
import platform
import shlex
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

from exporter_core import __version__
from exporter_core.conformance.clause import Clause, in_order
from exporter_core.conformance.report.conclusion import conclude
from exporter_core.conformance.sdk import SPECIFICATION
from exporter_core.contract import CONTRACT_VERSION

if TYPE_CHECKING:
    from exporter_core.conformance.run.verdicts import Report

FORMAT = 1
"""The version of the report's format."""


def as_json(report: Report, *, strict: bool = False) -> dict[str, Any]:
    """The report as values that JSON has. A clause without a result, in a report that broke off, has none here."""
    whole = conclude(report, strict=strict)
    return {
        "format": FORMAT,
        "kit_version": __version__,
        "contract_version": CONTRACT_VERSION,
        "python_version": platform.python_version(),
        "target": report.target,
        "origin": report.origin,
        "tier": report.tier,
        "modes": list(report.modes),
        "seed": report.settings.seed,
        "seconds": report.seconds,
        "strict": strict,
        "stopped": report.stopped,
        "of_the_sdk": report.of_the_sdk,
        "conclusion": {
            "sentence": whole.sentence,
            "exit_code": whole.exit_code,
            **{mode: conclude(report, mode, strict=strict).sentence for mode in report.modes},
            "exit_codes": {mode: conclude(report, mode, strict=strict).exit_code for mode in report.modes},
        },
        "clauses": [
            {
                **clause_as_json(one),
                "results": {
                    mode: {
                        **{name: value for name, value in vars(run).items() if name not in ("id", "mode")},
                        "verdict": str(run.verdict),
                        "reproduce": reproduce(report, one.id, mode),
                    }
                    for mode in report.modes
                    if (run := report.runs.get((one.id, mode))) is not None
                },
            }
            for one in in_order(report.clauses)
        ],
    }


def clause_as_json(clause: Clause) -> dict[str, Any]:
    """A clause as values that JSON has."""
    sentence = SPECIFICATION.get(clause.id)
    return {
        "id": clause.id,
        "level": clause.level,
        "derived": clause.derived,
        "hygiene": clause.hygiene,
        "since": clause.since,
        "promise": clause.promise,
        "words": clause.words,
        "technique": clause.technique,
        "how": clause.how,
        "check": clause.check,
        "canary": clause.fault,
        "after": list(clause.after),
        "specification": sentence and sentence._asdict(),
    }


def reproduce(report: Report, clause: str, mode: str) -> str:
    """The command that runs this clause again, from the seed that shows a failure; secrets are masked in it."""
    if report.readers:
        return shlex.join(["exporter-core", "check", "--readers", "--clause", clause])
    run = report.runs.get((clause, mode))
    seed = report.settings.seed if run is None or run.seed is None else run.seed
    words = ["exporter-core", "check", report.target, "--clause", clause, f"--{mode}", "--seed", seed]
    if run is not None and run.shown_by:
        words += ["--clause", run.shown_by]
    if report.harness:
        words += ["--harness", report.harness]
    if report.sink:
        words += ["--sink", report.sink]
    if report.options:
        words += ["--config", json.dumps(dict(report.options))]
    return shlex.join(map(str, words))


def seen_at(seen: str, where: str) -> str:
    """The words for what was seen, with its place, in one line."""
    return f"{seen} ({where})" if where else seen


def json_schema() -> dict[str, Any]:
    """The JSON Schema of :func:`as_json`."""
    text = resources.files(__package__ or "").joinpath("schema.json").read_text(encoding="utf-8")
    return cast("dict[str, Any]", json.loads(text))
