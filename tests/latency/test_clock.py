from __future__ import annotations

import gc
import time
from collections.abc import Callable

import pytest

from cnnctl.errors import NetError
from cnnctl.latency import clock
from cnnctl.latency.clock import Timing


class Clock:
    """A clock that moves only while something runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.order = list[str]()
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def run(self, name: str, seconds: float) -> Callable[[], None]:
        def once() -> None:
            self.order.append(name)
            self.now += seconds

        return once


@pytest.fixture
def still(monkeypatch) -> Clock:
    return Clock(monkeypatch)


def test_median_and_p95() -> None:
    found = Timing([0.01 * number for number in range(1, 101)])
    assert found.median == pytest.approx(0.505)
    assert found.p95 == pytest.approx(0.9505)
    assert Timing([2.0]).median == Timing([2.0]).p95 == 2


def test_each_is_measured_long_enough(still) -> None:
    runs = {"a": still.run("a", 0.01), "b": still.run("b", 0.04)}
    found, failed = clock.rounds(runs, 1.0, None)
    assert failed == {}
    for name, each in (("a", 0.01), ("b", 0.04)):
        assert sum(found[name].seconds) >= 1 - 1e-9
        assert found[name].median == pytest.approx(each)
        assert len(found[name].seconds) < 1.2 / each + clock.TURNS


def test_there_are_ten_passes_at_least(still) -> None:
    found, _ = clock.rounds({"a": still.run("a", 1.0)}, 0.1, None)
    assert len(found["a"].seconds) == clock.LEAST


def test_slow_ones_have_few_passes(still) -> None:
    found, _ = clock.rounds({"a": still.run("a", 50.0)}, 0.1, None)
    assert clock.FEW <= len(found["a"].seconds) <= clock.TURNS


def test_they_take_turns(still) -> None:
    clock.rounds({"a": still.run("a", 0.2), "b": still.run("b", 0.2)}, 2.0, None)
    changes = sum(one != other for one, other in zip(still.order, still.order[1:], strict=False))
    assert changes == 2 * (1 + clock.TURNS) - 1


def test_the_first_of_a_short_turn_does_not_count(still) -> None:
    runs = {"a": still.run("a", 0.01), "b": still.run("b", 0.2)}
    found, _ = clock.rounds(runs, 1.0, None)
    warm = 2 * clock.WINDOW
    assert still.order.count("a") == len(found["a"].seconds) + clock.TURNS + warm
    assert still.order.count("b") == len(found["b"].seconds) + 5  # a second is over by then
    still.order.clear()
    alone, _ = clock.rounds({"a": still.run("a", 0.01)}, 1.0, None)
    assert len(still.order) == len(alone["a"].seconds) + warm


def test_it_warms_up_until_the_time_is_steady(still) -> None:
    times = iter([9.0, 5.0, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])

    def run() -> None:
        still.now += next(times)

    assert clock.warm(run, 100) == 1
    assert next(times, None) is not None


def test_it_does_not_warm_up_for_ever(still) -> None:
    many = iter(range(1, 100))

    def run() -> None:
        still.now += next(many)

    clock.warm(run, 10)
    assert next(many) == 5
    clock.warm(still.run("slow", 100), 1)
    assert still.order == ["slow", "slow"]


@pytest.mark.parametrize(
    ("times", "steady"),
    [([1, 1, 1, 1, 1], False), ([1, 1, 1, 1, 1, 1], True), ([5, 5, 5, 1, 1, 1], False),
     ([1, 1, 9, 1, 9, 1], True), ([100, 100, 100, 104, 104, 104], True),
     ([100, 100, 100, 106, 106, 106], False), ([9, 9, 9, 1, 1, 1, 1, 1, 1], True)],
)  # fmt: skip
def test_steady_is_that_two_medians_agree(times, steady) -> None:
    assert clock.steady(times) is steady


def test_energy_is_that_of_all_passes_of_its_own_turns(still) -> None:
    runs = {"a": still.run("a", 0.01), "b": still.run("b", 0.2)}
    found, _ = clock.rounds(runs, 1.0, lambda: 3 * still.now)
    for timing, each in ((found["a"], 0.01), (found["b"], 0.2)):
        assert timing.joules == pytest.approx(3 * each * timing.passes)
        assert len(timing.turns) == clock.TURNS
    assert clock.rounds({"a": still.run("a", 1)}, 1.0, None)[0]["a"].joules is None


def test_energy_is_exact_where_the_counter_moves_ten_times_a_second(still) -> None:
    power = {"a": 50, "b": 400}  # watts
    used = 0.0

    def run(name: str) -> Callable[[], None]:
        once = still.run(name, 0.007)

        def passed() -> None:
            nonlocal used
            once()
            used += 0.007 * power[name]

        return passed

    told, moved = 0.0, -1

    def joules() -> float:
        nonlocal told, moved
        if int(still.now * 10) != moved:
            told, moved = used, int(still.now * 10)
        return told

    found, _ = clock.rounds({name: run(name) for name in power}, 1.0, joules)
    for name, watts in power.items():
        energy = found[name].joules
        assert energy is not None
        assert energy / found[name].passes == pytest.approx(0.007 * watts, rel=1e-6)


def test_a_counter_that_stands_still_does_not_stop_it(still) -> None:
    found, _ = clock.rounds({"a": still.run("a", 0.01)}, 1.0, lambda: 5.0)
    assert found["a"].joules == 0
    assert still.now < 1.2 + clock.TURNS * 2 * (clock.STEP + 0.02)


def test_slow_passes_are_not_repeated_for_the_counter(still) -> None:
    found, _ = clock.rounds({"a": still.run("a", 5.0)}, 0.1, lambda: 7.0 * still.now)
    assert found["a"].passes == len(found["a"].seconds)
    assert found["a"].joules == pytest.approx(35 * found["a"].passes)


def test_energy_is_not_known_where_a_reading_fails(still) -> None:
    readings = iter([*(float(number) for number in range(12)), None])
    found, _ = clock.rounds(
        {"a": still.run("a", 0.02)}, 1.0, lambda: next(readings, 100 * still.now)
    )
    assert len(found["a"].turns) == clock.TURNS
    assert found["a"].turns.count(None) == 1
    assert found["a"].joules is None


@pytest.mark.parametrize("after", [0, 3, 30])
@pytest.mark.parametrize("error", [RuntimeError("no"), MemoryError(), NetError("no")])
def test_one_that_fails_stops_no_other(still, after, error) -> None:
    made = 0

    def fails() -> None:
        nonlocal made
        still.run("b", 0.02)()
        made += 1
        if made > after:
            raise error

    found, failed = clock.rounds({"b": fails, "a": still.run("a", 0.02)}, 1.0, None)
    assert failed == {"b": error}
    assert made == after + 1
    assert list(found) == ["a"]
    assert sum(found["a"].seconds) >= 1 - 1e-9


def test_what_failed_is_kept_without_its_frames(still) -> None:
    def fails() -> None:
        try:
            _interrupts(ValueError())
        except ValueError as wrong:
            raise NetError("no") from wrong

    _, failed = clock.rounds({"a": fails}, 1.0, None)
    assert failed["a"].__traceback__ is failed["a"].__cause__ is failed["a"].__context__ is None


def test_no_garbage_is_looked_for_meanwhile(still) -> None:
    seen = []
    clock.rounds({"a": lambda: (seen.append(gc.isenabled()), still.run("a", 1)())}, 0.1, None)
    assert not any(seen)
    assert gc.isenabled()


def test_an_error_ends_it_and_garbage_is_looked_for_again() -> None:
    with pytest.raises(KeyboardInterrupt):
        clock.rounds({"a": lambda: _interrupts(KeyboardInterrupt())}, 0.1, None)
    assert gc.isenabled()
    with pytest.raises(KeyError):  # a mistake of ours is none of the engine's
        clock.rounds({"a": lambda: _interrupts(KeyError())}, 0.1, None)


def _interrupts(error: BaseException) -> None:
    raise error


def test_a_real_clock_measures_real_time() -> None:
    found = clock.rounds({"a": lambda: time.sleep(0.002)}, 0.01, None)[0]["a"]
    assert 0.002 <= found.median < 0.5
    assert len(found.seconds) >= clock.LEAST
