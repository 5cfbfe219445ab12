"""Each way up beside a computation with loops, or with another library."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cnnctl.nets.ways_up import FACTORS, uneven, ways

NAMES = ["nearest", "bilinear", "bicubic", "transposed", "uneven", "unpool"]


def picture(by: int, channels: int = 2) -> Tensor:
    """Five maxima high, four wide, all different."""
    return torch.rand(channels, 5 * by, 4 * by, generator=torch.Generator().manual_seed(by))


def pooled(image: np.ndarray, by: int) -> np.ndarray:
    channels, height, width = image.shape
    return image.reshape(channels, height // by, by, width // by, by).max((2, 4))


def scattered(small: np.ndarray, kernel: np.ndarray, by: int) -> np.ndarray:
    """A transposed convolution: every value times the kernel is added where its window begins."""
    channels, height, width = small.shape
    side = len(kernel)
    whole = np.zeros((channels, by * (height - 1) + side, by * (width - 1) + side))
    for i in range(height):
        for j in range(width):
            window = np.s_[:, by * i : by * i + side, by * j : by * j + side]
            whole[window] += small[:, i, j, None, None] * kernel
    return whole


def bilinear(small: np.ndarray, by: int, *, zeros: bool) -> np.ndarray:
    """Between centres of pixels; beyond the last of them zeros, or the last again."""
    channels, height, width = small.shape
    out = np.zeros((channels, by * height, by * width))
    for y in range(by * height):
        for x in range(by * width):
            top, left = (y + 0.5) / by - 0.5, (x + 0.5) / by - 0.5
            for i in (int(np.floor(top)), int(np.floor(top)) + 1):
                for j in (int(np.floor(left)), int(np.floor(left)) + 1):
                    share = (1 - abs(top - i)) * (1 - abs(left - j))
                    if zeros and not (0 <= i < height and 0 <= j < width):
                        continue
                    row, column = min(max(i, 0), height - 1), min(max(j, 0), width - 1)
                    out[:, y, x] += share * small[:, row, column]
    return out


@pytest.mark.parametrize("by", FACTORS)
def test_every_way_is_as_large_as_the_image(by: int) -> None:
    image = picture(by)
    found = ways(image, by)
    assert list(found.up) == NAMES
    assert {one.shape for one in found.up.values()} == {image.shape}
    np.testing.assert_array_equal(found.pooled, pooled(image.numpy(), by))


@pytest.mark.parametrize("by", FACTORS)
def test_nearest_repeats_every_value(by: int) -> None:
    found = ways(picture(by), by)
    expected = found.pooled.numpy().repeat(by, 1).repeat(by, 2)
    np.testing.assert_array_equal(found.up["nearest"], expected)


@pytest.mark.parametrize("by", FACTORS)
def test_bilinear_and_its_transposed_convolution_differ_in_what_is_beyond_the_edge(by: int) -> None:
    found = ways(picture(by), by)
    small = found.pooled.numpy()
    for name, zeros in (("bilinear", False), ("transposed", True)):
        expected = bilinear(small, by, zeros=zeros)
        np.testing.assert_allclose(found.up[name], expected, atol=1e-6)
    inner = np.s_[:, by // 2 : -(by // 2), by // 2 : -(by // 2)]
    np.testing.assert_allclose(
        found.up["transposed"][inner], found.up["bilinear"][inner], atol=1e-6
    )
    assert (found.up["transposed"][:, 0] < found.up["bilinear"][:, 0]).all()


def keys(distance: np.ndarray, a: float = -0.75) -> np.ndarray:
    """The cubic of Keys 1981 (IEEE Trans. ASSP 29), equation 4, with torch's a."""
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


@pytest.mark.parametrize("by", FACTORS)
def test_bicubic_weighs_four_by_four_neighbours_by_a_cubic(by: int) -> None:
    found = ways(picture(by), by)

    def weights(length: int) -> np.ndarray:
        matrix = np.zeros((by * length, length))
        for y in range(by * length):
            place = (y + 0.5) / by - 0.5
            for i in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
                matrix[y, min(max(i, 0), length - 1)] += keys(np.abs(place - i))
        return matrix

    small = found.pooled.numpy()
    expected = weights(small.shape[1]) @ small @ weights(small.shape[2]).T
    np.testing.assert_allclose(found.up["bicubic"], expected, atol=1e-5)


@pytest.mark.parametrize("by", FACTORS)
def test_an_uneven_kernel_overlaps_in_lines(by: int) -> None:
    found = ways(picture(by), by)
    side = by + 1
    kernel = np.full((side, side), by**2 / side**2)
    expected = scattered(found.pooled.numpy(), kernel, by)[:, :-1, :-1]
    np.testing.assert_allclose(found.up["uneven"], expected, atol=1e-6)
    grey = uneven(torch.ones(1, 1, 4, 4), by)[0, 0] / (by**2 / side**2)
    inner = grey[by:-by, by:-by]
    assert sorted(set(inner.flatten().round().int().tolist())) == [1, 2, 4]
    assert inner[0, 0] == pytest.approx(4)  # at the corners of four kernels


@pytest.mark.parametrize("by", FACTORS)
def test_unpool_puts_the_maxima_back_where_they_were(by: int) -> None:
    image = picture(by)
    found = ways(image, by)
    pixels, small = image.numpy(), found.pooled.numpy()
    is_most = pixels == small.repeat(by, 1).repeat(by, 2)
    np.testing.assert_array_equal(found.up["unpool"], np.where(is_most, pixels, 0))
    assert int((found.up["unpool"] != 0).sum()) == small.size


def test_nearest_is_what_pillow_enlarges_to() -> None:
    image = (picture(4, 1) * 255).round()
    small = Image.fromarray(pooled(image.numpy(), 4)[0].astype(np.uint8))
    large = np.asarray(small.resize((16, 20), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(ways(image, 4).up["nearest"][0], large)
