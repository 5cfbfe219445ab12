"""Receptive fields of whole nets: known numbers, and the pixels whose gradient is not zero."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from fields import felt, seen
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import Following, field
from torch import Tensor, nn
from zoo import on_meta, spec

from cnnctl.audit.forward import forward
from cnnctl.nets import library
from cnnctl.nets import meta as without_memory

SMALL = st.integers(1, 3)


class Crop(nn.Module):
    def __init__(self, *sides: int) -> None:
        super().__init__()
        self.top, self.bottom, self.left = sides

    def forward(self, value: Tensor) -> Tensor:
        return value[:, :, self.top : value.shape[2] - self.bottom, self.left :]


class Sum(nn.Sequential):
    def forward(self, value: Tensor) -> Tensor:
        return value + super().forward(value)


class Beside(nn.Sequential):
    """The channels of the input and of what the layers make of it, then one channel of both."""

    def forward(self, value: Tensor) -> Tensor:
        return torch.cat([value, super().forward(value)], 1).sum(1, keepdim=True)


@st.composite
def same(draw) -> nn.Module:
    """A convolution that keeps the size."""
    half, dilation = (draw(st.integers(0, 1)), draw(st.integers(0, 2))), draw(SMALL)
    kernel = [2 * side + 1 for side in half]
    padding = [side * dilation for side in half]
    return nn.Conv2d(1, 1, kernel, padding=padding, dilation=dilation, bias=False)


@st.composite
def layer(draw) -> nn.Module:
    """A layer of one channel with random numbers."""
    pair = (draw(SMALL), draw(SMALL))
    stride, padding, dilation = draw(SMALL), draw(st.integers(0, 1)), draw(SMALL)
    wide = (pair[0] * 2, pair[1] * 2)
    return draw(
        st.sampled_from([
            nn.Conv2d(1, 1, pair, stride, padding, dilation, bias=False),
            nn.AvgPool2d(wide, stride, padding, ceil_mode=dilation == 1),
            nn.ConvTranspose2d(1, 1, wide, stride, padding, stride - 1, bias=False),
            nn.Upsample(scale_factor=pair, mode="nearest"),
            nn.Upsample(scale_factor=pair, mode="bilinear"),
            Crop(stride, padding, dilation),
            Sum(draw(same()), draw(same())),
            Beside(draw(same())),
            nn.Sequential(nn.BatchNorm2d(1), nn.ReLU(), nn.Dropout()),
        ])
    )  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.lists(layer(), min_size=1, max_size=4))
def test_the_field_is_where_the_gradient_is_not_zero(layers) -> None:
    net, side = nn.Sequential(*layers), 96
    found = seen(net, side)
    if found is None:  # a transposed convolution with gaps, or branches that do not keep step
        assert any(isinstance(one, nn.ConvTranspose2d) for one in layers)
        return
    assert found.axes is not None
    place, lines = felt(net, side)
    told = tuple(axis.at(index) for axis, index in zip(found.axes, place, strict=True))
    inside = all(first >= 16 and last < side - 16 for first, last in told)
    assume(inside)  # at the border the pads of the layers in between are seen, too
    assert told == lines


@pytest.mark.parametrize("place", [(0, 0), (0, 3), (2, 1), (7, 7), (6, 0)])
def test_at_the_border_the_field_is_cut_off(place) -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 1, 3, 1, 1), nn.AvgPool2d(2), nn.Conv2d(1, 1, 5, 1, 2), nn.AvgPool2d(3, 2, 1)
    )
    found = seen(net, 32)
    assert found is not None
    told = [axis.at(index) for axis, index in zip(found.axes or (), place, strict=True)]
    assert any(first < 0 or last > 31 for first, last in told)
    cut = tuple((max(first, 0), min(last, 31)) for first, last in told)
    assert felt(net, 32, place)[1] == cut


class Unet(nn.Module):
    """Ronneberger et al. 2015, figure 1, one channel wide; `same` pads instead of cropping."""

    def __init__(self, up: str, *, pad: bool) -> None:
        super().__init__()
        self.down = nn.ModuleList(self.pair(1, pad) for _ in range(5))
        self.up = nn.ModuleList(self.wider(up) for _ in range(4))
        self.back = nn.ModuleList(self.pair(2, pad) for _ in range(4))

    @staticmethod
    def pair(c_in: int, pad: bool) -> nn.Sequential:  # noqa: FBT001 - as above
        conv = partial(nn.Conv2d, kernel_size=3, padding=int(pad))
        return nn.Sequential(conv(c_in, 1), nn.ReLU(), conv(1, 1), nn.ReLU())

    @staticmethod
    def wider(up: str) -> nn.Module:
        if up == "transposed":
            return nn.ConvTranspose2d(1, 1, 2, 2)
        return nn.Upsample(scale_factor=2, mode=up)

    def forward(self, value: Tensor) -> Tensor:
        skips = []
        for pair in self.down[:-1]:
            skips.append(pair(value))
            value = F.avg_pool2d(skips[-1], 2)  # its gradient reaches all four
        value = self.down[-1](value)
        for up, back, skip in zip(self.up, self.back, reversed(skips), strict=True):
            wide = up(value)
            cut = (skip.shape[2] - wide.shape[2]) // 2
            kept = slice(cut, skip.shape[2] - cut)
            value = back(torch.cat([skip[:, :, kept, kept], wide], 1))
        return value


@pytest.mark.parametrize(
    ("up", "pad", "side", "sizes"),
    [
        ("transposed", False, 572, {188, 204}),
        ("transposed", True, 512, {188, 204}),
        ("nearest", True, 512, {188, 204}),
        ("bilinear", True, 512, {220, 236}),
    ],
)
def test_a_unet_sees_more_at_some_positions_than_at_others(up, pad, side, sizes) -> None:
    net = Unet(up, pad=pad)
    found = seen(net, side)
    assert found is not None
    axis = (found.axes or ())[0]
    assert axis.jump == 1
    assert {last - first + 1 for first, last in axis.seen} == sizes
    middle = range(side // 2 if pad else 188, side)
    for size in sizes:
        index = next(i for i in middle if axis.at(i)[1] - axis.at(i)[0] + 1 == size)
        assert felt(net, side, (index, index))[1] == (axis.at(index),) * 2


def last(rows) -> tuple[int, int | float, bool]:
    """Size, jump and whether all is seen, of the last row with a place in the image."""
    fields = [row.field for row in rows if row.field and row.field.axes and row.field.dims]
    high, wide = fields[-1].axes
    assert high == wide
    return high.size, high.jump, fields[-1].everything


@pytest.mark.parametrize(
    ("name", "size", "jump"),
    [
        ("lenet5", 32, 4), ("alexnet", 195, 32), ("vgg16", 212, 32), ("resnet18", 435, 32),
        ("resnet50", 483, 32), ("resnet50_v1_5", 427, 32), ("googlenet", 715, 32),
        ("googlenet_tv", 379, 32), ("mobilenet_v2", 491, 32), ("densenet121", 2071, 32),
        ("shufflenet_v1", 527, 32), ("xception", 1083, 32), ("resnet20", 81, 4),
    ],
)  # fmt: skip
def test_the_fields_of_the_zoo(name, size, jump) -> None:
    rows = forward(on_meta(name), spec(name).input).walk.rows
    assert last(rows) == (size, jump, False)
    assert all(row.field is not None for row in rows)


def test_squeeze_and_excitation_sees_everything_from_the_first_block_on() -> None:
    rows = forward(on_meta("efficientnet_b0"), (3, 224, 224)).walk.rows
    assert last(rows) == (851, 32, True)
    names = [row.name for row in rows if row.field is not None and row.field.everything]
    assert names[0].endswith("gate.pool")


@pytest.mark.parametrize(
    ("name", "size", "everything"),
    [
        ("convnext_tiny", 1688, False),
        ("mobilenet_v3_large", 595, True),
        ("squeezenet1_1", 207, False),
    ],
)
def test_the_fields_of_nets_of_torchvision(name, size, everything) -> None:
    with without_memory.device():
        net = library.create(f"torchvision/{name}")
    found = last(forward(net, (3, 224, 224)).walk.rows)
    assert (found[0], found[2]) == (size, everything)


def test_what_depends_on_a_lost_field_is_lost_as_well() -> None:
    lost = lambda x: x.flip(2)  # noqa: E731 - a layer
    assert field(lambda x: x + lost(x), 1, 1, 8, 8) is None
    assert field(lambda x: torch.cat([x, lost(x)], 1), 1, 1, 8, 8) is None
    assert field(lambda x: x.clone().add_(lost(x)), 1, 1, 8, 8) is None
    assert field(lambda x: lost(x).mean((2, 3)), 1, 1, 8, 8) is None


def test_a_field_lives_as_long_as_its_tensor() -> None:
    mode, image = Following(), torch.empty(1, 1, 8, 8, device="meta")
    mode.reach.begin(image)
    with mode:
        kept, gone = image + 1, id(image * 2)
    assert mode.reach.of(kept) == mode.reach.of(image)
    (reference, _) = mode.reach.fields[gone]
    assert reference() is None
    assert mode.reach.of(torch.empty(1, 1, 8, 8, device="meta")) is None
