"""The workers of one mode: the assignment of clauses to them, and the results of those that hang or die."""

from __future__ import annotations

import os
import select as polling
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, Self

from exporter_core.conformance.clause import DELIVERS, FIDELITY, with_foundations
from exporter_core.conformance.resources import empty_folder
from exporter_core.conformance.run.blame import blame
from exporter_core.conformance.run.fork_server import WorkerServer
from exporter_core.conformance.run.messages import (
    Message,
    Ready,
    Refused,
    RunClause,
    Secrets,
    WorkerSetup,
    decode,
    encode,
)
from exporter_core.conformance.run.safety import kept_back, without_backends
from exporter_core.conformance.run.verdicts import Report, Run, Verdict
from exporter_core.errors import SetupError
from exporter_core.masking import Masker, secrets_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from concurrent.futures import Future


_SPARE = 10.0  # seconds beyond what the waits of a clause can add up to
_WAITS: Final = 8  # bounded waits that a clause can make one after the other
_BUSIEST: Final = 4.0  # times as long that a clause may take on a machine that is as busy
_AMOUNTS: Final = 90.0  # seconds more for the clause that exports large amounts, whose waits are longer
_START = 90.0  # seconds in which a worker has to say that it is there; it builds the exporter meanwhile
_ASLEEP: Final = 0.03  # seconds for which a worker has to sleep until another one goes on beside it
_SLOW: Final = 1.0  # seconds after which a clause is taken to wait, where nothing tells that its worker sleeps
_COMPUTING: Final = frozenset({"P"})  # techniques whose clauses take long without waiting
_EARLY: Final = (
    *("INT-01", "EXP-09", DELIVERS, "EXP-15", "SHD-02", "SHD-11", FIDELITY, "EXP-06", "EXP-07", "EXP-17", "EXP-14"),
    *("EXP-10", "SHD-04", "PY-05", "EXP-12", "PY-01", "PY-03"),
)
"""The clauses that take longest whatever the exporter does, and that many build on: the others run beside."""
_BLOCKING: Final = (Verdict.FAIL, Verdict.BLOCKED, Verdict.KIT_ERROR)
_FEW: Final = 8  # clauses for which no worker is started beside one that computes
MOST: Final = 7
"""Workers at a time."""
_STILLBORN: Final = 3  # workers in a row that end before they have run anything
_LOOK: Final = 0.02  # seconds between two looks at what the workers do, and at a stop
_END: Final = 5.0  # seconds in which a worker that says no more has to end
_QUOTED: Final = 16384  # bytes of a worker's output that are looked at
_DUMPED: Final = 2.0  # seconds in which a hung worker writes its stacks


@dataclass(frozen=True)
class Watcher:
    """The callbacks of a check, called from any thread, and the event that ends it."""

    ended: Callable[[Run], object]
    """Called with each result."""
    begun: Callable[[str, str], object]
    """Called with the clause and the mode of each run that begins."""
    stop: threading.Event


class WorkerProcess:
    """A process that runs clauses, and the clause that it runs."""

    def __init__(self, setup: WorkerSetup, *, generates: bool) -> None:
        self._folder = empty_folder("conformance-worker-")
        self._dump, self._output = Path(self._folder.name, "stacks"), Path(self._folder.name, "output")
        environment = {
            "PYTHONHASHSEED": "0",  # the fork server's, for what the exporter starts
            "HYPOTHESIS_STORAGE_DIRECTORY": self._folder.name,  # so that nothing is left where it was started
            **(os.environ if setup.allow_real_backend else without_backends(os.environ)),
        }
        self.channel, theirs = socket.socketpair()
        with theirs, self._output.open("wb") as text:
            try:
                self._process = WorkerServer.fork_worker(
                    environment, theirs, text.fileno(), self._dump, setup.settings.seed if generates else None
                )
            except BaseException:
                self.channel.close()
                self._folder.cleanup()
                raise
        self._rest = b""
        self.clause: str | None = None
        self.ready = False
        self.generates = generates
        """True if it has the batches that Hypothesis makes, which take long to make."""
        self.since = monotonic()
        """The time at which it was started, or given its clause."""
        self._awake = self.since
        self.send(setup)

    def send(self, message: Message) -> None:
        """Send a message; a worker that is gone gets none."""
        try:
            self.channel.sendall(encode(message))
        except ConnectionError:
            pass  # how it ended is looked at when it says no more

    def run(self, order: RunClause) -> None:
        """Have it run a clause."""
        self.clause, self.since = order.clause, monotonic()
        self.send(order)

    def messages(self) -> list[Message] | None:
        """The messages that have arrived; None if there will be no more."""
        try:
            data = self.channel.recv(65536)
        except ConnectionError:
            data = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [decode(line) for line in lines] if data else None

    @property
    def is_asleep(self) -> bool | None:
        """True if its threads have waited for a while, rather than computed; None where nothing tells."""
        now = monotonic()
        try:
            tasks = f"/proc/{self._process.pid}/task"
            if any(_state(f"{tasks}/{task}") != b"S" for task in os.listdir(tasks)):  # noqa: PTH208 - many times a second
                self._awake = now
        except OSError:
            return None
        return now - max(self._awake, self.since) > _ASLEEP

    @property
    def idle(self) -> bool:
        """True if it waits for a clause."""
        return self.ready and self.clause is None

    @property
    def alive(self) -> bool:
        """True while it runs."""
        return not self._process.ended

    def stacks(self) -> str:
        """The stacks of its threads, even if it hangs."""
        assert self._process.pid is not None  # noqa: S101 - it has started
        os.kill(self._process.pid, signal.SIGUSR1)
        limit = monotonic() + _DUMPED
        while not self._dump.stat().st_size and monotonic() < limit:
            polling.select([], [], [], 0.01)
        return self._dump.read_text(errors="replace")

    def ended(self, masker: Masker) -> tuple[int, str]:
        """Its exit code, and the last line that it wrote, secrets masked; it is killed unless it ends by itself."""
        limit = monotonic() + _END
        while self.alive and monotonic() < limit:
            polling.select([], [], [], 0.001)
        code = self._process.end()
        code = -signal.SIGKILL if code is None else code  # with what watched it
        with self._output.open("rb") as output:
            output.seek(max(0, self._output.stat().st_size - _QUOTED))
            lines = masker(output.read().decode(errors="replace")).strip().splitlines()
        return code, " ".join(lines[-1].split())[:200] if lines else ""

    def close(self) -> None:
        """Kill it if it still runs, and release what it took."""
        self._process.end()
        self.channel.close()
        self._folder.cleanup()


def _state(task: str) -> bytes:
    """The state of a thread, as the system has it: R for one that could run, S for one that waits."""
    try:
        with open(f"{task}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - many times a second
            return file.read().rpartition(b")")[2].split(maxsplit=1)[0]
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return b"S"


class Pool:
    """Runs clauses in workers, those that take longest first.

    A clause may run ahead of those that it builds on. Its result counts once they have passed. If one of them has
    failed, it is run again, which says that it is BLOCKED.

    Args:
        report: gets the results; its clauses are run, in their order as far as waiting clauses allow.
        setup: for each worker, with the mode.
        watcher: told of the clauses that begin and end.
        most: workers at a time.
        share: the number of clauses that may compute at a time, asked again and again.
    """

    def __init__(
        self, report: Report, setup: WorkerSetup, watcher: Watcher, most: int, share: Callable[[], int]
    ) -> None:
        self._report = report
        self._setup = setup
        self._watcher = watcher
        self._most = most
        self._share = share
        self._asked = {clause.id for clause in report.clauses}
        needed = report.clauses if report.readers else with_foundations(report.clauses)
        by_id = {clause.id: clause for clause in needed}
        self._left = {name: by_id[name] for name in _EARLY if name in by_id} | by_id
        """The clauses that are left to run: those that were asked for, and those that they build on."""
        self._never_delivers = False
        self._secrets = secrets_of(setup.options)
        """Texts that no worker may be quoted with."""
        self._limit = _SPARE + _WAITS * report.settings.patience
        self._failed: dict[str, Verdict] = {}
        # What may point elsewhere sends nothing more before its first clause has seen that it points at the sink.
        self._may_run_ahead = not (setup.options or setup.sink or setup.allow_real_backend)
        self._ahead: set[str] = set()
        """The clauses that were begun before all that they build on had ended."""
        self._held: dict[str, Run] = {}
        """The results of such clauses, until those that they build on have ended."""
        self._workers: list[WorkerProcess] = []
        self._starter = ThreadPoolExecutor(1)
        self._next: Future[WorkerProcess] | None = None
        """The worker that is being started."""
        self._stillborn = 0
        self._found = False
        """True once a worker has found the exporter, and built it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._starter.shutdown()
        if self._next is not None and self._next.exception() is None:
            self._workers.append(self._next.result())
        for worker in self._workers:
            worker.channel.close()  # so that all end at once
        for worker in self._workers:
            worker.close()

    def run(self) -> None:
        """Run every clause. Raises SetupError if the exporter cannot be found or built."""
        while self._left and not self._watcher.stop.is_set():
            for worker in [one for one in self._workers if one.clause in self._ahead and self._is_void(one.clause)]:
                self._drop(worker)
            while self._assign():
                pass
            if self._next is not None and (self._next.done() or not self._workers):
                started, self._next = self._next, None
                self._workers.append(started.result())
            # A process that the exporter has forked may hold a dead worker's end of the channel.
            dead = [worker for worker in self._workers if not worker.alive]
            ready, _, _ = polling.select([worker.channel for worker in self._workers], [], [], 0 if dead else _LOOK)
            for worker in list(self._workers):
                if worker.channel in ready:
                    self._hear(worker)
                elif worker in dead:
                    self._over(worker)
                else:
                    self._watch(worker)
        blame([run for run in self._report.runs.values() if run.mode == self._setup.mode])

    # --- the assignment ----------------------------------------------------------------------------------------------

    def _assign(self) -> bool:
        """Give the next clause to a worker, or start one for it; False if there is none, or enough are at work."""
        computing = [one for one in self._workers if not one.idle and not self._waits(one)]
        clauses = self._runnable()
        if not clauses or len(computing) + (self._next is not None) >= self._share():
            return False
        has_room = len(self._workers) + (self._next is not None) < self._most
        # Hypothesis takes long: a worker makes its batches while others are at work.
        made = any(one.generates for one in self._workers)
        generates = has_room and not made and clauses[0] == FIDELITY
        if not generates:
            anybody = not (made or has_room or self._next)
            able = [(one, one.generates or anybody) for one in self._workers if one.idle]
            pairs = ((one, clause) for clause in clauses for one, makes in able if makes or clause != FIDELITY)
            if (pair := next(pairs, None)) is not None:
                self._begin(*pair)
                return True
        starting = sum(not one.ready for one in self._workers)
        is_worth_it = generates or len(clauses) > starting + _FEW * bool(computing)
        if not (has_room and is_worth_it) or self._next is not None or (self._workers and not self._found):
            return False
        setup = replace(self._setup, first=not self._found)
        generates |= self._most == 1 and FIDELITY in clauses
        self._next = self._starter.submit(WorkerProcess, setup, generates=generates)
        return True

    def _begin(self, worker: WorkerProcess, clause: str) -> None:
        if self._is_known(clause):
            self._ahead.discard(clause)
        else:
            self._ahead.add(clause)
        asked = clause in self._asked
        worker.run(RunClause(clause, self._failed, self._never_delivers, canary=asked))
        if asked:
            self._watcher.begun(clause, self._setup.mode)

    def _waits(self, worker: WorkerProcess) -> bool:
        """True if it waits in a clause, rather than computes."""
        if worker.clause is None:
            return False
        if (is_asleep := worker.is_asleep) is not None:
            return is_asleep
        return self._left[worker.clause].technique not in _COMPUTING and monotonic() - worker.since > _SLOW

    def _runnable(self) -> list[str]:
        """The clauses that are left, that no worker runs or has run, and whose result may be the last one."""
        at_work = {worker.clause for worker in self._workers}
        left = [name for name in self._left if name not in at_work and name not in self._held]
        ahead = self._may_run_ahead and self._most > 1
        return [name for name in left if self._is_known(name) or (ahead and not self._is_void(name))]

    def _is_known(self, clause: str) -> bool:
        """True if all that the clause builds on has ended."""
        return self._left.keys().isdisjoint(self._left[clause].prerequisites)

    def _is_void(self, clause: str) -> bool:
        """True if the clause has another result after the failures so far."""
        one = self._left[clause]
        failed = any(self._failed.get(before) in _BLOCKING for before in one.prerequisites)
        return failed or (self._never_delivers and one.is_about_deliveries)

    # --- the results -------------------------------------------------------------------------------------------------

    def _hear(self, worker: WorkerProcess) -> None:
        messages = worker.messages()
        if messages is None:
            self._over(worker)
        for message in messages or ():
            match message:
                case Refused():
                    self._drop(worker)
                    self._refused(Masker(self._secrets)(message.why))
                    return
                case Secrets():
                    self._secrets.update(message.texts)
                case Ready():
                    worker.ready = self._found = True
                    self._stillborn = 0
                    self._report.origin, self._report.tier = message.origin, message.tier
                    self._report.of_the_sdk = message.of_the_sdk
                    self._report.options = message.options or self._report.options
                case Run():
                    worker.clause = None
                    self._add(message)
                    if message.tainted:
                        self._drop(worker)  # something goes on in it: the rest belongs in another one
                        return

    def _add(self, run: Run) -> None:
        """Enter a result, and those that were held until it came."""
        self._held[run.id] = run
        while (name := next(filter(self._is_known, self._held), None)) is not None:
            run = self._held.pop(name)
            if name not in self._ahead or not self._is_void(name):
                self._enter(run)

    def _enter(self, run: Run) -> None:
        del self._left[run.id]
        if run.verdict is not Verdict.PASS:
            self._failed[run.id] = run.verdict
        self._never_delivers |= run.never_delivers
        if run.id in self._asked:
            self._report.runs[run.id, run.mode] = run
            self._watcher.ended(run)

    def _refused(self, why: str) -> None:
        """End the check, for the exporter cannot be found; if it was before, go on with the workers that have it."""
        if not self._found:
            name = "" if self._setup.allow_real_backend else kept_back(os.environ, why)
            hint = f"; {name} of the environment is kept from the exporter: give it in --config as ${{{name}}}"
            raise SetupError(why + hint * bool(name))
        self._most = len(self._workers)
        if not self._workers:
            self._give_up(why)

    def _give_up(self, why: str) -> None:
        """End the clauses that no worker runs."""
        at_work = {worker.clause for worker in self._workers}
        for name in [one for one in self._left if one not in at_work]:
            self._held.pop(name, None)
            self._enter(Run(name, self._setup.mode, Verdict.KIT_ERROR, seen=f"not run: {why}"))

    def _watch(self, worker: WorkerProcess) -> None:
        """Kill a worker that has been silent for too long."""
        age = monotonic() - worker.since
        if not worker.ready and age > _START:
            silent = f"its process said nothing for {_START:g} s and was killed"
            self._drop(worker)
            self._refused(f"{self._setup.target!r} cannot be built: {silent}")
        elif worker.clause is not None and age > self._longest(worker.clause):
            run = Run(worker.clause, self._setup.mode, Verdict.FAIL, expected="the clause ends", dump=worker.stacks())
            run.seen = "the process hung and was killed; the stacks of its threads are in the report"
            self._drop(worker)
            self._add(run)

    def _longest(self, clause: str) -> float:
        """Seconds that a clause may take, on a machine with so many others that wait for its cores."""
        busy = min(_BUSIEST, os.getloadavg()[0] / (os.cpu_count() or 1))
        return max(1.0, busy) * (self._limit + _AMOUNTS * (clause == DELIVERS))

    def _over(self, worker: WorkerProcess) -> None:
        code, said = worker.ended(Masker(self._secrets))
        clause, ready = worker.clause, worker.ready
        self._drop(worker)
        how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
        ended = f"the worker process ended with {how}{said and ': '}{said}"
        if not ready:
            self._stillborn += 1
            if self._stillborn == _STILLBORN:
                self._give_up(ended)
        elif clause is not None:  # else it ended between two clauses, and another one goes on
            outside = code in (-signal.SIGKILL, -signal.SIGTERM)
            verdict = Verdict.INCONCLUSIVE if outside else Verdict.FAIL
            self._add(Run(clause, self._setup.mode, verdict, expected="the process lives on", seen=ended))

    def _drop(self, worker: WorkerProcess) -> None:
        self._workers.remove(worker)
        worker.close()
