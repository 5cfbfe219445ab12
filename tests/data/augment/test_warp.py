from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import affine_grid, grid_sample
from torchvision.transforms.v2 import InterpolationMode, functional

from cnnctl.data.augment import warp

CPU = torch.device("cpu")


def pictures(count: int, height: int = 12, width: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator, dtype=torch.uint8)


def turned(images: torch.Tensor, degrees: list[float], mode: str, *, rim: bool) -> torch.Tensor:
    turns = warp.rotation(torch.tensor(degrees, dtype=torch.float64))
    grid = warp.places(turns, images.shape[-2], images.shape[-1], CPU)
    return warp.resample(images, grid, mode, rim=rim)


@pytest.mark.parametrize(("rim", "fill"), [(False, None), (True, 0)])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize(("height", "width"), [(12, 12), (32, 32), (17, 31)])
def test_a_turn_is_torchvisions_with_and_without_fill(height, width, mode, rim, fill) -> None:
    degrees = [0.0, 3.7, -12.25, 45.0, 90.0, -90.0, 180.0, 135.0, -171.5]
    images = pictures(len(degrees), height, width)
    changed = turned(images, degrees, mode, rim=rim)
    for image, angle, found in zip(images, degrees, changed, strict=True):
        how = InterpolationMode(mode)
        assert torch.equal(found, functional.rotate(image, angle, how, fill=fill)), angle


@settings(max_examples=40, deadline=None)
@given(st.floats(-180, 180), st.integers(1, 40), st.integers(1, 40))
def test_the_places_are_those_of_torchs_affine_grid(angle, height, width) -> None:
    matrices = warp.rotation(torch.tensor([angle], dtype=torch.float64))
    found = warp.places(matrices, height, width, CPU)
    ratio = torch.tensor([[1, height / width], [width / height, 1]])
    theta = torch.cat((matrices[0, :, :2].float() * ratio, torch.zeros(2, 1)), 1)[None]
    expected = affine_grid(theta, [1, 1, height, width], align_corners=False)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_the_identity_leaves_every_pixel_where_it_is() -> None:
    images = pictures(3)
    grid = warp.places(warp.rows(1, 0, 0, 0, 1, torch.zeros(3)), 12, 12, CPU)
    for mode in ("nearest", "bilinear"):
        assert torch.equal(warp.resample(images, grid, mode), images)


def test_the_last_column_of_a_matrix_is_in_pixels() -> None:
    images = pictures(2)
    grid = warp.places(warp.rows(1, 0, torch.tensor([3.0, -3.0]), 0, 1, 0), 12, 12, CPU)
    changed = warp.resample(images, grid, "nearest")
    assert torch.equal(changed[0, :, :, :9], images[0, :, :, 3:])
    assert torch.equal(changed[1, :, :, 3:], images[1, :, :, :9])
    assert changed[0, :, :, 9:].sum() == changed[1, :, :, :3].sum() == 0


def test_positive_degrees_turn_counter_clockwise() -> None:
    image = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    image[0, 0, 4, 7] = 200  # right of the centre
    changed = turned(image, [90.0], "nearest", rim=False)
    assert changed.nonzero().tolist() == [[0, 0, 1, 4]]  # above it


def test_what_an_image_becomes_does_not_depend_on_the_others() -> None:
    images = pictures(7, 33, 33)
    degrees = [0.1, 7, -33.3, 90, 120.7, -5, 61]
    together = turned(images, degrees, "bilinear", rim=True)
    for place, angle in enumerate(degrees):
        alone = turned(images[place : place + 1], [angle], "bilinear", rim=True)
        assert torch.equal(alone[0], together[place])
    back = turned(images.flip(0), degrees[::-1], "bilinear", rim=True)
    assert torch.equal(back.flip(0), together)


def test_channels_last_images_are_read_alike() -> None:
    images = pictures(4)
    grid = warp.places(warp.rotation(torch.full((4,), 20.0)), 12, 12, CPU)
    last = images.contiguous(memory_format=torch.channels_last)
    for rim in (False, True):
        expected = warp.resample(images, grid, "bilinear", rim=rim)
        assert torch.equal(warp.resample(last, grid, "bilinear", rim=rim), expected)


def test_a_rim_darkens_what_lies_half_outside_once_more() -> None:
    white = torch.full((1, 1, 4, 4), 200, dtype=torch.uint8)
    grid = warp.places(warp.rows(1, 0, torch.tensor([0.5]), 0, 1, 0), 4, 4, CPU)
    once, twice = (warp.resample(white, grid, "bilinear", rim=rim) for rim in (False, True))
    assert once[0, 0, 0].tolist() == [200, 200, 200, 100]
    assert twice[0, 0, 0].tolist() == [200, 200, 200, 50]
    floats = grid_sample(white.float(), grid, align_corners=False)
    assert torch.equal(once, floats.round().byte())


def test_six_numbers_become_rows() -> None:
    found = warp.rows(1, torch.tensor([2.0, 7.0]), 3, 4, 5, torch.tensor([6.0, 8.0]))
    assert found.dtype == torch.float64
    assert found.tolist() == [[[1, 2, 3], [4, 5, 6]], [[1, 7, 3], [4, 5, 8]]]


def test_a_full_turn_more_is_the_same_turn() -> None:
    there = warp.rotation(torch.tensor([30.0, -30.0], dtype=torch.float64))
    more = warp.rotation(torch.tensor([390.0, 330.0], dtype=torch.float64))
    assert torch.equal(there, more)
    cosine = math.cos(math.radians(30))
    assert there[0, 0, 0].item() == pytest.approx(cosine, abs=1e-15)
