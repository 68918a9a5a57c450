"""Classical races are found within 53 fixed seeds, their correct versions never fail, and what was found replays."""

from __future__ import annotations

from exporter_core.conformance.scheduler import Schedule, explore


def test_a_race_is_found_within_53_seeds(race, races):
    found = explore(races.scenario_of(race, race.wrong), subject=races.classes_of(race.wrong))
    assert found.failure is not None
    assert found.failure.seed is not None  # without preemption it is never seen
    assert found.stalled == 0


def test_the_correct_version_never_fails(race, races):
    found = explore(races.scenario_of(race, race.right), subject=races.classes_of(race.right), seeds=range(60))
    assert found.failure is None
    assert (found.seeds, found.stalled, found.unseen) == (60, 0, ())
    assert found.steps > 60


def test_a_found_race_replays_and_shrinks(race, races):
    failure = explore(races.scenario_of(race, race.wrong), subject=races.classes_of(race.wrong)).failure
    again = failure.replay()
    assert again.switches == failure.switches
    assert str(again.error) == str(failure.error)
    shortest = failure.shrink()
    assert 0 < len(shortest.switches) <= len(failure.switches)
    assert shortest.replay().switches == shortest.switches
    for left_out in range(len(shortest.switches)):  # no switch of the shortest can be spared
        fewer = shortest.switches[:left_out] + shortest.switches[left_out + 1 :]
        assert not _fails(race, races, fewer)


def test_a_seed_always_makes_the_same_interleaving(race, races):
    for seed in range(8):
        first, second = (_trace(race, races, seed) for _ in range(2))
        assert first == second


def test_another_seed_makes_another_interleaving(races):
    race = races.RACES[0]
    assert len({_trace(race, races, seed) for seed in range(30)}) > 5


def _trace(race, races, seed):
    with Schedule(seed, subject=races.classes_of(race.wrong), length=40) as schedule:
        subject = race.wrong()
        result = schedule.run(race.functions(subject))
    return result.trace, result.steps, str(result.deadlock)


def _fails(race, races, switches):
    with Schedule(replay=switches, subject=races.classes_of(race.wrong)) as schedule:
        subject = race.wrong()
        result = schedule.run(race.functions(subject))
        outcomes = [outcome.error or outcome.value for outcome in result.outcomes]
        return result.problem is not None or not race.holds(subject, outcomes)
