"""Runs an exporter's clauses in worker processes, and goes on when one of them hangs or dies.

The two modes are run side by side. In each, a worker runs one clause after the other; while one is stuck in a clause
that waits, another goes on with the rest. A worker that hangs is asked for the stacks of its threads and killed: the
clause that it was in has failed. The exporter is never imported here.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.clause import select
from exporter_core.conformance.observe.sink_option import in_texts, port_of
from exporter_core.conformance.run.messages import WorkerSetup
from exporter_core.conformance.run.pool import MOST, Pool, Watcher
from exporter_core.conformance.run.verdicts import Report, Run, Settings
from exporter_core.errors import SetupError
from exporter_core.masking import masker_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from exporter_core.conformance.subject import Mode

_LOOK = 0.2  # seconds until a signal's handler is run


def _ignore(*_: object) -> None:
    """Do nothing."""


def check(
    target: str,
    *,
    patterns: Sequence[str] = (),
    modes: Sequence[Mode] = ("raw", "guarded"),
    options: Mapping[str, Any] | None = None,
    harness: str | None = None,
    sink: str | None = None,
    settings: Settings | None = None,
    allow_real_backend: bool = False,
    progress: Callable[[Run], object] = _ignore,
    begun: Callable[[str, str], object] = _ignore,
    stop: threading.Event | None = None,
) -> Report:
    """Check an exporter, each mode in worker processes of its own, side by side.

    Args:
        target: an exporter's name, or ``module:Class``; exporters of the OpenTelemetry SDK as well.
        patterns: which clauses, such as ``"SHD-*"``; all of them unless given.
        modes: raw, guarded, or both.
        options: the exporter's options, which go before those of the harness.
        harness: ``module:Class`` of a harness instead of the registered one.
        sink: a sink of the kit's (``"otlp_http"``, ``"tcp:4000"``) that the options point at instead of a harness, with
            ``{endpoint}``, ``{address}``, ``{host}``, ``{port}`` or ``{path}`` in their texts.
        settings: seed and bounds.
        allow_real_backend: run although the backend is a real one, or may be; no canaries run against a real one.
        progress: called with each result, from any thread.
        begun: called with the clause and the mode of each run that begins, from any thread.
        stop: ends the check when it is set; the report has the results until then.

    Raises:
        SetupError: no clause is selected, the exporter cannot be found or built, or its backend may be a real one.
    """
    chosen = select(patterns)
    if not chosen:
        raise SetupError(f"no clause matches {' '.join(patterns)}; exporter-core check --list shows them all")
    shown = in_texts(options, masker_for(options))  # until a worker knows which option is a secret
    report = Report(
        target,
        tuple(modes),
        settings or Settings(),
        chosen,
        options=shown,
        harness=harness,
        sink=sink,
        unselected=tuple(one for one in select() if one not in chosen),
    )
    setup = WorkerSetup(
        target,
        report.settings,
        path=tuple(map(str, sys.path)),
        options=options,
        harness=harness,
        sink=sink,
        allow_real_backend=allow_real_backend,
    )
    alone = sink is not None and port_of(sink) != 0  # two sinks cannot have one port
    return _filled(report, setup, Watcher(progress, begun, stop or threading.Event()), alone=alone)


def check_readers(
    *,
    patterns: Sequence[str] = (),
    settings: Settings | None = None,
    progress: Callable[[Run], object] = _ignore,
    begun: Callable[[str, str], object] = _ignore,
    stop: threading.Event | None = None,
) -> Report:
    """Check the readers: this package's ``PeriodicReader`` and the SDK's ``PeriodicExportingMetricReader``.

    Args:
        patterns: which clauses, such as ``"RDR-0*"``; all of them unless given.
        settings: seed and bounds.
        progress: called with each result, from any thread.
        begun: called with the clause and the reader of each run that begins, from any thread.
        stop: ends the check when it is set; the report has the results until then.

    Raises:
        SetupError: no clause is selected.
    """
    from exporter_core.conformance.readers import READERS, reader_clauses, select_reader_clauses  # noqa: PLC0415 - for readers alone

    chosen = select_reader_clauses(patterns)
    if not chosen:
        raise SetupError(f"no clause matches {' '.join(patterns)}; exporter-core check --readers --list shows them all")
    left_out = tuple(one for one in reader_clauses() if one not in chosen)
    report = Report("readers", READERS, settings or Settings(), chosen, unselected=left_out, readers=True)
    setup = WorkerSetup("readers", report.settings, readers=True)
    return _filled(report, setup, Watcher(progress, begun, stop or threading.Event()))


def _filled(report: Report, setup: WorkerSetup, watcher: Watcher, *, alone: bool = False) -> Report:
    """The report with the results of its clauses, its modes run side by side unless ``alone``."""
    began = monotonic()
    setups = [replace(setup, mode=mode) for mode in report.modes]
    for group in [[one] for one in setups] if alone else [setups]:
        _run_side_by_side(report, group, watcher, most=1 if alone else MOST)
    report.stopped = len(report.runs) < len(report.clauses) * len(report.modes)
    report.seconds = round(monotonic() - began, 3)
    return report


def _run_side_by_side(report: Report, setups: Sequence[WorkerSetup], watcher: Watcher, most: int) -> None:
    """Run a pool for each setup on a thread of its own, while signal handlers run here. Raises the first error.

    One clause of each setup computes at a time, and two of the last one that runs.
    """
    left = list(setups)

    def run(setup: WorkerSetup) -> None:
        with Pool(report, setup, watcher, most, lambda: 2 if len(left) == 1 else 1) as pool:
            pool.run()
        left.remove(setup)

    with ThreadPoolExecutor() as threads:
        running = [threads.submit(run, setup) for setup in setups]
        try:
            while wait(running, _LOOK).not_done:
                if any(one.done() and one.exception() for one in running):
                    watcher.stop.set()
        except BaseException:
            watcher.stop.set()
            raise
    for one in running:
        one.result()
