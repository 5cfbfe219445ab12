from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import pytest
from audited import ADAM, NORMED, subject
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnnctl.audit import budget
from cnnctl.audit.budget import CONTEXT, MOMENTUM, SLACK, Fit, fits, largest, reserve
from cnnctl.audit.step import Setting, measure
from cnnctl.errors import NetError

LAW = settings(deadline=None, max_examples=50)
GB = 10**9


class Counted:
    """A peak that counts how often it is asked for."""

    def __init__(self, peak: Callable[[int], int]) -> None:
        self.peak = peak
        self.asked: list[int] = []

    def __call__(self, batch: int) -> int:
        self.asked.append(batch)
        return self.peak(batch)


def lines(given: Sequence[tuple[int, int]]) -> Counted:
    """The maximum of straight lines slope x batch + start."""
    return Counted(lambda batch: max(slope * batch + start for slope, start in given))


@pytest.fixture
def asked(monkeypatch) -> list[int]:
    """The batches that are measured."""
    batches = []

    def counted(net, shape, setting):
        batches.append(setting.batch_size)
        return measure(net, shape, setting)

    monkeypatch.setattr(budget, "measure", counted)
    return batches


def none(_: int) -> int:
    return 0


def slack(tensors: int) -> int:
    return 50 + tensors // 10


LINES = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 4000)), min_size=1, max_size=5)


@LAW
@given(LINES, st.integers(0, 6000), st.sampled_from([none, slack]))
@example([(1, 0)], 0, none)
@example([(1, 0)], 1, none)
@example([(7, 0)], 700, none)
@example([(1, 1000), (60, 0)], 1001, none)
def test_the_largest_batch_is_that_of_trying_all(given, whole, extra) -> None:
    peak = lines(given)
    best = 0
    while peak.peak(best + 1) + extra(peak.peak(best + 1)) <= whole:
        best += 1
    used = peak.peak(best) if best else 0
    assert largest(peak, whole, extra) == Fit(whole, extra(used), best, used)
    assert len(peak.asked) == len(set(peak.asked)) <= 5 * (best + 1).bit_length() + 2


@LAW
@given(LINES, st.integers(1, 3000))
def test_a_budget_that_is_met_exactly_holds_the_batch(given, batch) -> None:
    peak = lines(given)
    whole = peak.peak(batch)
    found = largest(peak, whole, none)
    assert found.batch_size >= batch
    assert found.peak == whole
    one_less = largest(lines(given), whole - 1, none)
    assert one_less.batch_size < batch


def test_where_nothing_fits_the_batch_is_0() -> None:
    peak = lines([(10, 990)])
    assert largest(peak, 999, none) == Fit(999, 0, 0, 0)
    assert peak.asked == [1]
    assert largest(peak, 1000, none).batch_size == 1


@pytest.mark.parametrize("flat", [1_000_000, 999_983, 1_048_576])
def test_a_peak_that_is_flat_and_then_steep_is_not_followed_step_by_step(flat) -> None:
    peak = Counted(lambda batch: flat + max(0, 10**6 * (batch - 900_000)) + batch // 10**6)
    found = largest(peak, flat + 1, none)
    assert (found.batch_size, found.peak) == (900_000, flat)
    assert len(peak.asked) <= 70


def test_one_straight_line_takes_a_doubling_and_one_guess() -> None:
    peak = lines([(3, 1000)])
    assert largest(peak, 1000 + 3 * 700, none).batch_size == 700
    assert peak.asked == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 700, 701]


def refusing(batch: int) -> int:
    if batch == 1:
        raise NetError("a batch of 1 cannot be trained on")
    return 100 * batch


@pytest.mark.parametrize(
    ("whole", "batch", "peak"), [(199, 0, 0), (200, 2, 200), (299, 2, 200), (1234, 12, 1200)]
)
def test_a_batch_that_is_refused_does_not_fit_however_little_it_takes(whole, batch, peak) -> None:
    assert largest(refusing, whole, none) == Fit(whole, 0, batch, peak)


@pytest.mark.parametrize(
    ("name", "optimizer", "accelerator", "whole"),
    [
        ("alexnet", MOMENTUM, "cpu", 3 * GB),
        ("alexnet", MOMENTUM, "gpu", 3 * GB),
        ("vgg16", ADAM, "cpu", 3 * GB),
        ("vgg16", ADAM, "gpu", 3 * GB),
        ("resnet50", MOMENTUM, "cpu", 24 * GB),
        ("resnet50", MOMENTUM, "gpu", 24 * GB),
        ("lenet5", ADAM, "gpu", 141 * GB),
    ],
)
def test_of_real_nets_the_batch_that_is_found_fits_and_one_more_does_not(
    name, optimizer, accelerator, whole
) -> None:
    net = subject(name)
    setting = Setting(1, optimizer, accelerator=accelerator)
    (found,) = fits(net, setting, {"it": whole}, None)

    def needs(batch: int) -> int:
        peak = measure(net.net, net.input, replace(setting, batch_size=batch)).peak
        return peak + reserve(peak, accelerator, None)

    assert found["peak"] + found["reserve"] == needs(found["batch_size"]) <= whole
    assert needs(found["batch_size"] + 1) > whole
    assert found["fits"]


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "mobilenet_v2", "lenet5", "perceptron"])
def test_a_few_steps_find_the_largest_batch_in_141_gb(name, asked) -> None:
    (found,) = fits(subject(name), Setting(32, MOMENTUM, accelerator="gpu"), {"x": 141 * GB}, None)
    assert found["batch_size"] > 1000
    assert len(asked) <= 40
    assert len(asked) == len(set(asked))


def test_several_budgets_share_what_has_been_measured(asked) -> None:
    found = fits(subject("alexnet"), Setting(64, MOMENTUM), {"a": 3 * GB, "b": 24 * GB}, None)
    assert [one["name"] for one in found] == ["a", "b"]
    assert found[0]["batch_size"] < found[1]["batch_size"]
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize(
    ("accelerator", "given", "bytes_"),
    [
        ("cpu", None, 0),
        ("cpu", 7, 7),
        ("gpu", 0, 0),
        ("gpu", 10**9, 10**9),
        ("gpu", None, 500_000_000 + 60_000_000),
    ],
)
def test_what_is_left_for_other_things_than_tensors(accelerator, given, bytes_) -> None:
    assert reserve(10**9, accelerator, given) == bytes_
    assert (CONTEXT, SLACK) == (500_000_000, 0.06)


@pytest.mark.parametrize("given", [0, 10**8, 10**9])
def test_a_given_reserve_is_taken_off_the_budget(given) -> None:
    net, setting = subject("alexnet"), Setting(8, MOMENTUM, accelerator="gpu")
    (with_it,) = fits(net, setting, {"3GB": 3 * GB}, given)
    (without,) = fits(net, setting, {"less": 3 * GB - given}, 0)
    assert with_it["reserve"] == given
    assert with_it["batch_size"] == without["batch_size"]
    assert with_it["peak"] == without["peak"] <= 3 * GB - given


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
@pytest.mark.parametrize("more", [0, 1])
def test_the_batch_that_is_wanted_fits_as_long_as_it_is_not_above_the_largest(
    accelerator, more
) -> None:
    net, setting = subject("lenet5"), Setting(1, ADAM, accelerator=accelerator)
    (found,) = fits(net, setting, {"1GB": GB}, None)
    wanted = found["batch_size"] + more
    (again,) = fits(net, replace(setting, batch_size=wanted), {"1GB": GB}, None)
    assert again == found | {"wanted": wanted, "fits": more == 0}
    assert list(again) == ["budget", "reserve", "batch_size", "peak", "name", "wanted", "fits"]


def test_a_net_whose_weights_are_too_large_has_no_batch() -> None:
    (found,) = fits(subject("vgg16"), Setting(32, ADAM), {"2GB": 2 * GB}, None)
    nothing = Fit(2 * GB, 0, 0, 0)
    assert found == asdict(nothing) | {"name": "2GB", "wanted": 32, "fits": False}


def test_a_wanted_batch_that_cannot_be_trained_is_refused() -> None:
    with pytest.raises(NetError, match=r"^a batch of 1 cannot be trained on"):
        fits(NORMED, Setting(1, MOMENTUM), {"1GB": GB}, None)
    (found,) = fits(NORMED, Setting(2, MOMENTUM), {"1MB": 10**6}, None)
    assert found["batch_size"] > 2
