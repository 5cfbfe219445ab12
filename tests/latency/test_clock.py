from __future__ import annotations

import gc
import time
from collections.abc import Callable

import pytest

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
    found = clock.rounds(runs, 1.0, None)
    for name, each in (("a", 0.01), ("b", 0.04)):
        assert sum(found[name].seconds) >= 1 - 1e-9
        assert found[name].median == pytest.approx(each)
        assert len(found[name].seconds) < 1.2 / each + clock.TURNS


def test_there_are_ten_passes_at_least(still) -> None:
    found = clock.rounds({"a": still.run("a", 1.0)}, 0.1, None)
    assert len(found["a"].seconds) == clock.LEAST


def test_slow_ones_have_few_passes(still) -> None:
    found = clock.rounds({"a": still.run("a", 50.0)}, 0.1, None)
    assert clock.FEW <= len(found["a"].seconds) <= clock.TURNS


def test_they_take_turns(still) -> None:
    clock.rounds({"a": still.run("a", 0.2), "b": still.run("b", 0.2)}, 2.0, None)
    changes = sum(one != other for one, other in zip(still.order, still.order[1:], strict=False))
    assert changes == 2 * (1 + clock.TURNS) - 1


def test_the_first_of_a_short_turn_does_not_count(still) -> None:
    runs = {"a": still.run("a", 0.01), "b": still.run("b", 0.2)}
    found = clock.rounds(runs, 1.0, None)
    assert found["a"].passes == len(found["a"].seconds) + clock.TURNS
    assert found["b"].passes == len(found["b"].seconds)
    alone = clock.rounds({"a": still.run("a", 0.01)}, 1.0, None)["a"]
    assert alone.passes == len(alone.seconds)


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
    found = clock.rounds(runs, 1.0, lambda: 3 * still.now)
    for timing, each in ((found["a"], 0.01), (found["b"], 0.2)):
        assert timing.joules == pytest.approx(3 * each * timing.passes)
    assert clock.rounds({"a": still.run("a", 1)}, 1.0, None)["a"].joules is None


def test_no_garbage_is_looked_for_meanwhile(still) -> None:
    seen = []
    clock.rounds({"a": lambda: (seen.append(gc.isenabled()), still.run("a", 1)())}, 0.1, None)
    assert not any(seen)
    assert gc.isenabled()


def test_an_error_ends_it_and_garbage_is_looked_for_again() -> None:
    with pytest.raises(KeyboardInterrupt):
        clock.rounds({"a": _interrupted}, 0.1, None)
    assert gc.isenabled()


def _interrupted() -> None:
    raise KeyboardInterrupt


def test_a_real_clock_measures_real_time() -> None:
    found = clock.rounds({"a": lambda: time.sleep(0.002)}, 0.01, None)["a"]
    assert 0.002 <= found.median < 0.5
    assert len(found.seconds) >= clock.LEAST
