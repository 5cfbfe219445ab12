from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode, functional

from cnnctl.data.augment.geometry import Deform, Elastic, Rotate, ShiftFlip
from cnnctl.data.draws import Draws

BILINEAR = InterpolationMode.BILINEAR


def draws(count: int, epoch: int = 0, seed: int = 0) -> Draws:
    return Draws(seed, epoch, np.arange(count))


def pictures(count: int, channels: int = 3, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    shape = (count, channels, size, size)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def marked(count: int) -> torch.Tensor:
    """8x8, black, with one white pixel in row 3, column 2."""
    images = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    images[:, 0, 3, 2] = 255
    return images


@pytest.mark.parametrize("flip", [0, 0.5, 1])
@pytest.mark.parametrize("shift", [0, 1, 4])
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32), (3, 11)])
def test_every_image_is_torchvisions_pad_crop_and_flip(channels, size, shift, flip) -> None:
    change, images = ShiftFlip(shift, flip), pictures(60, channels, size)
    changed = change(images, draws(60))
    for place, (top, left, mirrored) in enumerate(zip(*change.parameters(draws(60)), strict=True)):
        expected = functional.pad(images[place], [shift])
        expected = functional.crop(expected, int(top), int(left), size, size)
        expected = functional.horizontal_flip(expected) if mirrored else expected
        assert torch.equal(changed[place], expected)


def test_shift_moves_by_up_to_that_many_pixels_alike() -> None:
    changed = ShiftFlip(2, 0)(marked(5000), draws(5000, seed=1))
    places = [tuple(place) for place in changed.nonzero()[:, 2:].tolist()]
    expected = {(3 + y, 2 + x) for y in range(-2, 3) for x in range(-2, 3)}
    assert set(places) == expected
    counts = [places.count(place) for place in expected]
    assert 140 < min(counts) <= max(counts) < 260  # 200 each, deviation 14


def test_shift_fills_with_black() -> None:
    changed = ShiftFlip(2, 0)(torch.full((400, 1, 8, 8), 255, dtype=torch.uint8), draws(400))
    assert set(changed.unique().tolist()) == {0, 255}
    assert int((changed > 0).flatten(1).sum(1).min()) == 36


@pytest.mark.parametrize(("flip", "share"), [(0, 0), (0.25, 0.25), (0.5, 0.5), (1, 1)])
def test_flip_mirrors_left_and_right_with_its_probability(flip, share) -> None:
    changed = ShiftFlip(0, flip)(marked(4000), draws(4000))
    assert {tuple(place) for place in changed.nonzero()[:, 2:].tolist()} <= {(3, 2), (3, 5)}
    mirrored = (changed[:, 0, 3, 5] > 0).float().mean().item()
    assert mirrored == pytest.approx(share, abs=0.03 if 0 < flip < 1 else 0)


def test_shift_and_flip_know_nothing_of_each_other() -> None:
    top, left, mirrored = ShiftFlip(1, 0.5).parameters(draws(9000))
    for y in range(3):
        for x in range(3):
            chosen = mirrored[(top == y) & (left == x)]
            assert 850 < len(chosen) < 1150
            assert chosen.float().mean().item() == pytest.approx(0.5, abs=0.07)


def flipped(change: ShiftFlip, epochs: int, images: int = 400, seed: int = 0) -> torch.Tensor:
    """Whether each image is mirrored in each epoch, (epochs, images)."""
    numbers = [draws(images, epoch, seed) for epoch in range(epochs)]
    return torch.stack([change.parameters(one)[2] for one in numbers])


def test_by_turns_an_image_is_mirrored_in_every_second_epoch() -> None:
    mirrored = flipped(ShiftFlip(2, 0.5, by_turns=True), 40)
    assert torch.equal(mirrored[1:], ~mirrored[:-1])
    assert 160 < int(mirrored[0].sum()) < 240
    changed = ShiftFlip(0, 0.5, by_turns=True)(marked(400), draws(400, 3))
    assert torch.equal(changed[:, 0, 3, 5] > 0, mirrored[3])


@pytest.mark.parametrize(("flip", "cycle"), [(0.25, 4), (0.75, 4), (0.125, 8)])
def test_by_turns_any_share_of_the_epochs_is_met_exactly(flip, cycle) -> None:
    mirrored = flipped(ShiftFlip(0, flip, by_turns=True), 3 * cycle)
    for start in range(2 * cycle):
        window = mirrored[start : start + cycle].sum(0)
        assert set(window.tolist()) == {int(flip * cycle)}


def test_by_turns_depends_on_image_and_seed_and_not_on_the_batch() -> None:
    change = ShiftFlip(1, 0.5, by_turns=True)
    mirrored = change.parameters(draws(400, 5))[2]
    part = change.parameters(Draws(0, 5, np.arange(100, 200)))[2]
    assert torch.equal(part, mirrored[100:200])
    agreeing = mirrored == change.parameters(draws(400, 5, seed=1))[2]
    assert 160 < int(agreeing.sum()) < 240


def test_turns_leave_the_shifts_as_they_were() -> None:
    plain, turned = (
        ShiftFlip(4, 0.5, by_turns=turns).parameters(draws(50)) for turns in (False, True)
    )
    assert torch.equal(plain[0], turned[0])
    assert torch.equal(plain[1], turned[1])


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32), (3, 33)])
@pytest.mark.parametrize("degrees", [10, 180])
def test_every_image_is_torchvisions_rotation(channels, size, degrees) -> None:
    change, images = Rotate(degrees), pictures(40, channels, size)
    changed = change(images, draws(40))
    for image, angle, found in zip(images, change.parameters(draws(40)), changed, strict=True):
        assert torch.equal(found, functional.rotate(image, angle.item(), BILINEAR, fill=0))


def test_rotate_turns_by_up_to_that_angle_both_ways() -> None:
    angles = Rotate(20).parameters(draws(4000))
    assert angles.dtype == torch.float64
    assert -20 <= angles.min() < -19.9
    assert 19.9 < angles.max() <= 20
    assert angles.mean().item() == pytest.approx(0, abs=0.6)
    assert angles.std().item() == pytest.approx(20 / 3**0.5, rel=0.03)


def test_a_rotated_spot_stays_at_its_distance() -> None:
    images = torch.zeros(100, 1, 33, 33, dtype=torch.uint8)
    images[:, 0, 14:19, 26:31] = 255
    changed = Rotate(20)(images, draws(100)).float()[:, 0]
    weights = changed / changed.sum((1, 2), keepdim=True)
    grid = torch.arange(33.0) - 16
    y, x = (weights.sum(2) * grid).sum(1), (weights.sum(1) * grid).sum(1)
    torch.testing.assert_close(torch.hypot(x, y), torch.full((100,), 12.0), rtol=0, atol=0.3)
    found = torch.rad2deg(torch.atan2(-y, x))
    torch.testing.assert_close(found, Rotate(20).parameters(draws(100)).float(), rtol=0, atol=1)


@pytest.mark.parametrize(("alpha", "sigma"), [(34, 4), (8, 1.5), (50, 0.1)])
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32)])
def test_every_image_is_torchvisions_elastic_distortion(channels, size, alpha, sigma) -> None:
    change, images = Elastic(alpha, sigma), pictures(20, channels, size)
    changed = change(images, draws(20))
    moves = change.parameters(draws(20), size, size)
    for image, move, found in zip(images, moves, changed, strict=True):
        assert torch.equal(found, functional.elastic(image, move[None], BILINEAR, fill=0))


@pytest.mark.parametrize("sigma", [0.3, 1.0, 1.99, 2.4, 4.0])
def test_noise_is_blurred_as_torchvision_blurs_it(sigma) -> None:
    change, size = Elastic(30, sigma), 24
    kernel = int(8 * sigma + 1) | 1
    noise = change.noise(draws(3), size, size)
    blurred = functional.gaussian_blur(noise, [kernel, kernel], [sigma, sigma])
    expected = (blurred * 30 / size).permute(0, 2, 3, 1).float()
    found = change.parameters(draws(3), size, size)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-7)


def test_noise_is_uniform_and_of_each_image_its_own() -> None:
    noise = Elastic(1, 1).noise(draws(20), 16, 16)
    assert tuple(noise.shape) == (20, 2, 16, 16)
    assert -1 <= noise.min() < -0.99
    assert 0.99 < noise.max() < 1
    assert len(noise.unique()) == noise.numel()
    assert noise.mean().item() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("change", [ShiftFlip(4, 0.5), Rotate(30), Elastic(30, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_change_keeps_shape_and_type_and_its_input(change, channels) -> None:
    images = pictures(5, channels)
    before = images.clone()
    changed = change(images, draws(5))
    assert (changed.dtype, changed.shape) == (torch.uint8, images.shape)
    assert torch.equal(images, before)
    assert not torch.equal(changed, images)


@pytest.mark.parametrize("change", [ShiftFlip(4, 0.5), Rotate(30), Elastic(30, 3)])
def test_a_change_follows_seed_and_epoch(change) -> None:
    images = pictures(1).expand(6, -1, -1, -1).contiguous()
    first = change(images, draws(6))
    assert torch.equal(first, change(images, draws(6)))
    assert not torch.equal(first, change(images, draws(6, epoch=1)))
    assert not torch.equal(first, change(images, draws(6, seed=1)))
    assert len({image.numpy().tobytes() for image in first}) == 6


def cubic(far: float) -> float:
    """The weight of a pixel so far away (Keys 1981, with a = -0.75)."""
    far, a = abs(far), -0.75
    if far <= 1:
        return (a + 2) * far**3 - (a + 3) * far**2 + 1
    return a * far**3 - 5 * a * far**2 + 8 * a * far - 4 * a if far < 2 else 0.0


def between(points: np.ndarray, length: int) -> np.ndarray:
    """Values on a line of points at equal distances, its ends those of the line; edges go on."""
    found = np.zeros(length)
    for place in range(length):
        at = place * (len(points) - 1) / (length - 1)
        for tap in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
            found[place] += cubic(at - tap) * points[min(max(tap, 0), len(points) - 1)]
    return found


@pytest.mark.parametrize(("points", "height", "width"), [(3, 20, 28), (2, 9, 9), (5, 31, 16)])
def test_a_deformation_is_bicubic_between_the_points(points, height, width) -> None:
    change = Deform(points, 10)
    moves = change.parameters(draws(4)).numpy()
    still = Deform(points, 0).grid(draws(4), height, width, torch.device("cpu"))
    found = change.grid(draws(4), height, width, torch.device("cpu")) - still
    size = np.array([width, height])
    for image in range(4):
        for axis in range(2):
            across = np.stack([between(row, width) for row in moves[image, axis]])
            wanted = np.stack([between(column, height) for column in across.T]).T
            pixels = found[image, ..., axis].numpy() * size[axis] / 2  # 2 is the image
            assert np.allclose(pixels, wanted, atol=2e-4)
            corners = moves[image, axis][[0, 0, -1, -1], [0, -1, 0, -1]]
            assert np.allclose(wanted[[0, 0, -1, -1], [0, -1, 0, -1]], corners)


def test_the_points_of_a_deformation_are_gaussian() -> None:
    moves = Deform(3, 10).parameters(draws(4000))
    assert moves.shape == (4000, 2, 3, 3)
    assert float(moves.mean()) == pytest.approx(0, abs=0.15)
    assert float(moves.std()) == pytest.approx(10, rel=0.02)
    together = np.corrcoef(moves.flatten(1).T)
    assert np.abs(together - np.eye(18)).max() < 0.08  # all of them apart


def test_a_deformation_reads_where_its_grid_says_and_black_outside() -> None:
    images = torch.full((20, 1, 24, 24), 255, dtype=torch.uint8)
    images[:, 0, 8:16, 8:16] = 100
    still = Deform(3, 1e-6)(images, draws(20))
    assert (still[:, :, 1:-1, 1:-1].int() - images[:, :, 1:-1, 1:-1].int()).abs().max() <= 1
    moved = Deform(3, 6)(images, draws(20))
    grid = Deform(3, 6).grid(draws(20), 24, 24, torch.device("cpu"))
    outside = (grid.abs() > 1 + 1 / 24).any(-1)
    assert outside.any()
    assert int(moved[:, 0][outside].max()) == 0
    assert int(moved[:, 0][~outside].max()) == 255
