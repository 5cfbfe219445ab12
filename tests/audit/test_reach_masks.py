"""Receptive fields of nets for masks: behind every way up, and with mirrored borders."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from fields import felt, seen
from torch import Tensor, nn
from zoo import build, on_meta, spec

from cnnctl.audit.forward import forward


def averaged(net: nn.Module) -> nn.Module:
    """The net with average pools: the gradient of a largest value reaches one pixel only."""
    for name, layer in net.named_modules():
        if isinstance(layer, nn.MaxPool2d):
            pool = nn.AvgPool2d(2, ceil_mode=layer.ceil_mode)
            net.get_submodule(name.rpartition(".")[0]).__setattr__(name.rpartition(".")[2], pool)
    return net


@pytest.mark.parametrize("up", ["nearest", "bilinear", "bicubic", "transposed"])
@pytest.mark.parametrize("side", [96, 93])
def test_the_fields_of_every_way_up_of_a_u_net(up, side) -> None:
    net = averaged(
        build("unet_same", (1, side, side), 1, widths=[1, 1, 1], norm="none", upsample=up)
    )
    found = seen(net, side)
    assert found is not None
    axis = (found.axes or ())[0]
    for index in range(44, 52):  # far from the edges, where mirror images would be seen
        assert felt(net, side, (index, index))[1] == (axis.at(index),) * 2


@pytest.mark.parametrize(("name", "least"), [("fcn32s", 3), ("fcn16s", 2), ("fcn8s", 1)])
def test_the_fields_of_a_small_fcn(name, least) -> None:
    stages, side = [["conv3-1"]] * 4, 256
    net = build(name, (1, side, side), 1, stages=stages, hidden=[1], field=5, padding=80)
    net = averaged(net)
    found = seen(net, side)
    assert found is not None
    axis = (found.axes or ())[0]
    assert axis.jump == 1
    assert len(axis.seen) == 16
    for index in range(112, 128, least):
        assert felt(net, side, (index, index))[1] == (axis.at(index),) * 2


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(64, 32, 16), (4, 2, 1), (4, 2, 0)])
def test_a_transposed_convolution_wider_than_its_stride_mixes_neighbours(
    kernel, stride, padding
) -> None:
    up = nn.ConvTranspose2d(1, 1, kernel, stride, padding, bias=False)
    net, side = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False), up), 8
    found = seen(net, side)
    assert found is not None
    axis = (found.axes or ())[0]
    assert (axis.size, axis.jump) == (4, 1 / stride)
    for index in range(3 * stride, 5 * stride):
        assert felt(net, side, (index, index))[1] == (axis.at(index),) * 2


def changed(net: nn.Module, side: int, index: int) -> tuple[int, int]:
    """The first and the last row of the image that a value depends on, in any of some images."""
    draws, rows = torch.Generator().manual_seed(0), set[int]()
    for _ in range(40):
        first = torch.rand(1, 1, side, side, generator=draws, dtype=torch.float64)
        others = first.repeat(side, 1, 1, 1)  # in each another row is a new one
        new = 3 * torch.rand(side, side, generator=draws, dtype=torch.float64)
        others[range(side), 0, range(side)] = new
        with torch.no_grad():
            moved = net(others)[:, 0, index, index] != net(first)[0, 0, index, index]
        rows |= set(torch.nonzero(moved).flatten().tolist())
    return min(rows), max(rows)


class Unpooling(nn.Module):
    """Maps that two layers look at; one is pooled and comes back between the other's values."""

    def __init__(self, *, ceil: bool) -> None:
        super().__init__()
        self.ahead = nn.Conv2d(1, 1, 3, padding=1)
        self.below = nn.Conv2d(1, 1, 5, padding=2)
        self.pool = nn.MaxPool2d(2, ceil_mode=ceil, return_indices=True)

    def forward(self, value: Tensor) -> Tensor:
        size = value.shape[2:]
        found, places = self.pool(self.ahead(value))
        return F.max_unpool2d(self.below(found), places, 2, output_size=size)


@pytest.mark.parametrize(("side", "ceil"), [(24, False), (25, False), (25, True)])
def test_behind_unpooling_a_place_sees_the_lower_maps_and_the_window_it_comes_from(
    side, ceil
) -> None:
    torch.manual_seed(1)
    net = Unpooling(ceil=ceil)
    found = seen(net, side)
    net.double()
    assert found is not None
    axis = (found.axes or ())[0]
    assert (axis.size, axis.jump) == (12, 1)
    for index in (10, 11, 12, 13):
        assert changed(net, side, index) == axis.at(index)


def test_the_fields_of_nets_for_masks() -> None:
    paper = {"unet": 204, "unet_same": 204, "fcn32s": 436, "fcn8s": 468, "segnet": 404}
    for name, size in paper.items():
        net = on_meta(name)
        net.framed = False
        made = forward(net, spec(name).input)
        assert made.field is not None
        assert [(axis.size, axis.jump) for axis in made.field.axes or ()] == [(size, 1)] * 2
        assert all(row.field is not None for row in made.walk.rows)


@pytest.mark.parametrize("side", [48, 200])
def test_mirrored_borders_change_no_field(side) -> None:
    net = on_meta("unet", (3, side, side))
    made = forward(net, (3, side, side))
    assert made.output == (2, side, side)
    axis = ((made.field and made.field.axes) or ())[0]
    assert (axis.size, axis.jump) == (204, 1)
    assert axis.at(16) == (-76, 111)  # 188 pixels: 92 before it, as the border has
    assert {row.type for row in made.walk.rows}.isdisjoint({"arange", "remainder", "minimum"})
