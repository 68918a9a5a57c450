"""The process in which a subject runs: reads what to do from standard input, writes a JSON line for each event.

The lines go to the descriptor given as the first argument, since standard output is the subject's. SIGUSR1 writes the
stacks of all threads to the file given as the second, also while C code holds the interpreter's lock.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main() -> int:
    """Run the clauses that standard input names."""
    descriptor, dump = int(sys.argv[1]), Path(sys.argv[2])
    os.set_inheritable(descriptor, False)
    with dump.open("w") as stacks:
        faulthandler.register(signal.SIGUSR1, stacks, all_threads=True)
        task: dict[str, Any] = json.loads(sys.stdin.read())

        def tell(**event: Any) -> None:  # Any: what JSON can hold
            os.write(descriptor, json.dumps(event).encode() + b"\n")

        _work(task, tell)
    # Threads that a subject has left behind are not to hold up the end.
    os._exit(0)


def _work(task: dict[str, Any], tell: Any) -> None:  # Any: a function of keywords
    from exporter_core.conformance.clause import clauses  # noqa: PLC0415 - after the signal handler is there
    from exporter_core.conformance.running import Settings, run_clause  # noqa: PLC0415 - as above
    from exporter_core.conformance.subject import prepare, resolve  # noqa: PLC0415 - as above
    from exporter_core.conformance.verdicts import Verdict  # noqa: PLC0415 - as above

    known = {one.id: one for one in clauses()}
    try:
        harness = _imported(task["harness"]) if task["harness"] else None
        subject = resolve(task["target"], options=task["options"], harness=harness)
        if subject.harness is None:
            subject.validate()
        if subject.harness is not None and subject.harness.real and not task["allow_real_backend"]:
            tell(
                error=f"the harness of {task['target']!r} points at a real backend, and the checker duplicates and "
                "corrupts data: give --allow-real-backend if that is meant"
            )
            return
    except BaseException as error:  # noqa: BLE001 - a plugin's import may raise anything
        tell(error=str(error).strip() or type(error).__name__)
        return
    entry = subject.entry
    tell(
        subject={
            "origin": None if entry is None else f"{entry.distribution} {entry.version}",
            "tier": "none" if subject.harness is None else subject.harness.tier,
        }
    )
    if task["mode"] == "raw":
        prepare()
    settings = Settings(**task["settings"])
    failed = {name: Verdict(verdict) for name, verdict in task["failed"].items()}
    for name in task["clauses"]:
        tell(begin=name)
        run = run_clause(known[name], subject, task["mode"], settings, failed)
        if run.verdict is not Verdict.PASS:
            failed[name] = run.verdict
        tell(run=run.as_dict())
        if run.tainted:
            return  # something goes on in this process: the rest belongs in another one


def _imported(value: str) -> Any:  # Any: what the text names
    from importlib import import_module  # noqa: PLC0415 - only for a harness that is named

    module, _, name = value.partition(":")
    return getattr(import_module(module), name)


if __name__ == "__main__":
    sys.exit(main())
