from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from cnnctl.config import verbs
from cnnctl.data.draws import Draws
from cnnctl.scoring.changes import CHANGES

SIDE = 40


def smooth(count: int = 6, channels: int = 3, side: int = SIDE) -> Tensor:
    """Images without sharp edges, uint8 (count, channels, side, side)."""
    generator = torch.Generator().manual_seed(2)
    coarse = torch.randint(0, 256, (count, channels, 5, 5), generator=generator).float()
    large = functional.resize(coarse, [side, side], antialias=True)
    return large.round().clamp(0, 255).to(torch.uint8)


def draws(samples: Any = range(6), seed: int = 0) -> Draws:
    return Draws(seed, 0, np.array([*samples]))


def changed(kind: Any, strength: float, images: Tensor | None = None, by: Any = None) -> Tensor:
    given = smooth() if images is None else images
    return CHANGES[kind].begin(given, by or draws(range(len(given))))(strength)


def far(one: Tensor, other: Tensor) -> float:
    """Mean difference, in levels."""
    return float((one.float() - other.float()).abs().mean())


def test_every_kind_that_can_be_asked_for_is_there() -> None:
    assert set(CHANGES) == set(verbs.Perturbation.__args__)  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("kind", CHANGES)
def test_strengths_rise_from_nothing(kind: Any) -> None:
    strengths = CHANGES[kind].strengths
    assert strengths[0] == 0
    assert len(strengths) == 7
    assert list(strengths) == sorted(set(strengths))
    assert len(f"{kind}, {CHANGES[kind].unit}") <= 26  # the corner of its table


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", CHANGES)
def test_more_is_further_from_the_image(kind: Any, channels: int) -> None:
    if kind == "hue" and channels == 1:
        return
    images = smooth(channels=channels)
    before = images.clone()
    begun = CHANGES[kind].begin(images, draws())
    found = [begun(strength) for strength in CHANGES[kind].strengths[1:]]
    assert all(one.dtype == torch.uint8 and one.shape == images.shape for one in found)
    assert torch.equal(images, before)
    distances = [far(one, images) for one in found]
    assert 0 < distances[0] < distances[2] < distances[4]


@pytest.mark.parametrize("kind", CHANGES)
def test_the_same_for_any_batch_and_any_order_of_strengths(kind: Any) -> None:
    images, strength = smooth(), CHANGES[kind].strengths[3]
    together = CHANGES[kind].begin(images, draws())
    together(CHANGES[kind].strengths[5])
    found = together(strength)
    alone = [changed(kind, strength, images[n : n + 1], draws([n])) for n in range(len(images))]
    assert torch.equal(found, torch.cat(alone))


@pytest.mark.parametrize("kind", [kind for kind in CHANGES if kind != "blur"])
def test_each_image_has_its_own_change_and_another_seed_another(kind: Any) -> None:
    images, strength = smooth(1).expand(12, -1, -1, -1).contiguous(), CHANGES[kind].strengths[3]
    found = changed(kind, strength, images)
    different = {one.numpy().tobytes() for one in found}
    if kind in ("scale", "rotate", "hue"):
        assert len(different) == 2  # a sign
    else:
        assert len(different) > 8
    other = changed(kind, strength, images, draws(range(12), seed=1))
    assert not torch.equal(found, other)


def test_a_shift_is_of_whole_pixels_and_as_far_as_it_says() -> None:
    images = torch.zeros(50, 1, 41, 41, dtype=torch.uint8)
    images[:, :, 20, 20] = 200
    found = changed("shift", 25, images)
    angles = []
    for one in found[:, 0]:
        ((row, column),) = one.nonzero().tolist()
        assert one[row, column] == 200
        down, right = row - 20, column - 20
        assert math.hypot(down, right) == pytest.approx(0.25 * 41, abs=0.8)
        angles.append(math.atan2(down, right))
    assert min(angles) < -2
    assert max(angles) > 2


def test_what_a_shift_uncovers_is_black() -> None:
    images = torch.full((9, 1, 20, 20), 90, dtype=torch.uint8)
    found = changed("shift", 40, images)
    assert found.unique().tolist() == [0, 90]


@pytest.mark.parametrize("strength", [25, 100])
def test_a_scale_makes_a_square_larger_or_as_many_times_smaller(strength: float) -> None:
    images = torch.zeros(20, 1, 80, 80, dtype=torch.uint8)
    images[:, :, 30:50, 30:50] = 255
    wide = (changed("scale", strength, images).float() / 255).sum((2, 3)).sqrt().flatten()
    factor = 1 + strength / 100
    larger = wide > 20
    assert 0 < larger.sum() < 20
    torch.testing.assert_close(
        wide[larger], torch.full_like(wide[larger], 20 * factor), rtol=0.02, atol=0.1
    )
    smaller = wide[~larger]
    torch.testing.assert_close(smaller, torch.full_like(smaller, 20 / factor), rtol=0.02, atol=0.1)


def test_a_rotation_by_a_right_angle_is_exact_in_one_or_the_other_direction() -> None:
    images = smooth(20)
    found = changed("rotate", 90, images)
    turned = [
        next((k for k in (1, 3) if far(one.rot90(k, (1, 2)), found[n]) < 1e-3), None)
        for n, one in enumerate(images)
    ]
    assert set(turned) == {1, 3}


def test_a_rotation_is_that_of_torchvision() -> None:
    images = smooth(8)
    found = changed("rotate", 20, images)
    both = [
        functional.rotate(
            images, degrees, interpolation=functional.InterpolationMode.BILINEAR, fill=[0.0]
        )
        for degrees in (20.0, -20.0)
    ]
    for number, one in enumerate(found):
        assert min(far(one, turned[number]) for turned in both) < 0.01


def test_pixels_move_by_their_share_of_the_side_when_deformed() -> None:
    """A ramp says from where each pixel is read: 2 levels a pixel."""
    ramp = (20 + 2 * torch.arange(80)).to(torch.uint8).expand(4, 1, 80, 80)
    strength = 4
    across = changed("deform", strength, ramp).float() - ramp
    down = changed("deform", strength, ramp.mT).float() - ramp.mT
    inner = (across.square() + down.square())[..., 8:-8, 8:-8] / 4
    assert float(inner.mean().sqrt()) == pytest.approx(strength / 100 * 80, rel=0.2)


def test_hue_turns_the_colours_and_leaves_grey() -> None:
    images = torch.zeros(9, 3, 4, 4, dtype=torch.uint8)
    images[:, 0, :2], images[:, :, 2:] = 255, 77
    found = changed("hue", 1 / 3, images)
    assert (found[:, :, 2:] == 77).all()
    colours = {tuple(one[:, 0, 0].tolist()) for one in found}
    assert colours <= {(0, 255, 0), (0, 0, 255), (0, 255, 1), (1, 0, 255), (0, 1, 255), (1, 255, 0)}
    assert len(colours) == 2


def test_noise_has_the_deviation_that_it_says() -> None:
    grey = torch.full((4, 3, 50, 50), 128, dtype=torch.uint8)
    for strength in (0.05, 0.1):
        values = changed("noise", strength, grey).float()
        assert float(values.std()) == pytest.approx(255 * strength, rel=0.03)
        assert float(values.mean()) == pytest.approx(128, abs=1)
    whole = changed("noise", 0.5, grey)
    assert (int(whole.min()), int(whole.max())) == (0, 255)


def test_a_blur_spreads_a_point_by_its_deviation() -> None:
    images = torch.zeros(1, 1, 101, 101, dtype=torch.uint8)
    images[..., 40:61, 40:61] = 255
    given = images[0, 0].double().sum(0)
    found = changed("blur", 5, images)[0, 0].double().sum(0)
    places = torch.arange(101) - 50.0

    def spread(line: Tensor) -> float:
        return float((line * places**2).sum() / line.sum())

    assert math.sqrt(spread(found) - spread(given)) == pytest.approx(0.05 * 101, rel=0.05)


@pytest.mark.parametrize("side", [2, 3, 8])
def test_a_blur_of_tiny_images_reaches_no_further_than_they_do(side: int) -> None:
    images = smooth(side=side)
    assert changed("blur", 300, images).shape == images.shape
    flat = torch.full((1, 1, side, side), 9, dtype=torch.uint8)
    assert torch.equal(changed("blur", 300, flat), flat)


@pytest.mark.parametrize("strength", [5, 30, 60, 100])
def test_a_grey_square_hides_its_share_at_a_place_inside(strength: float) -> None:
    images = torch.zeros(30, 3, SIDE, SIDE, dtype=torch.uint8)
    hidden = changed("occlusion", strength, images) == 128
    assert torch.equal(hidden[:, 0], hidden[:, 2])
    side = round(math.sqrt(strength / 100) * SIDE)
    assert hidden[:, 0].sum((1, 2)).unique().tolist() == [side**2]
    assert hidden[:, 0].any(1).sum(1).unique().tolist() == [side]
    assert hidden[:, 0].any(2).sum(1).unique().tolist() == [side]
    corners = {tuple(one[0].nonzero()[0].tolist()) for one in hidden}
    assert len(corners) > 10 or strength == 100
