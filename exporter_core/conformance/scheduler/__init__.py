"""A deterministic scheduler: finds races in Python code by seed, and replays what it found.

The threads of a scenario run one at a time. Control passes from one to another only at an instruction of the
*subject's* bytecode or where a thread blocks. A seed decides where: the same seed makes the same interleaving.

The algorithm is PCT, probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi and Nagarakatte, "A Randomized
Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010). Each thread has a random priority and the
highest that can run does; at ``depth - 1`` steps chosen at random the running thread falls below all others. A bug that
needs ``depth`` ordering constraints, among ``n`` threads and ``k`` steps, is found by one seed with a probability of at
least ``1 / (n * k ** (depth - 1))``, and as a rule far more often. Two additions keep unfair code going: ``sleep(0)``,
and thousands of steps without blocking, put a thread below the others. A third finds small windows in long code: of
two seeds in three that :func:`explore` tries, the change points are among the places that write to an object or enter a
with block, each place as often as any other.

Instructions come from ``sys.settrace`` on Python 3.11 and from ``sys.monitoring`` from 3.12 on. While a
:class:`Schedule` is open the locks, queues, threads and times that its threads ask for are cooperative: a thread that
waits hands control over, and time is virtual: it passes only when everybody waits. All other threads of the process
get the real ones.

    def scenario(schedule):
        counter = Counter()
        schedule.run([counter.add, counter.add])
        assert counter.value == 2

    found = explore(scenario, subject=Counter).failure       # a Failure, or None
    found.replay(), found.shrink().switches                  # the same interleaving again; a shorter one

What it cannot see:

- a switch inside C code, and memory orders: an instruction is atomic here, as it is under the interpreter's lock;
- waits that are not Python's: sockets, processes, asyncio's event loops, locks made before the schedule (those in
  globals of the subject's modules are replaced). Such a wait ends the run as ``stalled``, which is no verdict;
- threads that C code starts, or ``_thread`` directly. Those of ``threading.Thread`` join the schedule.

``Result.unseen`` names those that a run met. The garbage collector rests while a schedule is open, and one schedule
at a time can be open in a process. Replaying in another process needs the same Python version and, if the subject
iterates over sets of strings, the same PYTHONHASHSEED.
"""

from exporter_core.conformance.scheduler.explore import Exploration, Failure, explore
from exporter_core.conformance.scheduler.results import (
    Deadlock,
    DeadlockError,
    FunctionOutcome,
    Result,
    ScheduleError,
    Switch,
    Waiting,
)
from exporter_core.conformance.scheduler.schedule import Schedule
from exporter_core.conformance.scheduler.subjects import Predicate, Subject

__all__ = [
    "Deadlock",
    "DeadlockError",
    "Exploration",
    "Failure",
    "FunctionOutcome",
    "Predicate",
    "Result",
    "Schedule",
    "ScheduleError",
    "Subject",
    "Switch",
    "Waiting",
    "explore",
]
