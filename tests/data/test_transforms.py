from __future__ import annotations

from typing import Any

import pytest
import torch

from cnnctl import runs
from cnnctl.config import paths
from cnnctl.config.images import Augment, Digits
from cnnctl.config.read import read
from cnnctl.data import transforms

RAW = {"mean": [0], "std": [1]}


def digits(**changes: Any) -> Digits:
    numbers = runs.read_config(paths.conf_dir() / "data" / "digits.yaml")
    found, problems = read(Digits, numbers | changes, "data")
    assert problems == []
    assert found is not None
    return found


def augment(name: str = "none", **changes: Any) -> Augment:
    numbers = runs.read_config(paths.conf_dir() / "augment" / f"{name}.yaml")
    found, problems = read(Augment, numbers | changes, "augment")
    assert problems == []
    assert found is not None
    return found


def many(times: int = 60, size: int = 8, image: torch.Tensor | None = None, **changes: Any):
    """One image, changed that often; values in 0..255 again."""
    transform = transforms.training(digits(size=size, **RAW), augment(**changes))
    image = marked() if image is None else image
    torch.manual_seed(0)
    return [transform(image) * 255 for _ in range(times)]


def marked() -> torch.Tensor:
    """8x8, black, with one white pixel in row 3, column 2."""
    image = torch.zeros(1, 8, 8, dtype=torch.uint8)
    image[0, 3, 2] = 255
    return image


@pytest.mark.parametrize("shape", [(32, 32), (50, 40), (17, 90), (8, 8)])
@pytest.mark.parametrize("name", ["none", "shift", "shift_rotate", "flip_crop", "resized_crop"])
def test_every_image_becomes_a_square_of_floats(shape, name) -> None:
    data = digits(channels=3, mean=[0, 0, 0], std=[1, 1, 1])
    image = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    for transform in (transforms.evaluation(data), transforms.training(data, augment(name))):
        changed = transform(image)
        assert (changed.dtype, tuple(changed.shape)) == (torch.float32, (3, 32, 32))


def test_normalising_is_exact() -> None:
    data = digits(size=2, channels=3, mean=[0.5, 0.25, 0], std=[0.5, 0.25, 2])
    image = torch.tensor([0, 51, 102, 255], dtype=torch.uint8).reshape(1, 2, 2).expand(3, -1, -1)
    expected = torch.tensor([
        [-1, -0.6, -0.2, 1], [-1, -0.2, 0.6, 3], [0, 0.1, 0.2, 0.5],
    ]).reshape(3, 2, 2)  # fmt: skip
    torch.testing.assert_close(transforms.evaluation(data)(image), expected, rtol=0, atol=1e-6)


def test_an_image_of_the_right_size_keeps_its_pixels() -> None:
    image = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8)
    for transform in (transforms.evaluation(digits(size=8, **RAW)),
                      transforms.training(digits(size=8, **RAW), augment())):  # fmt: skip
        assert torch.equal((transform(image) * 255).round().to(torch.uint8), image)


def test_the_short_side_is_resized_and_the_centre_kept() -> None:
    image = torch.zeros(1, 16, 64, dtype=torch.uint8)
    image[..., 24:40] = 200
    changed = transforms.evaluation(digits(size=8, **RAW))(image) * 255
    assert changed[..., 1:7].unique().round().tolist() == [200]


def test_shift_moves_by_up_to_that_many_pixels() -> None:
    places = {tuple(image[0].nonzero()[0].tolist()) for image in many(600, shift=2)}
    assert places == {(3 + y, 2 + x) for y in range(-2, 3) for x in range(-2, 3)}


def test_shift_fills_with_black() -> None:
    white = torch.full((1, 8, 8), 255, dtype=torch.uint8)
    changed = many(100, image=white, shift=2)
    assert {tuple(image.unique().tolist()) for image in changed} == {(255,), (0, 255)}
    assert min(int((image > 0).sum()) for image in changed) == 36


@pytest.mark.parametrize(("flip", "share"), [(0, 0), (0.5, 0.5), (1, 1)])
def test_flip_mirrors_left_and_right_with_its_probability(flip, share) -> None:
    changed = many(400, flip=flip)
    assert {tuple(image[0].nonzero()[0].tolist()) for image in changed} <= {(3, 2), (3, 5)}
    mirrored = sum(bool(image[0, 3, 5] > 0) for image in changed) / 400
    assert mirrored == pytest.approx(share, abs=0.07 if 0 < flip < 1 else 0)


def test_rotate_turns_by_up_to_that_angle_both_ways() -> None:
    image = torch.zeros(1, 33, 33, dtype=torch.uint8)
    image[0, 14:19, 26:31] = 255
    grid = torch.arange(33.0) - 16
    angles = []
    for changed in many(200, size=33, image=image, rotate=20):
        weights = changed[0] / changed.sum()
        y, x = (weights.sum(1) * grid).sum(), (weights.sum(0) * grid).sum()
        angles.append(torch.rad2deg(torch.atan2(y, x)).item())
        assert torch.hypot(x, y).item() == pytest.approx(12, abs=0.3)
    assert 18 < max(angles) < 20.5
    assert -20.5 < min(angles) < -18


def test_crop_keeps_a_part_of_the_given_area() -> None:
    image = torch.arange(100, dtype=torch.uint8).reshape(1, 1, 100).expand(1, 100, 100)
    widths = [
        (changed.max() - changed.min()).item()
        for changed in many(100, size=100, image=image, crop=[0.25, 0.25])
    ]
    low, high = 100 * (0.25 * 3 / 4) ** 0.5, 100 * (0.25 * 4 / 3) ** 0.5
    assert low - 3 < min(widths) < low + 3
    assert high - 3 < max(widths) < high + 3


def test_the_changes_follow_torchs_seed() -> None:
    first, again = many(5, shift=2, flip=0.5, rotate=10), many(5, shift=2, flip=0.5, rotate=10)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(first[0], other) for other in first)


def test_evaluation_changes_nothing_at_random() -> None:
    transform = transforms.evaluation(digits(size=6))
    image = torch.randint(0, 256, (1, 9, 12), dtype=torch.uint8)
    before = torch.get_rng_state()
    assert torch.equal(transform(image), transform(image))
    assert torch.equal(torch.get_rng_state(), before)
