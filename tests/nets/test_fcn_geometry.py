"""Where the places of an FCN lie on the image, and what is cut for that."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fcns import CLASSES, CROPS, NAMES, STAGES, small
from torch import Tensor
from zoo import on_meta

from cnnctl.nets.fcn import PIXELS, Fcn, Grid


def crops(net: Fcn) -> list[int]:
    return [*(way.crop for way in net.skips.values()), net.crop]


@pytest.mark.parametrize("name", NAMES)
def test_the_crops_of_the_authors_files_follow_from_the_geometry(name) -> None:
    net = on_meta(name)
    assert isinstance(net, Fcn)
    assert crops(net) == CROPS[name]


def places(kernel: int, stride: int, padding: int, size: int) -> np.ndarray:
    """Pixels that each of `size` places of a layer sees, on average."""
    return np.array([np.mean(np.arange(kernel)) + stride * i - padding for i in range(size)])


def test_a_place_of_pool5_is_where_a_walk_through_the_layers_has_it() -> None:
    middles = np.arange(700.0)
    for kernel, stride, padding, times in ((3, 1, 100, 1), (3, 1, 1, 1), (2, 2, 0, 1)):
        for _ in range(times):
            at = places(kernel, stride, padding, 300)
            middles = middles[0] + (middles[1] - middles[0]) * at
    grid = PIXELS.slid(3, padding=100).slid(3, padding=1).slid(2, stride=2)
    assert grid == Grid(middles[1] - middles[0], middles[0]) == Grid(2, -98.5)


@pytest.mark.parametrize("upsample", ["transposed", "bilinear"])
@pytest.mark.parametrize("skips", [0, 1, 2])
def test_what_is_seen_at_a_pixel_lies_around_it(skips, upsample) -> None:
    """Scores that say where they are: the mean row of the pixels below each place."""
    net = small(skips, 1, upsample=upsample)
    size = 48
    with torch.no_grad():
        sums = ramps(net, size)
    expected = torch.arange(size).float().expand(size, size).T
    middle = slice(12, 36)
    torch.testing.assert_close(sums[middle, middle], expected[middle, middle])


def ramps(net: Fcn, size: int) -> Tensor:
    """What the ways up make of maps that hold the row of their own middle."""
    grids, grid, padding = [], PIXELS, 40
    for words in STAGES:
        for _ in words:
            grid, padding = grid.slid(3, padding=padding), 1
        grid = grid.slid(2, stride=2)
        grids.append(grid)
    pooled = [-(-(size + 78) // 2**level) for level in (1, 2, 3)]

    def rows(grid: Grid, places: int) -> Tensor:
        line = grid.first + grid.step * torch.arange(places)
        return line[:, None].expand(1, CLASSES, places, places)

    value = rows(grid.slid(5), pooled[2] - 4)
    layers = dict(net.named_children())
    for name, way in net.skips.items():
        value = layers[way.name](value)
        side = value.shape[2]
        skip = rows(grids[way.pool - 1], pooled[way.pool - 1])
        assert name == f"score_pool{way.pool}"
        value = (value + skip[..., way.crop : way.crop + side, way.crop : way.crop + side]) / 2
    value = layers["upscore"](value)[0, 0]
    return value[net.crop : net.crop + size, net.crop : net.crop + size]


@pytest.mark.parametrize("upsample", ["transposed", "nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("skips", [0, 1, 2])
def test_every_pixel_of_an_image_of_any_size_has_its_scores(skips, upsample) -> None:
    net = small(skips, 1, upsample=upsample)
    for size in [(1, 1), *((high, 27 - high) for high in range(2, 18))]:
        with torch.no_grad():
            assert net(torch.zeros(1, 1, *size)).shape == (1, CLASSES, *size)


@pytest.mark.parametrize("name", NAMES)
def test_the_papers_nets_take_any_size_too(name) -> None:
    net = on_meta(name).eval()
    for size in [(500, 500), (375, 500), (1, 1), (33, 64), (224, 191)]:
        assert net(torch.empty(1, 3, *size, device="meta")).shape == (1, 21, *size)


def test_interpolated_scores_are_the_same_away_from_the_edges() -> None:
    """Where a place has neighbours, transposed and bilinear give one and the same."""
    convolved, resized = small(0), small(0, upsample="bilinear")
    resized.load_state_dict(convolved.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        one, other = convolved(image), resized(image)
    assert (crops(convolved), crops(resized)) == ([27], [23])
    torch.testing.assert_close(one, other)
    assert not torch.allclose(one, small(0, upsample="nearest")(image))


def test_the_least_padding_covers_the_image() -> None:
    for name in NAMES:
        least = 100 - CROPS[name][-1]
        net = on_meta(name, padding=least).eval()
        assert isinstance(net, Fcn)
        assert net.crop == 0
        assert net(torch.empty(1, 3, 60, 71, device="meta")).shape == (1, 21, 60, 71)
