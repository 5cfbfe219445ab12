from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, max_unpool2d, relu
from zoo import build, count, numbers, on_meta, refused

from cnnctl.nets.unet import Unet

WAYS = ["unpool", "transposed", "nearest", "bilinear", "bicubic"]
SMALL: dict[str, Any] = {"widths": [2, 3, 4, 5, 6], "dropout": 0}
CLASSES = 3


class Plain(nn.Module):
    """Figure 1, written down as it is printed."""

    def __init__(self, channels: int, widths: list[int], classes: int) -> None:
        super().__init__()
        a, b, c, d, e = widths
        pairs = [(channels, a), (a, b), (b, c), (c, d), (d, e)]
        pairs += [(2 * d, d), (2 * c, c), (2 * b, b), (2 * a, a)]
        self.conv3 = nn.ModuleList(
            nn.ModuleList([nn.Conv2d(i, o, 3), nn.Conv2d(o, o, 3)]) for i, o in pairs
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(i, o, 2, 2) for i, o in [(e, d), (d, c), (c, b), (b, a)]
        )
        self.conv1 = nn.Conv2d(a, classes, 1)

    def two(self, place: int, x: Tensor) -> Tensor:
        for conv in self.conv3[place]:  # pyright: ignore[reportGeneralTypeIssues] - a list of layers
            x = relu(conv(x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        a = self.two(0, x)
        b = self.two(1, max_pool2d(a, 2))
        c = self.two(2, max_pool2d(b, 2))
        d = self.two(3, max_pool2d(c, 2))
        x = self.two(4, max_pool2d(d, 2))
        for place, (skip, cut) in enumerate(((d, 4), (c, 16), (b, 40), (a, 88))):  # at 572
            x = self.up[place](x)
            x = self.two(5 + place, torch.cat([skip[..., cut:-cut, cut:-cut], x], 1))
        return self.conv1(x)


def names(levels: int) -> list[str]:
    """Layers with weights, in the order of `Plain`'s parameters."""
    pairs = [f"down{n}" for n in range(1, levels + 1)]
    pairs += [f"up{n}" for n in range(levels - 1, 0, -1)]
    return [f"{pair}_{place}" for pair in pairs for place in (1, 2)] + [
        *(f"up{n}" for n in range(levels - 1, 0, -1)), "final",
    ]  # fmt: skip


def small(shape: tuple[int, int, int] = (1, 64, 64), name: str = "unet", **changes: Any) -> Unet:
    torch.manual_seed(0)
    net = build(name, shape, CLASSES, **SMALL | changes)
    assert isinstance(net, Unet)
    return net.eval()


def alike(widths: list[int], channels: int, classes: int, device: str) -> tuple[Unet, Plain]:
    """U-Net twice, with the same weights."""
    torch.manual_seed(1)
    with torch.device(device):
        plain = Plain(channels, widths, classes).eval()
        net = build("unet", (channels, 64, 64), classes, widths=widths, dropout=0).eval()
    layers = [layer for layer in plain.modules() if hasattr(layer, "weight")]
    for name, layer in zip(names(5), layers, strict=True):
        net.get_submodule(name).load_state_dict(layer.state_dict())
    assert isinstance(net, Unet)
    return net, plain


def test_it_is_the_papers_net_on_572_pixels() -> None:
    net, plain = alike([2, 3, 4, 5, 6], 1, 2, "cpu")
    image = torch.randn(1, 1, 572, 572)
    with torch.no_grad():
        wanted = plain(image)
        assert wanted.shape == (1, 2, 388, 388)
        torch.testing.assert_close(net.maps(image), wanted)


def test_the_papers_widths_have_31030658_parameters() -> None:
    with torch.device("meta"):
        plain = Plain(1, [64, 128, 256, 512, 1024], 2)
    net = on_meta("unet")
    assert count(net) == count(plain) == 31_030_658
    assert net.maps(torch.empty(1, 1, 572, 572, device="meta")).shape == (1, 2, 388, 388)
    assert (net.margin, net.stride, net.side(388)) == (92, 16, 572)


@pytest.mark.parametrize("size", [(388, 388), (70, 45), (33, 129), (8, 2), (1, 1)])
def test_logits_are_those_of_the_papers_net_on_the_mirrored_image(size) -> None:
    net, plain = alike([2, 3, 4, 5, 6], 1, 2, "cpu")
    image = torch.randn(2, 1, *size)
    tall, wide = (188 + 16 * -(-max(side + 184 - 188, 0) // 16) for side in size)
    around = [(92, side - 92 - own) for side, own in zip((tall, wide), size, strict=True)]
    padded = np.pad(image.numpy(), ((0, 0), (0, 0), *around), mode="reflect")
    with torch.no_grad():
        wanted = plain(torch.from_numpy(padded))[..., : size[0], : size[1]]
        assert wanted.shape[2:] == size
        torch.testing.assert_close(net(image), wanted)


def test_a_side_is_the_least_on_which_every_pool_is_even_and_all_is_covered() -> None:
    net = on_meta("unet", widths=[1, 1, 1, 1, 1])
    assert isinstance(net, Unet)

    def kept(side: int) -> int | None:
        """What is left of it, by the operations of figure 1 one after the other."""
        for _ in range(4):
            side -= 4
            if side <= 0 or side % 2:
                return None
            side //= 2
        side -= 4
        if side < 1:
            return None
        for _ in range(4):
            side = 2 * side - 4
            if side < 1:
                return None
        return side

    for length in range(1, 80):
        least = next(side for side in range(1, 999) if (kept(side) or 0) >= length)
        assert net.side(length) == least


@pytest.mark.parametrize(
    ("name", "upsample"),
    [*(("unet_same", way) for way in WAYS), *(("unet", way) for way in WAYS if way != "unpool")],
)
def test_an_image_of_any_size_has_scores_for_every_pixel(name, upsample) -> None:
    net = small(name=name, widths=[2, 3, 4], upsample=upsample)
    for size in [(1, 1), (1, 9), (16, 16), *((high, 21 - high) for high in range(2, 10))]:
        with torch.no_grad():
            assert net(torch.zeros(1, 1, *size)).shape == (1, CLASSES, *size)


def by_hand(net: Unet, image: Tensor, upsample: str) -> Tensor:
    """The padded net of three levels in plain functions; normalisation by the modules' own."""
    layers = dict(net.named_modules())

    def two(name: str, value: Tensor) -> Tensor:
        for place in (1, 2):
            value = relu(layers[f"{name}_{place}_norm"](layers[f"{name}_{place}"](value)))
        return value

    one = two("down1", image)
    value, first = max_pool2d(one, 2, return_indices=True)
    below = two("down2", value)
    value, second = max_pool2d(below, 2, return_indices=True)
    value = two("down3", value)
    for level, skip, places in ((2, below, second), (1, one, first)):
        if upsample == "transposed":
            value = layers[f"up{level}"](value)
        else:
            value = layers[f"up{level}.conv"](value)
            if upsample == "unpool":
                value = max_unpool2d(value, places, 2)
            else:
                value = interpolate(value, scale_factor=2, mode=upsample)
        value = two(f"up{level}", torch.cat([skip, value], 1))
    return layers["final"](value)


@pytest.mark.parametrize("upsample", WAYS)
@pytest.mark.parametrize("size", [(16, 24), (13, 6), (1, 1)])
def test_the_padded_net_is_that_in_plain_functions_on_the_mirrored_image(upsample, size) -> None:
    net = small((2, 16, 16), "unet_same", widths=[3, 4, 5], upsample=upsample)
    image = torch.randn(2, 2, *size)
    around = [(0, -side % 4) for side in size]
    padded = torch.from_numpy(np.pad(image.numpy(), ((0, 0), (0, 0), *around), mode="reflect"))
    with torch.no_grad():
        wanted = by_hand(net, padded, upsample)[..., : size[0], : size[1]]
        torch.testing.assert_close(net(image), wanted)


@pytest.mark.parametrize("levels", [2, 3, 11])
@pytest.mark.parametrize("upsample", ["unpool", "transposed"])
def test_it_has_as_many_levels_as_widths(levels, upsample) -> None:
    net = small(name="unet_same", widths=[2] * levels, upsample=upsample)
    weights = [name for name, layer in net.named_children() if [*layer.parameters()]]
    assert [name for name in weights if "norm" not in name] == [
        *(f"down{n}_{place}" for n in range(1, levels + 1) for place in (1, 2)),
        *(f"up{n}{at}" for n in range(levels - 1, 0, -1) for at in ("", "_1", "_2")),
        "final",
    ]
    assert net.stride == 2 ** (levels - 1)
    seen = []
    for n in range(1, levels):
        note = lambda _layer, _given, made: seen.append(made.shape[2])  # noqa: E731
        net.get_submodule(f"up{n}").register_forward_hook(note)
    with torch.no_grad():
        assert net(torch.zeros(1, 1, net.stride, 1)).shape == (1, CLASSES, net.stride, 1)
    assert seen == [2**n for n in range(1, levels)]


def test_a_skip_is_the_middle_of_the_maps_before_the_pool() -> None:
    """The first channels behind the join are those of the way down."""
    net, seen = small(widths=[2, 3, 4]), {}
    for name in ("pool1", "up1_1"):
        layer = net.get_submodule(name)
        layer.register_forward_pre_hook(lambda _l, given, name=name: seen.update({name: given[0]}))
    with torch.no_grad():
        net.maps(torch.randn(1, 1, 44, 44))
    joined, before = seen["up1_1"], seen["pool1"]
    assert (before.shape[2], joined.shape[2]) == (40, 8)
    assert torch.equal(joined[:, :2], before[..., 16:24, 16:24])


def test_dropout_stands_at_the_end_of_the_way_down() -> None:
    order = [name for name, _ in on_meta("unet").named_children()]
    place = order.index("drop")
    assert order[place - 1 : place + 2] == ["down5_2_act", "drop", "up4"]
    assert "drop" not in dict(on_meta("unet_same").named_children())


def test_the_padded_nets_differ_in_what_their_files_say() -> None:
    changed = {k for k, v in numbers("unet_same").items() if numbers("unet")[k] != v}
    assert changed == {"name", "input", "padded", "norm", "dropout"}
    changed = {k for k, v in numbers("unet_small").items() if numbers("unet_same")[k] != v}
    assert changed == {"name", "widths"}


@pytest.mark.parametrize("upsample", WAYS)
def test_every_parameter_learns(upsample) -> None:
    net = small(name="unet_same", widths=[2, 3, 4], upsample=upsample).train()
    masks = torch.randint(0, CLASSES, (2, 1, 12, 10), dtype=torch.uint8)
    net.loss(net(torch.randn(2, 1, 12, 10)), masks).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_numbers_that_do_not_go_together_are_refused() -> None:
    assert refused("unet", widths=[64]) == [
        "model.widths must have two levels or more, got [64] (model.widths=[64,128,256,512,1024])"
    ]
    text = "model.upsample=unpool needs maps of the same size on both ways"
    assert refused("unet", upsample="unpool") == [f"{text} (model.padded=true, or model=unet_same)"]
