from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.data.draws import Draws, _mix

WORD = st.integers(0, 2**32 - 1)
SAMPLES = st.lists(st.integers(0, 2**31), min_size=1, max_size=8)


def draws(count: int = 1000, seed: int = 0, epoch: int = 0) -> Draws:
    return Draws(seed, epoch, np.arange(count))


@settings(max_examples=60, deadline=None)
@given(WORD, WORD, SAMPLES, st.integers(1, 9))
def test_an_images_draws_do_not_depend_on_its_batch(seed, epoch, samples, count) -> None:
    together = Draws(seed, epoch, np.array(samples))
    for place, sample in enumerate(samples):
        alone = Draws(seed, epoch, np.array([sample]))
        assert torch.equal(alone.uniform("x", count)[0], together.uniform("x", count)[place])
        assert torch.equal(alone.normal("x", count)[0], together.normal("x", count)[place])


@settings(max_examples=60, deadline=None)
@given(WORD, WORD, SAMPLES)
def test_draws_lie_in_their_range(seed, epoch, samples) -> None:
    found = Draws(seed, epoch, np.array(samples))
    uniform, normal = found.uniform("x", 5), found.normal("x", 5)
    for numbers in (uniform, normal):
        assert (numbers.dtype, tuple(numbers.shape)) == (torch.float64, (len(samples), 5))
        assert numbers.device.type == "cpu"
    assert (uniform >= 0).all()
    assert (uniform < 1).all()
    assert normal.isfinite().all()


def test_earlier_draws_of_a_purpose_do_not_depend_on_how_many_follow() -> None:
    assert torch.equal(draws().uniform("x", 9)[:, :4], draws().uniform("x", 4))


@pytest.mark.parametrize(
    "other", [draws(seed=1).uniform("x"), draws(epoch=1).uniform("x"), draws().uniform("y")]
)
def test_seed_epoch_and_purpose_are_apart(other) -> None:
    first = draws().uniform("x")
    assert len(torch.cat((first, other)).unique()) == 2000
    assert abs(np.corrcoef(first[:, 0], other[:, 0])[0, 1]) < 0.12


def test_seed_and_epoch_do_not_stand_for_each_other() -> None:
    assert not torch.equal(draws(seed=1).uniform("x"), draws(epoch=1).uniform("x"))


def test_drawing_again_draws_the_same_and_leaves_torch_alone() -> None:
    state = torch.get_rng_state()
    one = draws()
    first = one.uniform("x", 3)
    one.normal("y")
    assert torch.equal(one.uniform("x", 3), first)
    assert torch.equal(torch.get_rng_state(), state)


def test_uniform_draws_fill_their_range_evenly() -> None:
    for count in (1, 4):
        numbers = draws(40_000 // count).uniform("even", count).flatten()
        tens = torch.bincount((numbers * 100).long(), minlength=100).double()
        chi_square = ((tens - 400) ** 2 / 400).sum().item()
        assert 50 < chi_square < 160  # 99, deviation 14


def test_neighbours_are_not_alike() -> None:
    """Of one image, and of images whose numbers follow each other."""
    numbers = draws(20_000).uniform("x", 2).numpy()
    assert abs(np.corrcoef(numbers[:, 0], numbers[:, 1])[0, 1]) < 0.03
    assert abs(np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]) < 0.03
    assert abs(np.corrcoef(numbers[:-1, 1], numbers[1:, 0])[0, 1]) < 0.03
    pairs = (numbers[:, 0] * 10).astype(int) * 10 + (numbers[:, 1] * 10).astype(int)
    cells = np.bincount(pairs, minlength=100)
    assert 50 < ((cells - 200) ** 2 / 200).sum() < 160


def test_normal_draws_are_normal() -> None:
    numbers = draws(50_000).normal("x", 2)
    assert numbers.mean().item() == pytest.approx(0, abs=0.02)
    assert numbers.std().item() == pytest.approx(1, abs=0.02)
    for limit, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        assert (numbers.abs() < limit).double().mean().item() == pytest.approx(share, abs=0.005)
    assert abs(np.corrcoef(numbers[:, 0], numbers[:, 1])[0, 1]) < 0.02


def test_what_a_batch_shares_is_keyed_by_its_first_image() -> None:
    first = Draws(0, 0, np.array([5, 1, 2])).batch("mix").random(4)
    assert (Draws(0, 0, np.array([5, 9])).batch("mix").random(4) == first).all()
    assert not (Draws(0, 0, np.array([1, 5, 2])).batch("mix").random(4) == first).any()
    assert not (Draws(0, 1, np.array([5, 1, 2])).batch("mix").random(4) == first).any()
    assert not (Draws(1, 0, np.array([5, 1, 2])).batch("mix").random(4) == first).any()
    assert not (Draws(0, 0, np.array([5, 1, 2])).batch("way").random(4) == first).any()


def test_bits_are_mixed_as_splitmix64_mixes_them() -> None:
    """The stream of seed 1234567 that the generator's authors print."""
    steps = np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    found = _mix(np.full(3, 1234567, dtype=np.uint64) + steps)
    assert found.tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_the_numbers_stay_the_same_for_good() -> None:
    """A run that resumes under another version sees the same images."""
    found = Draws(3, 2, np.array([0, 7])).uniform("shift", 2)
    assert found.tolist() == [
        [0.5622708533541917, 0.6898975820774871], [0.8176319784383093, 0.02520438905153488],
    ]  # fmt: skip
