"""The messages between a pool and its workers, and their one codec: a line of JSON for each.

JSON rather than pickle, since a worker runs the exporter's code, and lines rather than lengths, since it may die at any
moment: what it wrote before is whole lines and a rest that is not read.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from exporter_core.conformance.run.verdicts import Run, Settings, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class WorkerSetup:
    """To a worker, first: the exporter, or the reader, and how to run its clauses."""

    target: str
    settings: Settings
    mode: str = ""
    readers: bool = False
    """True if the target is a reader, which ``mode`` names."""
    first: bool = False
    """True for the first worker of a mode, which builds the exporter once before any clause."""
    path: tuple[str, ...] = ()
    """The import path of the process that checks, which pytest may have extended."""
    options: Mapping[str, Any] | None = None  # Any: the exporter's options
    harness: str | None = None
    sink: str | None = None
    allow_real_backend: bool = False


@dataclass(frozen=True)
class RunClause:
    """To a worker: run this clause."""

    clause: str
    failed: Mapping[str, Verdict]
    """The clauses that did not pass before, which may block this one."""
    never_delivers: bool = False
    """True if nothing of any export arrived before."""
    canary: bool = True
    """False for a clause that others build on, and that was not asked for."""


@dataclass(frozen=True)
class Ready:
    """From a worker: the exporter is found, and clauses can be run."""

    origin: str | None
    tier: str
    options: Mapping[str, Any] | None = None  # Any: the exporter's options
    """Secrets masked; from the first worker alone."""
    of_the_sdk: bool = False


@dataclass(frozen=True)
class Refused:
    """From a worker: the exporter cannot be found or built."""

    why: str


@dataclass(frozen=True)
class Secrets:
    """From a worker: texts that its output must not be quoted with."""

    texts: tuple[str, ...]


Message: TypeAlias = WorkerSetup | RunClause | Ready | Refused | Secrets | Run

_KINDS: Final = {kind.__name__: kind for kind in (WorkerSetup, RunClause, Ready, Refused, Secrets, Run)}


def encode(message: Message) -> bytes:
    """The message as one line of JSON."""
    return json.dumps([type(message).__name__, asdict(message)]).encode() + b"\n"


def decode(line: bytes | str) -> Message:
    """The message in a line that :func:`encode` has made."""
    kind, values = json.loads(line)
    match kind:  # what JSON has in another form
        case "WorkerSetup":
            values |= {"settings": Settings(**values["settings"]), "path": tuple(values["path"])}
        case "RunClause":
            values["failed"] = {clause: Verdict(verdict) for clause, verdict in values["failed"].items()}
        case "Secrets":
            values["texts"] = tuple(values["texts"])
        case "Run":
            values["verdict"] = Verdict(values["verdict"])
    return _KINDS[kind](**values)
