"""Measures the deterministic scheduler's speed, and counts the seeds of 200 that find each race of the tests' zoo.

For comparison, plain barrier stress in the same run: the same functions, as often, on free threads that are released
together.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _common import arguments, at_least

from exporter_core.conformance.scheduler import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

ZOO = Path(__file__).resolve().parent.parent / "tests" / "conformance" / "scheduler" / "races.py"
STRESS_SECONDS = 0.2  # a thread that has not ended by then hangs


class Spinning:
    """Two threads of it never block."""

    def __init__(self, turns: int) -> None:
        self.turns = turns

    def spin(self) -> None:
        """Count down."""
        left = self.turns
        while left:
            left -= 1


def main() -> int:
    parser = arguments(__doc__, rounds=5, of="rounds of the speed rows")
    seeds = "seeds, and rounds of stress, per race (default: 200)"
    parser.add_argument("--seeds", type=at_least(1), default=200, help=seeds)
    options = parser.parse_args()
    rate, slowdown = speed(options.rounds)
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"python {version}: {rate:,.0f} steps a processor second, {slowdown:.0f} times as slow as free code")
    print(f"\n{'race':<22} {'scheduler':>12} {'stress':>12}   found, of {options.seeds}; wrong version (correct one)")
    rows = {}
    zoo = load_zoo()
    for race in zoo.RACES:
        counts = [
            sum(count(zoo, race, subject, seed) for seed in range(options.seeds))
            for count in (scheduled, stressed)
            for subject in (race.wrong, race.right)
        ]
        rows[race.name] = dict(zip(("scheduler", "scheduler_correct", "stress", "stress_correct"), counts, strict=True))
        print(f"{race.name:<22} {counts[0]:>6} ({counts[1]:>3}) {counts[2]:>6} ({counts[3]:>3})", flush=True)
    if options.json:
        report = {"benchmark": "scheduler", "steps_per_second": round(rate), "slowdown": round(slowdown, 1)}
        print(json.dumps({**report, "seeds": options.seeds, "found": rows}))
    well = all(row["scheduler"] and not row["scheduler_correct"] for row in rows.values())
    print("every race found, no correct version blamed" if well else "MISSED: a race not found, or a false alarm")
    return 0 if well else 1


def load_zoo() -> ModuleType:
    specification = importlib.util.spec_from_file_location("scheduler_races", ZOO)
    assert specification is not None  # noqa: S101 - for the type checker
    assert specification.loader is not None  # noqa: S101 - for the type checker
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def speed(rounds: int) -> tuple[float, float]:
    """Steps a processor second at best, and how many times as long as free code they take."""
    turns, best, free = 20_000, 0.0, float("inf")
    for _ in range(rounds):
        spinning = Spinning(turns)
        started = time.perf_counter()
        for _ in range(2):
            spinning.spin()
        free = min(free, time.perf_counter() - started)
        with Schedule(1, subject=Spinning, max_steps=10_000_000) as schedule:
            spinning = Spinning(turns)
            started = processor_seconds()  # inside, the clocks tell virtual time
            steps = schedule.run([spinning.spin] * 2).steps
            best = max(best, steps / (processor_seconds() - started))
    return best, steps / best / free


def processor_seconds() -> float:
    """The processor time of this process; one thread at a time runs, so it is the time that has passed."""
    return time.process_time()


def scheduled(zoo: ModuleType, race: Any, subject_class: type, seed: int) -> bool:
    """True if a seed shows the race; the length is that of the run without preemption."""
    with Schedule(seed, subject=zoo.classes_of(subject_class), length=length_of(zoo, race, subject_class)) as schedule:
        subject = subject_class()
        result = schedule.run(race.functions(subject))
        outcomes = [outcome.error or outcome.value for outcome in result.outcomes]
        return result.problem is not None or not race.holds(subject, outcomes)


lengths: dict[type, int] = {}


def length_of(zoo: ModuleType, race: Any, subject_class: type) -> int:
    if subject_class not in lengths:
        with Schedule(subject=zoo.classes_of(subject_class)) as schedule:
            lengths[subject_class] = schedule.run(race.functions(subject_class())).steps
    return lengths[subject_class]


def stressed(zoo: ModuleType, race: Any, subject_class: type, round_number: int) -> bool:  # noqa: ARG001 - as scheduled()
    """True if free threads that are released together show the race."""
    subject = subject_class()
    functions = race.functions(subject)
    barrier = threading.Barrier(len(functions))
    outcomes: list[object] = [None] * len(functions)

    def call(number: int, function: Callable[[], object]) -> None:
        barrier.wait()
        try:
            outcomes[number] = function()
        except Exception as error:  # noqa: BLE001 - one of the outcomes
            outcomes[number] = error

    threads = [threading.Thread(target=call, args=pair, daemon=True) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + STRESS_SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return any(thread.is_alive() for thread in threads) or not race.holds(subject, outcomes)


if __name__ == "__main__":
    sys.exit(main())
