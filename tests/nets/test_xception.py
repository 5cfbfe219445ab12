from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d
from zoo import build, count, on_meta, outputs, refused

from cnnctl.errors import NetError
from cnnctl.nets.xception import separable

FULL, GREY = (3, 299, 299), (1, 32, 32)
TINY = {"stem": [4, 8], "entry": [12, 16], "middle": 1, "exit": [20, 24, 32]}


def arithmetic(classes: int, c_in: int = 3, side: int = 299) -> tuple[int, int]:
    """Parameters and multiply-adds of figure 5, layer by layer."""
    params = macs = 0

    def conv(c_in: int, c_out: int, area: int, side: int, *, norm: bool = True) -> None:
        nonlocal params, macs
        params += area * c_in * c_out + 2 * c_out * norm
        macs += area * c_in * c_out * side**2

    def separable(c_in: int, c_out: int, side: int) -> None:
        conv(1, c_in, 9, side, norm=False)
        conv(c_in, c_out, 1, side)

    side = (side - 3) // 2 + 1
    conv(c_in, 32, 9, side)
    side -= 2
    conv(32, 64, 9, side)
    for before, after in pairwise([64, 128, 256, 728]):
        separable(before, after, side)
        separable(after, after, side)
        side = (side + 1) // 2
        conv(before, after, 1, side)
    for _ in range(8 * 3):
        separable(728, 728, side)
    separable(728, 728, side)
    separable(728, 1024, side)
    side = (side + 1) // 2
    conv(728, 1024, 1, side)
    separable(1024, 1536, side)
    separable(1536, 2048, side)
    return params + 2049 * classes, macs + 2048 * classes


def test_the_arithmetic_of_figure_5() -> None:
    assert arithmetic(1000) == (22_855_952, 8_357_403_496)
    assert count(on_meta("xception", (4, 299, 299), 7)) == arithmetic(7, 4)[0]


def test_the_flows_are_those_of_figure_5() -> None:
    shapes = outputs(on_meta("xception"), FULL)
    assert {
        name: shape for name, shape in shapes.items() if not name.endswith(("norm", "act"))
    } == {
        "conv1": (32, 149, 149), "conv2": (64, 147, 147),
        "block1": (128, 74, 74), "block2": (256, 37, 37), "block3": (728, 19, 19),
        **{f"block{number}": (728, 19, 19) for number in range(4, 12)},
        "block12": (1024, 10, 10),
        "conv3_depthwise": (1024, 10, 10), "conv3_pointwise": (1536, 10, 10),
        "conv4_depthwise": (1536, 10, 10), "conv4_pointwise": (2048, 10, 10),
        "avgpool": (2048, 1, 1), "flatten": (2048,), "drop": (2048,), "fc": (1000,),
    }  # fmt: skip


def test_36_layers_if_a_separable_convolution_counts_once_and_a_shortcut_not() -> None:
    convs = {
        name: layer
        for name, layer in on_meta("xception").named_modules()
        if isinstance(layer, nn.Conv2d)
    }
    shortcuts = {name for name in convs if "shortcut" in name}
    depthwise = {name for name, layer in convs.items() if layer.groups > 1}
    assert sorted(shortcuts) == [f"block{number}.shortcut.conv" for number in (1, 12, 2, 3)]
    assert len(depthwise) == 34
    assert len(convs.keys() - shortcuts - depthwise) == 36


@pytest.mark.parametrize(
    ("block", "layers"),
    [
        ("block1", ["conv1", "act2", "conv2", "pool"]),  # the figure has one ReLU less here
        ("block3", ["act1", "conv1", "act2", "conv2", "pool"]),
        ("block4", ["act1", "conv1", "act2", "conv2", "act3", "conv3"]),
        ("block12", ["act1", "conv1", "act2", "conv2", "pool"]),
    ],
)
def test_a_block_has_its_activations_before_its_convolutions(block, layers) -> None:
    branch = on_meta("xception").get_submodule(f"{block}.branch")
    names = [name for name, _ in branch.named_children()]
    expected = []
    for name in layers:
        parts = (
            ("_depthwise", "_pointwise", "_pointwise_norm") if name.startswith("conv") else ("",)
        )
        expected += [f"{name}{part}" for part in parts]
    assert names == expected


def test_block_12_widens_in_its_second_convolution_and_the_others_in_their_first() -> None:
    net = on_meta("xception")
    widths = {
        block: [
            net.get_submodule(f"{block}.branch.conv{place}_pointwise").out_channels
            for place in (1, 2)
        ]
        for block in ("block2", "block3", "block12")
    }
    assert widths == {"block2": [256, 256], "block3": [728, 728], "block12": [728, 1024]}


@torch.no_grad()
def test_depthwise_and_pointwise_are_one_convolution_with_the_product_of_their_kernels() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(separable("conv", 5, 7, "none")).double()
    depthwise, pointwise = layers.conv_depthwise.weight, layers.conv_pointwise.weight
    assert count(layers) == 9 * 5 + 5 * 7 + 7
    value = torch.randn(2, 5, 6, 8, dtype=torch.float64)
    full = conv2d(value, pointwise * depthwise.squeeze(1), layers.conv_pointwise.bias, padding=1)
    torch.testing.assert_close(layers(value), full, rtol=0, atol=1e-10)


def test_nothing_stands_between_depthwise_and_pointwise() -> None:
    for module in on_meta("xception").modules():
        for (name, layer), (following, _) in pairwise(module.named_children()):
            if isinstance(layer, nn.Conv2d) and layer.groups > 1:
                assert following == name.replace("depthwise", "pointwise")


@torch.no_grad()
def test_the_middle_flow_adds_its_input_and_the_others_a_projection() -> None:
    net = build("xception", (3, 64, 64), 10, **TINY).eval()
    value = torch.randn(1, 8, 15, 15)
    for name in ("block1", "block2", "block3", "block4"):
        block = net.get_submodule(name)
        branch = block(value) - block.shortcut(value)
        torch.testing.assert_close(branch, block.branch(value))
        assert isinstance(block.shortcut, nn.Identity) == (name == "block3")
        value = block(value)


def test_a_small_input_meets_no_stride_before_the_first_block() -> None:
    net = on_meta("xception", GREY, 10, small_input=True)
    shapes = outputs(net, GREY)
    sides = {name: shape[1] for name, shape in shapes.items() if name.startswith("block")}
    assert shapes["conv2"] == (64, 32, 32)
    assert list(sides.values()) == [16, 8, *[4] * 9, 2]
    assert count(net) == arithmetic(10, 1)[0]


def test_every_switch_changes_what_it_says() -> None:
    full = count(on_meta("xception"))
    block = 3 * (728 * 9 + 728**2 + 2 * 728)
    assert full - count(on_meta("xception", middle=3)) == 5 * block
    plain = on_meta("xception", norm="none")
    biased = [
        layer for layer in plain.modules() if isinstance(layer, nn.Conv2d) and layer.groups == 1
    ]
    assert full - count(plain) == sum(layer.out_channels for layer in biased)
    assert on_meta("xception").drop.p == 0.5
    assert not hasattr(on_meta("xception", dropout=0), "drop")
    kinds = {type(layer) for layer in on_meta("xception", activation="elu").modules()}
    assert nn.ELU in kinds
    assert nn.ReLU not in kinds
    flat = on_meta("xception", entry=[], middle=0)
    assert outputs(flat, FULL)["block1"] == (1024, 74, 74)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"entry": [128, 0]}, "model.entry must be at least 1, got [128, 0]"),
        ({"exit": [1024, 1536]}, "model.exit must be a list of 3 whole numbers, got [1024, 1536]"),
        ({"middle": -1}, "model.middle must be at least 0, got -1"),
        ({"dropout": 1}, "model.dropout must be below 1, got 1"),
        ({"stem": 32}, "model.stem must be a list of 2 whole numbers, got 32"),
    ],
)
def test_wrong_numbers_are_refused(wrong, line) -> None:
    assert refused("xception", **wrong) == [line]


def test_an_image_too_small_names_the_layer() -> None:
    with pytest.raises(NetError, match=r"^a 6x6 image is too small for layer 'conv2': \(2 − 3\)/1"):
        on_meta("xception", (3, 6, 6))
