from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import field
from torch import Tensor, nn

from cnnctl.audit.axis import Axis, slide
from cnnctl.audit.places import WHOLE, Field
from cnnctl.mirror import mirrored
from cnnctl.nets.blocks import Gate, Lrn

PIXEL = Axis()
IMAGE = Field((PIXEL, PIXEL), (2, 3))
SHAPE = (2, 6, 12, 10)
laws = settings(max_examples=50, deadline=None)


def conv(value: Tensor, high: int = 3, wide: int = 5, c_out: int = 6, **window) -> Tensor:
    """A convolution that keeps the size: the fields of its axes are 3 and 5 pixels."""
    weight = torch.empty(c_out, value.shape[1], high, wide, device="meta")
    return F.conv2d(value, weight, padding=(high // 2, wide // 2), **window)


def unpooled(value: Tensor, side: int | tuple[int, int], **rounding: bool) -> Tensor:
    """Values of a max pool back in their places."""
    found, places = F.max_pool2d(value, side, return_indices=True, **rounding)
    return torch.ops.aten.max_unpool2d.default(found, places, value.shape[2:])


HIGH, WIDE = slide(PIXEL, 3, 1, 1), slide(PIXEL, 5, 1, 2)
SEEN = Field((HIGH, WIDE), (2, 3))


@pytest.mark.parametrize(
    "call",
    [
        F.relu, F.relu_, F.hardswish, F.silu, F.gelu, F.sigmoid, F.leaky_relu, F.dropout, F.elu,
        lambda x: x * 2 + 1, lambda x: 1 / (x + x * x), lambda x: x.clone().detach(),
        lambda x: F.prelu(x, torch.empty(6)), lambda x: x.clamp(0, 1), torch.exp, torch.tanh,
        lambda x: x.to(torch.float64), lambda x: torch.where(x > 0, x, 0), lambda x: x.float(),
        lambda x: x * torch.empty(6, 1, 1), lambda x: x + torch.empty(12, 10),
        lambda x: torch.cat([x, x], 1), lambda x: torch.cat([x, torch.empty(2, 1, 12, 10)], 1),
        lambda x: x.softmax(1), lambda x: x[:, ::2], lambda x: x[:1], lambda x: x.chunk(2, 1)[1],
        lambda x: torch.split(x, [2, 4], 1)[0], lambda x: x.index_select(1, torch.tensor([0, 2])),
        lambda x: x.sum(1, keepdim=True), lambda x: x.expand(2, 6, 12, 10), Lrn(3),
        nn.BatchNorm2d(6).eval(), nn.Identity(), lambda x: x.view(2, 3, 2, 12, 10)[:, 0],
        lambda x: F.channel_shuffle(x, 3), lambda x: F.conv2d(x, torch.empty(6, 1, 1, 1), groups=6),
        lambda x: F.max_pool2d(x, 1), lambda x: F.interpolate(x, scale_factor=1),
        lambda x: F.adaptive_avg_pool2d(x, (12, 10)), lambda x: F.pad(F.pad(x, (2, 1)), (-2, -1)),
    ],
)  # fmt: skip
def test_the_field_stays_where_values_of_one_place_make_the_new_one(call) -> None:
    net = call.to("meta") if isinstance(call, nn.Module) else call
    assert field(lambda x: net(conv(x)), *SHAPE) == SEEN


@pytest.mark.parametrize(
    ("call", "dims"),
    [
        (lambda x: x.permute(0, 2, 3, 1), (1, 2)),
        (lambda x: x.permute(3, 1, 0, 2), (3, 0)),
        (lambda x: x.transpose(-1, -2), (3, 2)),
        (lambda x: x.unsqueeze(1), (3, 4)),
        (lambda x: x.unsqueeze(-1), (2, 3)),
        (lambda x: x.unsqueeze(1).squeeze(1), (2, 3)),
        (lambda x: x[:1].squeeze(), (1, 2)),
        (lambda x: x[:, 0], (1, 2)),
        (lambda x: x.mean(1), (1, 2)),
        (lambda x: x.amax(1), (1, 2)),
        (lambda x: x.sum((0, 1)), (0, 1)),
        (lambda x: x.view(2, 2, 3, 12, 10), (3, 4)),
        (lambda x: x.view(12, 12, 10), (1, 2)),
        (lambda x: x.flatten(1).view(2, 6, 12, 10), (2, 3)),
        (lambda x: x.view(2, 3, 2, 12, 10).transpose(1, 2).reshape(2, 6, 12, 10), (2, 3)),
        (lambda x: x[0, 0].expand(4, 5, 12, 10), (2, 3)),
        (lambda x: F.relu(x.flatten(2)).view(2, 6, 12, 10), (2, 3)),
    ],
)
def test_the_dimensions_of_the_image_are_followed_through_views(call, dims) -> None:
    assert field(lambda x: call(conv(x)), *SHAPE) == Field((HIGH, WIDE), dims)


@laws
@given(order=st.permutations(range(4)), kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_a_convolution_of_permuted_images_uses_the_side_that_lies_there(order, kernel) -> None:
    found = field(lambda x: conv(conv(x).permute(order), *kernel), *SHAPE)
    if order[1] in {2, 3}:  # a side of the image lies where the channels are mixed
        assert found is None
        return
    places = order.index(2), order.index(3)
    more = [kernel[place - 2] - 1 if place >= 2 else 0 for place in places]
    assert found is not None
    assert found.dims == places
    assert [axis.size for axis in found.axes or ()] == [3 + more[0], 5 + more[1]]


@pytest.mark.parametrize(
    ("call", "sizes", "jumps"),
    [
        (lambda x: F.conv2d(x, torch.empty(4, 6, 3, 2), stride=(2, 1)), (3, 2), (2, 1)),
        (lambda x: F.conv2d(x, torch.empty(4, 3, 3, 3), dilation=(1, 2), groups=2), (3, 5), (1, 1)),
        (lambda x: F.max_pool2d(x, 3, 2, 1), (3, 3), (2, 2)),
        (lambda x: F.max_pool2d(x, 2, 1, dilation=(3, 1)), (4, 2), (1, 1)),
        (lambda x: F.max_pool2d(x, (2, 3)), (2, 3), (2, 3)),
        (lambda x: F.max_pool2d(x, (3,), (2,)), (3, 3), (2, 2)),
        (lambda x: F.avg_pool2d(x, 2, ceil_mode=True), (2, 2), (2, 2)),
        (lambda x: F.avg_pool2d(x, (3, 1), (2, 1)), (3, 1), (2, 1)),
        (lambda x: F.adaptive_avg_pool2d(x, (6, 2)), (2, 5), (2, 5)),
        (lambda x: F.adaptive_max_pool2d(x, (5, 10)), (4, 1), (2.4, 1)),
        (lambda x: F.conv_transpose2d(x, torch.empty(6, 4, 4, 2), stride=2), (2, 1), (0.5, 0.5)),
        (lambda x: F.interpolate(x, scale_factor=2), (1, 1), (0.5, 0.5)),
        (lambda x: F.interpolate(x, scale_factor=(2, 3), mode="bilinear"), (2, 2), (1 / 2, 1 / 3)),
        (lambda x: F.interpolate(x, size=(6, 20), mode="bilinear"), (2, 2), (2, 0.5)),
        (lambda x: F.interpolate(x, size=(24, 10), mode="bicubic"), (4, 1), (0.5, 1)),
        (lambda x: unpooled(x, 2), (2, 2), (1, 1)),
        (lambda x: unpooled(x, (3, 5)), (3, 5), (1, 1)),
        (lambda x: unpooled(x[:, :, 1:, :9], 2, ceil_mode=True), (2, 2), (1, 1)),
        (lambda x: F.interpolate(x, size=(8, 15)), (1, 1), (1.5, 2 / 3)),
        (lambda x: x[:, :, ::3, 1:-1], (1, 1), (3, 1)),
        (lambda x: F.avg_pool3d(x.unsqueeze(1), (5, 2, 1), 1).squeeze(1), (2, 1), (1, 1)),
    ],
)
def test_windows_widen_the_field_along_their_axes(call, sizes, jumps) -> None:
    found = field(call, *SHAPE)
    assert found is not None
    assert tuple(axis.size for axis in found.axes or ()) == sizes
    assert tuple(float(axis.jump) for axis in found.axes or ()) == pytest.approx(jumps)


@pytest.mark.parametrize(
    ("call", "first"),
    [
        (lambda x: x[:, :, 3:], (3, 0)),
        (lambda x: x[:, :, :, -4:], (0, 6)),
        (lambda x: x[:, :, -99:], (0, 0)),
        (lambda x: x[:, :, 2:9:4, 1:], (2, 1)),
        (lambda x: F.pad(x, (1, 0, 2, 5)), (-2, -1)),
        (lambda x: F.pad(x, (-1, 0, -2, 5)), (2, 1)),
        (lambda x: F.pad(x, (3, 3, 2, 2), mode="reflect"), (-2, -3)),
        (lambda x: F.pad(x, (3, 3, 2, 2), mode="replicate"), (-2, -3)),
        (lambda x: mirrored(x, 3, 20, 17), (-3, -3)),  # more after than before
        (lambda x: mirrored(x, 30, 12 + 60, 10 + 60), (-30, -30)),  # more than there is
        (lambda x: mirrored(x, 0, 12, 40), (0, -18)),  # as from -18 on: there the edges are even
        (lambda x: x.index_select(2, torch.arange(12)[1:]), (1, 0)),
        (lambda x: F.conv2d(x, torch.empty(1, 6, 1, 1), padding=(4, 5)), (-4, -5)),
    ],
)
def test_crops_and_padding_shift_the_field(call, first) -> None:
    found = field(call, *SHAPE)
    assert found is not None
    assert tuple(axis.at(0)[0] for axis in found.axes or ()) == first


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.adaptive_avg_pool2d(x, 1), lambda x: F.adaptive_max_pool2d(x, 1),
        lambda x: x.mean((2, 3)), lambda x: x.mean((2, 3), keepdim=True), lambda x: x.amax((2, 3)),
        torch.sum, torch.mean, lambda x: F.linear(x.flatten(1), torch.empty(4, 720)),
        lambda x: F.linear(x.flatten(1), torch.empty(4, 720), torch.empty(4)).relu().softmax(1),
        lambda x: x.flatten(1) @ torch.empty(720, 3), lambda x: x.mean((2, 3)).sort(1).values,
        lambda x: conv(F.adaptive_avg_pool2d(x, 1), 1, 1), lambda x: x.flatten(2).mean(2),
        lambda x: x.flatten(2).amax(-1, keepdim=True), lambda x: x.flatten(1).sum(),
    ],
)  # fmt: skip
def test_global_pools_and_dense_layers_see_everything_and_nothing_local(call) -> None:
    assert field(lambda x: call(conv(x)), *SHAPE) == WHOLE


@pytest.mark.parametrize(
    "call",
    [
        Gate(6, 2), lambda x: x * x.mean((2, 3), keepdim=True),
        lambda x: x.mean((2, 3))[..., None, None] + x, nn.GroupNorm(2, 6), nn.InstanceNorm2d(6),
        nn.LayerNorm([6, 12, 10]), nn.BatchNorm2d(6, track_running_stats=False).eval(),
        lambda x: F.conv2d(x, x.mean((2, 3))[0].view(6, 1, 1, 1), groups=6),
    ],
)  # fmt: skip
def test_gates_and_statistics_of_the_image_see_everything_and_keep_the_local_part(call) -> None:
    net = call.to("meta") if isinstance(call, nn.Module) else call
    assert field(lambda x: net(conv(x)), *SHAPE) == SEEN._replace(everything=True)


def test_dense_layers_on_the_channels_of_every_place_keep_the_field() -> None:
    layers = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 24), nn.GELU(), nn.Linear(24, 6))
    layers.to("meta")
    found = field(lambda x: x + layers(conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2), *SHAPE)
    assert found == SEEN


@pytest.mark.parametrize("last", [1, 4])
def test_after_maps_of_one_pixel_every_value_sees_the_same(last) -> None:
    whole = Field((slide(PIXEL, 12, 1, 0), slide(PIXEL, 10, 1, 0)), ())
    pixel = lambda x: F.conv2d(x, torch.empty(4, 6, 12, 10))  # noqa: E731 - a layer
    dense = lambda x: F.linear(x, torch.empty(last, 4), torch.empty(last))  # noqa: E731 - a layer
    assert field(lambda x: dense(pixel(x).flatten(1)), *SHAPE) == whole
    assert field(lambda x: dense(pixel(x).squeeze(3).squeeze(2)), *SHAPE) == whole
    assert field(lambda x: dense(pixel(x).mean((2, 3))), *SHAPE) == whole
    again = lambda x: conv(pixel(x).flatten(1).view(2, 4, 1, 1))  # noqa: E731 - a layer
    assert field(again, *SHAPE) == whole
    flat = lambda x: pixel(x).flatten(1)  # noqa: E731 - a layer
    pooled = lambda x: F.adaptive_max_pool2d(flat(x)[..., None, None], 1)  # noqa: E731 - a layer
    assert field(pooled, *SHAPE) == whole
    split = field(lambda x: pixel(x).view(2, 2, 2, 1, 1), *SHAPE)
    assert split == whole._replace(dims=(3, 4))
    gate = lambda x: pixel(x).expand(2, 4, 5, 5) * torch.empty(4, 5, 5)  # noqa: E731 - a layer
    assert field(gate, *SHAPE) == whole


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.flip(2), lambda x: x.roll(1, 2), lambda x: x.cumsum(3), torch.fft.fft2,
        lambda x: x.sort(2).values, lambda x: x + x.sort(1).values, lambda x: F.unfold(x, 3),
        lambda x: x.softmax(2), lambda x: x.flatten(2).softmax(2), lambda x: x.mean(2),
        lambda x: x.select(2, 0), lambda x: x.index_select(2, torch.tensor([0, 1, 3, 4])),
        lambda x: x.index_select(3, 9 - torch.arange(10)), lambda x: x.split(6, 2)[1],
        nn.LayerNorm(10), nn.PixelShuffle(1), lambda x: x.index_select(2, torch.empty(4).long()),
        lambda x: F.grid_sample(x, torch.empty(2, 5, 5, 2), align_corners=False),
        lambda x: F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=True),
        lambda x: F.interpolate(x, scale_factor=1.26, mode="bicubic"),
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
        lambda x: F.interpolate(x, scale_factor=1.26),
        lambda x: F.conv_transpose2d(x, torch.empty(6, 4, 1, 1), stride=2),
        lambda x: F.conv2d(x, x[:1, :, :3, :3]), lambda x: F.adaptive_avg_pool2d(x, 1) * x.flip(3),
        lambda x: torch.cat([x, x], 2), lambda x: torch.cat([x, torch.empty(2, 6, 1, 10)], 2),
        lambda x: x[:, :, :10] + x[:, :, :10].transpose(2, 3), lambda x: torch.empty(3, 12) @ x,
        lambda x: x[:, :, :6, :5] + F.max_pool2d(x, 2),
        lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2),
        lambda x: x.permute(0, 2, 1, 3).flatten(1, 2) @ torch.empty(10, 2),
        lambda x: torch.bmm(torch.empty(2, 4, 6), x.flatten(2)), lambda x: x.flatten(2).mean(1),
        lambda x: x.permute(0, 2, 3, 1).flatten(1, 2).mean(2),
        lambda x: x.flatten(2).transpose(1, 2),
        lambda x: torch.cat([x.flatten(2), x.flatten(2)], 1),
        lambda x: torch.cat([x.flatten(2), x.flatten(2)], 2),
    ],
)  # fmt: skip
def test_what_is_not_known_is_lost_and_never_guessed(call) -> None:
    net = call.to("meta") if isinstance(call, nn.Module) else call
    assert field(lambda x: net(conv(x)), *SHAPE) is None


def test_what_does_not_come_from_the_image_adds_nothing() -> None:
    assert field(lambda _: torch.empty(2, 6, 12, 10), *SHAPE) is None
    for made in (torch.zeros_like, torch.rand_like, lambda x: x.new_ones(6, 1, 1)):
        assert field(lambda x, made=made: conv(x) + made(x), *SHAPE) == SEEN
