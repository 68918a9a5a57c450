"""The workers of one mode: which clause runs where, and what is made of a worker that hangs or dies."""

from __future__ import annotations

import json
import os
import select as polling
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Self

from exporter_core.conformance.run.run_clause import Run
from exporter_core.conformance.run.verdicts import Verdict
from exporter_core.errors import SetupError
from exporter_core.masking import Masker, secrets_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from exporter_core.conformance.clause import Clause

_SPARE = 10.0  # seconds beyond what the waits of a clause can add up to
_WAITS: Final = 8  # bounded waits that a clause can make one after the other
_START = 90.0  # seconds in which a worker has to say that it is there; it builds the exporter meanwhile
_SLOW = 1.0  # seconds after which a clause is taken to wait, so that another worker can go on beside it
_COMPUTING: Final = frozenset({"P"})  # techniques whose clauses take long without waiting
_MOST: Final = 4  # workers at a time
_STILLBORN: Final = 3  # workers in a row that end before they have run anything
_LOOK: Final = 0.1  # seconds until a stop is noticed
_END: Final = 5.0  # seconds in which a worker that says no more has to end
_QUOTED: Final = 16384  # bytes of a worker's output that are looked at
_DUMPED: Final = 2.0  # seconds in which a hung worker writes its stacks


class Worker:
    """A worker process, and the clause that it runs."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="conformance-worker-")
        self._dump, self._output = Path(self._folder.name, "stacks"), Path(self._folder.name, "output")
        self.reading, writing = os.pipe()
        with self._output.open("wb") as text:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, in the interpreter that runs this
                [sys.executable, "-m", "exporter_core.conformance.run.worker", str(writing), str(self._dump)],
                stdin=subprocess.PIPE,
                stdout=text,
                stderr=text,
                pass_fds=(writing,),
                env={
                    "PYTHONHASHSEED": "0",  # so that a seed makes the same interleaving in each worker
                    "HYPOTHESIS_STORAGE_DIRECTORY": self._folder.name,  # so that nothing is left where it was started
                    **os.environ,
                },
                start_new_session=True,  # Ctrl-C at a terminal is for the parent, which ends its workers
            )
        os.close(writing)
        self._buffer = b""
        self.clause: str | None = None
        self.ready = False
        self.since = monotonic()
        """When it was started, or given its clause."""
        self._send(task)

    def give(self, clause: str, failed: Mapping[str, str]) -> None:
        """Have it run a clause."""
        self.clause, self.since = clause, monotonic()
        self._send({"clause": clause, "failed": failed})

    def events(self) -> Iterator[dict[str, Any]] | None:
        """What it has told; None if it has ended."""
        data = os.read(self.reading, 65536)
        if not data:
            return None
        *whole, self._buffer = (self._buffer + data).split(b"\n")
        return (json.loads(line) for line in whole)

    @property
    def has_told(self) -> bool:
        """Whether there is something of it to read."""
        return bool(polling.select([self.reading], [], [], 0)[0])

    def stacks(self) -> str:
        """The stacks of its threads, whatever they do."""
        self._process.send_signal(signal.SIGUSR1)
        limit = monotonic() + _DUMPED
        while not self._dump.stat().st_size and monotonic() < limit:
            polling.select([], [], [], 0.01)
        return self._dump.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def ended(self, masker: Masker) -> tuple[int, str]:
        """Its exit code, and the last line that it wrote, secrets masked; it is killed unless it ends by itself."""
        limit = monotonic() + _END
        while self.alive and monotonic() < limit:
            polling.select([], [], [], 0.001)
        code = self.kill()
        said = masker(self._last_output()).strip().splitlines()
        return code, " ".join(said[-1].split())[:200] if said else ""

    def _last_output(self) -> str:
        with self._output.open("rb") as output:
            output.seek(max(0, self._output.stat().st_size - _QUOTED))
            return output.read().decode(errors="replace")

    def kill(self) -> int:
        """End it, and the processes that the subject has forked in it; its exit code."""
        if self._process.returncode is None:
            # While it has not been waited for, its process group cannot be anybody else's.
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def close(self) -> None:
        """Release what it took; kills it if it still runs."""
        self.kill()
        os.close(self.reading)
        self._close_input()
        self._folder.cleanup()

    def _send(self, what: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe, as asked for
        try:
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it is gone; how it ended is looked at when it says no more

    def _close_input(self) -> None:
        assert self._process.stdin is not None  # noqa: S101 - as above
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # as above


class Pool:
    """Runs clauses in workers, each clause after those that it builds on.

    Args:
        mode: raw or guarded.
        clauses: what is run, in this order as far as waiting clauses allow.
        task: what a worker is told first.
        patience: seconds that one wait of a clause may take.
    """

    def __init__(self, mode: str, clauses: Sequence[Clause], task: Mapping[str, Any], patience: float) -> None:
        self._mode = mode
        self._left = {clause.id: clause for clause in clauses}
        self._task = task
        self._secrets = secrets_of(task.get("options"))
        """What no worker may be quoted with."""
        self._limit = _SPARE + _WAITS * patience
        self._failed: dict[str, str] = {}
        self._workers: list[Worker] = []
        self._started = 0
        self._stillborn = 0
        self._had = False
        """Whether a worker could have the subject."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.close()

    def run(
        self,
        found: Callable[[Mapping[str, Any]], None],
        done: Callable[[Run], None],
        stop: threading.Event,
        *,
        begun: Callable[[str], object] = lambda _clause: None,
        most: int | None = None,
    ) -> None:
        """Run every clause.

        Args:
            found: told what a worker says of its subject.
            done: told of each result.
            stop: ends the run when it is set.
            begun: told of each clause that begins.
            most: workers at a time.

        Raises:
            SetupError: the subject cannot be had.
        """
        self._found, self._done, self._begun = found, done, begun
        while self._left and not stop.is_set():
            self._assign(most or _MOST)
            ready, _, _ = polling.select([worker.reading for worker in self._workers], [], [], _LOOK)
            for worker in list(self._workers):
                if worker.reading in ready:
                    self._hear(worker)
                elif not worker.alive:  # what it has forked may hold its end of the pipe
                    self._hear(worker) if worker.has_told else self._over(worker)
                else:
                    self._watch(worker)

    # --- who runs what -----------------------------------------------------------------------------------------------

    def _assign(self, most: int) -> None:
        """Give the next clause to a worker unless one is at work that does not wait; start one if there is none."""
        if not all(_idle(one) or self._waits(one) for one in self._workers):
            return
        clause = self._next()
        if clause is None:
            return
        idle = next((one for one in self._workers if _idle(one)), None)
        if idle is not None:
            idle.give(clause, self._failed)
            self._begun(clause)
        elif len(self._workers) < most:
            self._workers.append(Worker({**self._task, "first": self._started == 0}))
            self._started += 1

    def _waits(self, worker: Worker) -> bool:
        """Whether its clause takes so long that it must be waiting, rather than computing."""
        if worker.clause is None or self._left[worker.clause].technique in _COMPUTING:
            return False
        return monotonic() - worker.since > _SLOW

    def _next(self) -> str | None:
        """The first clause that no worker runs and that needs no result which is still to come."""
        at_work = {worker.clause for worker in self._workers}
        for name, clause in self._left.items():
            if name not in at_work and not any(before in self._left for before in _foundations(clause)):
                return name
        return None

    # --- what becomes of it ------------------------------------------------------------------------------------------

    def _hear(self, worker: Worker) -> None:
        events = worker.events()
        if events is None:
            self._over(worker)
            return
        for event in events:
            if "error" in event:
                self._refused(Masker(self._secrets)(event["error"]))
                return
            self._secrets.update(event.get("secrets", ()))
            if "subject" in event:
                worker.ready = self._had = True
                self._stillborn = 0
                self._found(event["subject"])
            if "run" in event:
                worker.clause = None
                values = event["run"]
                self._add(Run(**{**values, "verdict": Verdict(values["verdict"])}))
                if values["tainted"]:
                    self._drop(worker)  # something goes on in it: the rest belongs in another one
                    return

    def _add(self, run: Run) -> None:
        del self._left[run.id]
        if run.verdict is not Verdict.PASS:
            self._failed[run.id] = str(run.verdict)
        self._done(run)

    def _refused(self, why: str) -> None:
        """The subject cannot be had: nothing was checked, or, if it could be had before, the rest cannot be."""
        if not self._had:
            raise SetupError(why)
        self._give_up(why)

    def _give_up(self, why: str) -> None:
        """End the clauses that no worker runs."""
        at_work = {worker.clause for worker in self._workers}
        for name in [one for one in self._left if one not in at_work]:
            self._add(Run(name, self._mode, Verdict.KIT_ERROR, seen=f"not run: {why}"))

    def _watch(self, worker: Worker) -> None:
        """Kill a worker that has been silent for too long."""
        age = monotonic() - worker.since
        if not worker.ready and age > _START:
            self._refused(
                f"{self._task['target']!r} cannot be built: its process said nothing for {_START:g} s and was killed"
            )
            return
        if worker.clause is None or age <= self._limit:
            return
        run = Run(worker.clause, self._mode, Verdict.FAIL, expected="the clause ends", dump=worker.stacks())
        run.seen = "the process hung and was killed; the stacks of its threads are in the report"
        self._drop(worker)
        self._add(run)

    def _over(self, worker: Worker) -> None:
        code, said = worker.ended(Masker(self._secrets))
        clause, ready = worker.clause, worker.ready
        self._drop(worker)
        how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
        ended = f"the worker process ended with {how}{said and ': '}{said}"
        if not ready:
            self._stillborn += 1
            if self._stillborn == _STILLBORN:
                self._give_up(ended)
            return
        if clause is None:
            return  # it ended between two clauses; another one goes on
        outside = code in (-signal.SIGKILL, -signal.SIGTERM)
        verdict = Verdict.INCONCLUSIVE if outside else Verdict.FAIL
        self._add(Run(clause, self._mode, verdict, expected="the process lives on", seen=ended))

    def _drop(self, worker: Worker) -> None:
        self._workers.remove(worker)
        worker.close()


def _idle(worker: Worker) -> bool:
    return worker.ready and worker.clause is None


def _foundations(clause: Clause) -> tuple[str, ...]:
    """The clauses whose failure blocks this one; all but those of introspection build on the first."""
    return clause.after if clause.technique == "T" else ("INT-01", *clause.after)
