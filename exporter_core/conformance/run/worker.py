"""The process in which a subject runs: reads what to do from standard input, writes a JSON line for each event.

The first line of the input is the task, each further one a clause; the end of the input is the end of the process. The
lines go to the descriptor given as the first argument, since standard output is the subject's. SIGUSR1 writes the
stacks of all threads to the file given as the second, also while C code holds the interpreter's lock.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter_core.conformance.run.run_clause import Run
    from exporter_core.conformance.run.verdicts import Verdict
    from exporter_core.conformance.subject import Subject


def main() -> int:
    """Run the clauses that standard input names."""
    descriptor, dump = int(sys.argv[1]), Path(sys.argv[2])
    os.set_inheritable(descriptor, False)
    with dump.open("w") as stacks:
        faulthandler.register(signal.SIGUSR1, stacks, all_threads=True)

        own = os.getpid()

        def tell(**event: Any) -> None:  # Any: what JSON can hold
            if os.getpid() != own:
                os._exit(0)  # a child that the subject has forked, and that has come back from there
            os.write(descriptor, json.dumps(event).encode() + b"\n")

        lines = _input()
        _work(json.loads(next(lines)), lines, tell)
    # Threads that a subject has left behind are not to hold up the end.
    os._exit(0)


def _input() -> Iterator[str]:
    """The lines of standard input, which the subject finds empty."""
    own = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    with os.fdopen(own, encoding="utf-8") as lines:
        yield from lines


def _work(task: dict[str, Any], lines: Iterator[str], tell: Callable[..., None]) -> None:  # Any: JSON
    from exporter_core.conformance.run.verdicts import Verdict  # noqa: PLC0415 - after the signal handler is there
    from exporter_core.untrusted import ErrorSnapshot, name_of_type  # noqa: PLC0415 - as above

    try:
        about, run_named = _of_reader(task) if task["readers"] else _of_exporter(task, tell)
    except BaseException as error:  # noqa: BLE001 - a plugin's import may raise anything
        tell(error=ErrorSnapshot.of(error).text.strip() or name_of_type(error))
        return
    tell(subject=about)
    gc.collect()
    gc.freeze()  # what is there by now need not be looked through by every clause that counts what is left
    for line in lines:
        order = json.loads(line)
        tell(begin=order["clause"])
        run = run_named(order["clause"], {name: Verdict(verdict) for name, verdict in order["failed"].items()})
        tell(run=run.as_dict())


_RunNamed: TypeAlias = "Callable[[str, dict[str, Verdict]], Run]"


def _of_exporter(task: dict[str, Any], tell: Callable[..., None]) -> tuple[dict[str, Any], _RunNamed]:  # Any: JSON
    """What there is to say about the exporter, and what runs a clause on it."""
    from exporter_core.conformance.clause import clauses  # noqa: PLC0415 - as above
    from exporter_core.conformance.observe.secret_reporting import Telling  # noqa: PLC0415 - as above
    from exporter_core.conformance.observe.sink_option import in_texts  # noqa: PLC0415 - as above
    from exporter_core.conformance.run.run_clause import Settings, run_clause  # noqa: PLC0415 - as above
    from exporter_core.conformance.run.trial_build import rehearse  # noqa: PLC0415 - as above
    from exporter_core.conformance.subject import prepare  # noqa: PLC0415 - as above
    from exporter_core.masking import masker_for  # noqa: PLC0415 - as above

    sys.path += [one for one in task.get("path", ()) if one not in sys.path]  # pytest's has the folders of tests
    known = {one.id: one for one in clauses()}
    subject, settings = Telling.of(_subject(task), lambda secrets: tell(secrets=secrets)), Settings(**task["settings"])
    if task["mode"] == "raw":
        prepare()
    entry = subject.entry
    about = {
        "origin": None if entry is None else f"{entry.distribution} {entry.version}",
        "tier": "none" if subject.harness is None else subject.harness.tier,
    }
    if task["first"]:
        about["options"] = in_texts(task["options"], masker_for(rehearse(subject)))
    return about, lambda name, failed: run_clause(known[name], subject, task["mode"], settings, failed)


def _of_reader(task: dict[str, Any]) -> tuple[dict[str, Any], _RunNamed]:  # Any: JSON
    """The same for a reader."""
    from exporter_core.conformance.readers import reader_clauses, run_reader_clause  # noqa: PLC0415 - as above
    from exporter_core.conformance.run.run_clause import Settings  # noqa: PLC0415 - as above

    known, settings = {one.id: one for one in reader_clauses()}, Settings(**task["settings"])
    about = {"origin": None, "tier": "probe"}
    return about, lambda name, _failed: run_reader_clause(known[name], task["mode"], settings)


def _subject(task: dict[str, Any]) -> Subject:  # Any: JSON
    from exporter_core.conformance.observe.sink_option import pointed  # noqa: PLC0415 - as above
    from exporter_core.conformance.subject import resolve  # noqa: PLC0415 - as above
    from exporter_core.errors import SetupError  # noqa: PLC0415 - as above

    options, allowed = task["options"], task["allow_real_backend"]
    if task["sink"] is not None:
        return resolve(task["target"], harness=pointed(task["sink"], options))
    harness = _imported(task["harness"]) if task["harness"] else None
    subject = resolve(task["target"], options=options, harness=harness)
    if allowed:
        return subject
    if subject.harness is not None and subject.harness.real:
        raise SetupError(
            f"the harness of {task['target']!r} points at a real backend, and the checker duplicates and corrupts "
            "data: give --allow-real-backend if that is meant"
        )
    if subject.harness is None and options:
        raise SetupError(
            f"{task['target']!r} has no harness, and its options may point at a real backend, to which the checker "
            "would send made-up data: point it at a sink with --sink, or give --allow-real-backend"
        )
    return subject


def _imported(value: str) -> Any:  # Any: what the text names
    from importlib import import_module  # noqa: PLC0415 - only for a harness that is named

    from exporter_core.errors import SetupError  # noqa: PLC0415 - as above

    module, _, name = value.partition(":")
    try:
        return getattr(import_module(module), name)
    except Exception as error:
        raise SetupError(f"the harness cannot be imported from {value!r}: {type(error).__name__}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
