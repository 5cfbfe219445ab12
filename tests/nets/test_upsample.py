from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, interpolate, max_pool2d

from cnnctl.nets.upsample import Interpolation, Unpool, Unpooled, bilinear, resized, up

KINDS = ["nearest", "bilinear", "bicubic", "transposed", "unpool"]
INTERPOLATIONS = KINDS[:3]


def maps(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_doubles_the_sides_and_changes_the_channels(kind) -> None:
    layer, value = up(kind, 6, 4), maps(2, 6, 3, 5)
    if kind == "unpool":
        _, places = max_pool2d(maps(2, 4, 6, 10), 2, return_indices=True)
        assert isinstance(layer, Unpooled)
        assert layer(value, places).shape == (2, 4, 6, 10)
    else:
        assert layer(value).shape == (2, 4, 6, 10)


@pytest.mark.parametrize("kind", KINDS)
def test_what_there_is_to_learn(kind) -> None:
    sizes = {name: tuple(value.shape) for name, value in up(kind, 6, 4).named_parameters()}
    if kind == "transposed":
        assert sizes == {"weight": (6, 4, 2, 2), "bias": (4,)}
    else:
        assert sizes == {"conv.weight": (4, 6, 1, 1), "conv.bias": (4,)}


@pytest.mark.parametrize("kind", INTERPOLATIONS)
def test_an_interpolation_follows_a_convolution_and_could_stand_before_it(kind) -> None:
    layer, value = up(kind, 3, 2), maps(1, 3, 4, 5)
    conv = layer.get_submodule("conv")
    torch.testing.assert_close(layer(value), interpolate(conv(value), scale_factor=2, mode=kind))
    torch.testing.assert_close(layer(value), conv(interpolate(value, scale_factor=2, mode=kind)))


def lines(length: int, kind: str, factor: int) -> np.ndarray:
    """The matrix (f N, N) of an interpolation of one axis, from the middles of the pixels."""
    matrix = np.zeros((factor * length, length))
    for row in range(factor * length):
        at = (row + 0.5) / factor - 0.5
        if kind == "nearest":
            matrix[row, row // factor] = 1
            continue
        reach = 2 if kind == "bicubic" else 1
        for place in range(int(np.floor(at)) - reach + 1, int(np.floor(at)) + reach + 1):
            away = abs(at - place)
            if kind == "bilinear":
                share = 1 - away
            else:  # Keys 1981, with a = -0.75
                a = -0.75
                share = (
                    (a + 2) * away**3 - (a + 3) * away**2 + 1
                    if away <= 1
                    else a * (away**3 - 5 * away**2 + 8 * away - 4)
                )
            matrix[row, min(max(place, 0), length - 1)] += share
    return matrix


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("kind", INTERPOLATIONS)
def test_interpolation_is_a_product_with_two_matrices(kind, factor) -> None:
    value = maps(1, 1, 4, 5).double()
    by_hand = lines(4, kind, factor) @ value[0, 0].numpy() @ lines(5, kind, factor).T
    found = resized(kind, factor)(value)
    np.testing.assert_allclose(found[0, 0].numpy(), by_hand, atol=1e-12)


def test_unpooling_puts_each_maximum_back() -> None:
    image = torch.tensor([[[[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 9.0, 1.0]]]])
    pooled, places = max_pool2d(image, 2, return_indices=True)
    assert pooled.flatten().tolist() == [5, 9]
    assert Unpool()(2 * pooled, places).flatten().tolist() == [0, 10, 0, 0, 0, 0, 18, 0]


@pytest.mark.parametrize("size", [(5, 7), (5, 8), (6, 7), (1, 1)])
def test_unpooling_knows_sides_that_were_odd(size) -> None:
    image = maps(2, 3, *size)
    pooled, places = max_pool2d(image, 2, ceil_mode=True, return_indices=True)
    found = Unpool()(pooled, places, size)
    assert found.shape == image.shape
    kept = image.flatten(2).zero_().scatter(2, places.flatten(2), pooled.flatten(2))
    assert torch.equal(found.flatten(2), kept)


def authors(factor: int) -> np.ndarray:
    """The filler of the authors' framework: 1 − |x / f − c| along both axes."""
    size = 2 * factor
    c = (2 * factor - 1 - factor % 2) / (2 * factor)
    x = np.arange(size)
    line = 1 - np.abs(x / factor - c)
    return line[:, None] * line[None]


@pytest.mark.parametrize("factor", [2, 4, 8, 16, 32])
def test_the_kernel_is_the_bilinear_filler_of_the_authors_framework(factor) -> None:
    kernel = bilinear(factor)
    assert kernel.shape == (2 * factor, 2 * factor)
    np.testing.assert_allclose(kernel.numpy(), authors(factor), rtol=1e-6)
    assert kernel.sum().item() == factor**2


@pytest.mark.parametrize("factor", [2, 8])
def test_the_fixed_way_up_works_on_each_channel_alone(factor) -> None:
    layer, value = Interpolation(factor), maps(2, 3, 4, 5)
    found = layer(value)
    assert found.shape == (2, 3, factor * 5, factor * 6)
    weight = torch.zeros(3, 3, 2 * factor, 2 * factor)
    for channel in range(3):
        weight[channel, channel] = torch.from_numpy(authors(factor))
    torch.testing.assert_close(found, conv_transpose2d(value, weight, stride=factor))
    assert list(layer.parameters()) == []
    assert layer.state_dict() == {}
    assert repr(layer) == f"Interpolation(factor={factor})"


def test_away_from_the_edges_the_fixed_way_up_interpolates() -> None:
    value, factor = maps(1, 1, 6, 6), 4
    found = Interpolation(factor)(value)[..., 2:-2, 2:-2]
    wanted = interpolate(value, scale_factor=factor, mode="bilinear", align_corners=False)
    torch.testing.assert_close(found[..., 2:-2, 2:-2], wanted[..., 2:-2, 2:-2])
    assert not torch.allclose(found, wanted)  # there are zeros beyond the edge


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_fixed_way_up_takes_the_type_of_the_net(dtype) -> None:
    layer = nn.Sequential(Interpolation(2)).to(dtype)
    assert layer(maps(1, 1, 3, 3).to(dtype)).dtype == dtype
