"""Runs a subject's clauses in worker processes, and goes on whatever becomes of one.

A worker that hangs is asked for the stacks of its threads and killed; the clause that it was in has failed, and another
worker goes on with the next. The subject is never imported here.
"""

from __future__ import annotations

import json
import os
import select as polling
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.clause import Clause, select
from exporter_core.conformance.running import Run, Settings
from exporter_core.conformance.verdicts import Verdict
from exporter_core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from exporter_core.conformance.subject import Mode

__all__ = ["Report", "check"]

_SPARE = 10.0  # seconds beyond what the waits of a clause can add up to
_WAITS = 8  # bounded waits that a clause can make one after the other
_START = 60.0  # seconds in which a worker has to say that it is there


_FAMILIES = ("INT", "KND", "EXP", "HND", "DAT", "FLU", "SHD", "CON", "PY")


@dataclass
class Report:
    """What came of every clause, by mode."""

    target: str
    modes: tuple[Mode, ...]
    settings: Settings
    clauses: tuple[Clause, ...]
    origin: str | None = None
    tier: str = "none"
    runs: dict[tuple[str, str], Run] = field(default_factory=dict)
    """By clause and mode."""
    options: Mapping[str, Any] | None = None
    seconds: float = 0.0

    def run(self, clause: str, mode: str) -> Run:
        """What came of this clause in this mode."""
        return self.runs[clause, mode]

    def order(self, clause: str) -> tuple[int, str]:
        """Where a clause stands in a report: by family, then by number."""
        family = clause.partition("-")[0]
        return (_FAMILIES.index(family) if family in _FAMILIES else len(_FAMILIES)), clause


def check(
    target: str,
    *,
    patterns: Sequence[str] = (),
    modes: Sequence[Mode] = ("raw", "guarded"),
    options: Mapping[str, Any] | None = None,
    harness: str | None = None,
    settings: Settings | None = None,
    allow_real_backend: bool = False,
    progress: Callable[[Run], object] | None = None,
) -> Report:
    """Check an exporter, each mode in worker processes of its own, side by side.

    Args:
        target: an exporter's name, or ``module:Class``.
        patterns: which clauses, such as ``"SHD-*"``; all of them unless given.
        modes: raw, guarded, or both.
        options: the exporter's options, which go before those of its harness.
        harness: ``module:Class`` of a harness instead of the registered one.
        settings: seed and bounds.
        allow_real_backend: run although the harness points at a real backend; no canaries run then.
        progress: told of each result, from any thread.

    Raises:
        SetupError: no clause is selected, or the subject or its harness cannot be had.
    """
    chosen = select(patterns)
    if not chosen:
        raise SetupError(f"no clause matches {' '.join(patterns)}; exporter-core check --list shows them all")
    settings = settings or Settings()
    report = Report(target, tuple(modes), settings, chosen, options=options)
    began = monotonic()
    errors: list[SetupError] = []

    def one(mode: Mode) -> None:
        task = {
            "target": target,
            "mode": mode,
            "options": options,
            "harness": harness,
            "settings": asdict(settings),
            "allow_real_backend": allow_real_backend,
        }
        try:
            _Mode(report, mode, task, progress).run()
        except SetupError as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(mode,), daemon=True) for mode in report.modes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    report.seconds = round(monotonic() - began, 3)
    return report


class _Mode:
    """One mode of a check: a worker after the other until every clause has its result."""

    def __init__(
        self, report: Report, mode: Mode, task: dict[str, Any], progress: Callable[[Run], object] | None
    ) -> None:
        self._report = report
        self._mode = mode
        self._task = task
        self._progress = progress
        self._left = [clause.id for clause in report.clauses]
        self._failed: dict[str, str] = {}

    def run(self) -> None:
        while self._left:
            self._work()

    def _work(self) -> None:
        with tempfile.TemporaryDirectory(prefix="conformance-worker-") as folder:
            dump, output = Path(folder, "stacks"), Path(folder, "output")
            reading, writing = os.pipe()
            with output.open("wb") as text:
                worker = subprocess.Popen(  # noqa: S603 - our own module, in the interpreter that runs this
                    [sys.executable, "-m", "exporter_core.conformance.worker", str(writing), str(dump)],
                    stdin=subprocess.PIPE,
                    stdout=text,
                    stderr=text,
                    pass_fds=(writing,),
                )
            os.close(writing)
            current: str | None = None
            try:
                assert worker.stdin is not None  # noqa: S101 - it is a pipe, as asked for
                try:
                    worker.stdin.write(
                        json.dumps({**self._task, "clauses": self._left, "failed": self._failed}).encode()
                    )
                    worker.stdin.close()
                except BrokenPipeError:
                    pass  # it is gone; how it ended is looked at below
                for event in _lines(reading, lambda: self._limit(current)):  # noqa: B023 - the generator ends with this round
                    if event is None:
                        self._hung(worker, current, dump)
                        return
                    current = self._take(event, current)
            finally:
                os.close(reading)
                if worker.poll() is None and current is not None:
                    worker.kill()
                code = worker.wait()
            if current is not None or (code and self._left):
                self._died(code, current, output)

    def _limit(self, current: str | None) -> float:
        return _START if current is None else _SPARE + _WAITS * self._report.settings.patience

    def _take(self, event: dict[str, Any], current: str | None) -> str | None:
        if "error" in event:
            raise SetupError(str(event["error"]))
        if "subject" in event:
            self._report.origin = event["subject"]["origin"]
            self._report.tier = event["subject"]["tier"]
        if "begin" in event:
            return str(event["begin"])
        if "run" in event:
            values = event["run"]
            self._add(Run(**{**values, "verdict": Verdict(values["verdict"])}))
            return None
        return current

    def _add(self, run: Run) -> None:
        self._report.runs[run.id, self._mode] = run
        self._left.remove(run.id)
        if run.verdict is not Verdict.PASS:
            self._failed[run.id] = str(run.verdict)
        if self._progress is not None:
            self._progress(run)

    def _hung(self, worker: subprocess.Popen[bytes], current: str | None, dump: Path) -> None:
        worker.send_signal(signal.SIGUSR1)
        limit = monotonic() + 2
        while not dump.stat().st_size and monotonic() < limit:
            polling.select([], [], [], 0.01)
        worker.kill()
        stacks = dump.read_text(errors="replace")
        run = Run(current or self._left[0], self._mode, Verdict.FAIL, dump=stacks)
        run.expected = "the clause ends"
        run.seen = "the process hung and was killed; the stacks of its threads are in the report"
        self._add(run)

    def _died(self, code: int, current: str | None, output: Path) -> None:
        said = output.read_text(errors="replace").strip().splitlines()
        how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
        outside = code in (-signal.SIGKILL, -signal.SIGTERM)
        verdict = Verdict.INCONCLUSIVE if outside else Verdict.FAIL if current else Verdict.KIT_ERROR
        run = Run(current or self._left[0], self._mode, verdict, expected="the process lives on")
        run.seen = f"the worker process ended with {how}{f': {said[-1][:200]}' if said else ''}"
        self._add(run)


def _lines(reading: int, limit: Callable[[], float]) -> Any:  # Any: a generator of JSON objects, None for a time-out
    """The objects that a worker writes, until it closes the pipe; None, and the end, when it is silent too long."""
    buffer = b""
    while True:
        until = monotonic() + limit()
        ready: list[int] = []
        while not ready and monotonic() < until:
            ready, _, _ = polling.select([reading], [], [], until - monotonic())
        if not ready:
            yield None
            return
        data = os.read(reading, 65536)
        if not data:
            return
        *whole, buffer = (buffer + data).split(b"\n")
        for line in whole:
            yield json.loads(line)
