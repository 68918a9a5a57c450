"""Runs a subject's clauses in worker processes, and goes on whatever becomes of one.

The two modes are run side by side. In each, a worker runs one clause after the other; while one is stuck in a clause
that waits, another goes on with the rest. A worker that hangs is asked for the stacks of its threads and killed: the
clause that it was in has failed. The subject is never imported here.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import asdict, dataclass, field
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.clause import Clause, select
from exporter_core.conformance.observe.sink_option import in_texts, port_of
from exporter_core.conformance.run.pool import Pool
from exporter_core.conformance.run.run_clause import Run, Settings
from exporter_core.errors import SetupError
from exporter_core.masking import masker_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from exporter_core.conformance.subject import Mode

_LOOK = 0.2  # seconds until a signal's handler is run


@dataclass
class Report:
    """What came of every clause, by mode."""

    target: str
    modes: tuple[str, ...]
    """Raw and guarded; of readers, whose they are."""
    settings: Settings
    clauses: tuple[Clause, ...]
    origin: str | None = None
    tier: str = "none"
    runs: dict[tuple[str, str], Run] = field(default_factory=dict)
    """By clause and mode; not every one if the check was stopped."""
    options: Mapping[str, Any] | None = None
    """The exporter's options, secrets masked."""
    harness: str | None = None
    """``module:Class`` of the harness that was named."""
    sink: str | None = None
    """The sink that the options point at."""
    readers: bool = False
    """Whether it is about readers, not an exporter."""
    stopped: bool = False
    """Whether the check ended before every clause had its result."""
    seconds: float = 0.0

    def run(self, clause: str, mode: str) -> Run:
        """What came of this clause in this mode."""
        return self.runs[clause, mode]


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
    progress: Callable[[Run], object] | None = None,
    begun: Callable[[str, str], object] = lambda _clause, _mode: None,
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
        progress: told of each result, from any thread.
        begun: told of each clause that begins, and in which mode, from any thread.
        stop: ends the check when it is set; the report has what there is until then.

    Raises:
        SetupError: no clause is selected, the subject cannot be had or built, or its backend may be a real one.
    """
    chosen = select(patterns)
    if not chosen:
        raise SetupError(f"no clause matches {' '.join(patterns)}; exporter-core check --list shows them all")
    shown = in_texts(options, masker_for(options))  # until a worker knows which option is a secret
    report = Report(target, tuple(modes), settings or Settings(), chosen, options=shown, harness=harness, sink=sink)
    task = {
        "target": target,
        "path": [str(one) for one in sys.path],
        "readers": False,
        "options": options,
        "harness": harness,
        "sink": sink,
        "allow_real_backend": allow_real_backend,
    }
    alone = sink is not None and port_of(sink) != 0  # two sinks cannot have one port
    _fill(report, task, progress, begun, stop or threading.Event(), alone=alone)
    return report


def check_readers(
    *,
    patterns: Sequence[str] = (),
    settings: Settings | None = None,
    progress: Callable[[Run], object] | None = None,
    begun: Callable[[str, str], object] = lambda _clause, _mode: None,
    stop: threading.Event | None = None,
) -> Report:
    """Check the readers: this package's ``PeriodicReader`` and the SDK's ``PeriodicExportingMetricReader``.

    Args:
        patterns: which clauses, such as ``"RDR-0*"``; all of them unless given.
        settings: seed and bounds.
        progress: told of each result, from any thread.
        begun: told of each clause that begins, and on which reader, from any thread.
        stop: ends the check when it is set; the report has what there is until then.

    Raises:
        SetupError: no clause is selected.
    """
    from exporter_core.conformance.readers import READERS, select_reader_clauses  # noqa: PLC0415 - for readers alone

    chosen = select_reader_clauses(patterns)
    if not chosen:
        raise SetupError(f"no clause matches {' '.join(patterns)}; exporter-core check --readers --list shows them all")
    report = Report("readers", READERS, settings or Settings(), chosen, readers=True)
    _fill(report, {"target": "readers", "readers": True}, progress, begun, stop or threading.Event())
    return report


def _fill(
    report: Report,
    task: dict[str, Any],
    progress: Callable[[Run], object] | None,
    begun: Callable[[str, str], object],
    stop: threading.Event,
    *,
    alone: bool = False,
) -> None:
    """Run the report's clauses, its modes side by side unless ``alone``."""
    began = monotonic()
    task = {**task, "settings": asdict(report.settings)}
    runs = [partial(_Mode(report, mode, progress, begun).run, task, stop, alone=alone) for mode in report.modes]
    for group in [[one] for one in runs] if alone else [runs]:
        _side_by_side(group, stop)
    report.stopped = len(report.runs) < len(report.clauses) * len(report.modes)
    report.seconds = round(monotonic() - began, 3)


def _side_by_side(functions: Sequence[Callable[[], None]], stop: threading.Event) -> None:
    """Call each on a thread of its own, while signal handlers run here; raises what one of them raised."""
    errors: list[BaseException] = []

    def run(function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=run, args=(one,), daemon=True) for one in functions]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(_LOOK)
    except BaseException:
        stop.set()
        for thread in threads:
            thread.join()
        raise
    if errors:
        raise errors[0]


class _Mode:
    """One mode of a check: takes what its workers tell into the report."""

    def __init__(
        self,
        report: Report,
        mode: str,
        progress: Callable[[Run], object] | None,
        begun: Callable[[str, str], object],
    ) -> None:
        self._report = report
        self._mode = mode
        self._progress = progress
        self._begun = begun

    def run(self, task: dict[str, Any], stop: threading.Event, *, alone: bool) -> None:
        """Run every clause that the report has."""
        task = {**task, "mode": self._mode}
        with Pool(self._mode, self._report.clauses, task, self._report.settings.patience) as pool:
            pool.run(self._found, self._add, stop, most=1 if alone else None, begun=self._begin)

    def _found(self, subject: Mapping[str, Any]) -> None:
        self._report.origin = subject["origin"]
        self._report.tier = subject["tier"]
        if "options" in subject:
            self._report.options = subject["options"]

    def _begin(self, clause: str) -> None:
        self._begun(clause, self._mode)

    def _add(self, run: Run) -> None:
        self._report.runs[run.id, self._mode] = run
        if self._progress is not None:
            self._progress(run)
