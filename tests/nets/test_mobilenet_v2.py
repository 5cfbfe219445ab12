from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models._utils import _make_divisible
from zoo import build, count, on_meta, outputs, refused

from cnnctl.nets.blocks import Residual, scaled


def blocks(net: nn.Module) -> dict[str, nn.Sequential]:
    """The branch of every bottleneck."""
    return {
        name: layer.branch if isinstance(layer, Residual) else layer
        for name, layer in net.named_children()
        if name.startswith("bottleneck")
    }


def test_the_layers_are_those_of_table_2() -> None:
    shapes = outputs(on_meta("mobilenet_v2"), (3, 224, 224))
    convolutions = {
        name: shape for name, shape in shapes.items() if not name.endswith(("_norm", "_act"))
    }
    assert convolutions == {
        "conv1": (32, 112, 112),
        "bottleneck1_1": (16, 112, 112),
        "bottleneck2_1": (24, 56, 56), "bottleneck2_2": (24, 56, 56),
        "bottleneck3_1": (32, 28, 28), "bottleneck3_2": (32, 28, 28),
        "bottleneck3_3": (32, 28, 28),
        "bottleneck4_1": (64, 14, 14), "bottleneck4_2": (64, 14, 14),
        "bottleneck4_3": (64, 14, 14), "bottleneck4_4": (64, 14, 14),
        "bottleneck5_1": (96, 14, 14), "bottleneck5_2": (96, 14, 14),
        "bottleneck5_3": (96, 14, 14),
        "bottleneck6_1": (160, 7, 7), "bottleneck6_2": (160, 7, 7), "bottleneck6_3": (160, 7, 7),
        "bottleneck7_1": (320, 7, 7),
        "conv2": (1280, 7, 7), "avgpool": (1280, 1, 1), "flatten": (1280,), "drop": (1280,),
        "fc": (1000,),
    }  # fmt: skip


def test_a_shortcut_stands_only_where_stride_and_width_leave_the_shape() -> None:
    net = on_meta("mobilenet_v2")
    assert [name for name, layer in net.named_children() if isinstance(layer, Residual)] == [
        "bottleneck2_2", "bottleneck3_2", "bottleneck3_3",
        "bottleneck4_2", "bottleneck4_3", "bottleneck4_4", "bottleneck5_2", "bottleneck5_3",
        "bottleneck6_2", "bottleneck6_3",
    ]  # fmt: skip
    same = [[1, 32, 1, 1], [6, 32, 1, 2], [6, 32, 1, 1]]
    shortcuts = [isinstance(block, Residual) for block in on_meta("mobilenet_v2", stages=same)]
    assert shortcuts[3:6] == [True, False, True]


def test_a_bottleneck_expands_filters_and_projects_linearly() -> None:
    net = on_meta("mobilenet_v2")
    middle = ["depthwise", "depthwise_norm", "depthwise_act", "project", "project_norm"]
    for name, branch in blocks(net).items():
        layers = [layer for layer, _ in branch.named_children()]
        first = [] if name == "bottleneck1_1" else ["expand", "expand_norm", "expand_act"]
        assert layers == first + middle
        assert branch.depthwise.groups == branch.depthwise.in_channels
    assert {type(act) for act in net.modules() if "ReLU" in type(act).__name__} == {nn.ReLU6}


def test_a_bottleneck_with_a_shortcut_adds_what_came_to_what_it_projects() -> None:
    block = build("mobilenet_v2", (3, 32, 32)).bottleneck2_2
    maps = torch.randn(2, 24, 6, 6)
    projected = block.branch(maps)
    assert projected.min() < 0
    assert projected.max() > 0
    assert torch.equal(block(maps), maps + projected)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 40), st.integers(1, 40), st.integers(1, 2))
def test_a_bottleneck_has_the_weights_of_section_3_3(expand, c_in, c_out, stride) -> None:
    net = on_meta("mobilenet_v2", (3, 9, 9), stem=c_in, stages=[[expand, c_out, 1, stride]])
    convolutions = [layer for layer in blocks(net)["bottleneck1_1"] if isinstance(layer, nn.Conv2d)]
    terms = c_in + 3**2 + c_out if expand > 1 else 3**2 + c_out
    assert sum(count(layer) for layer in convolutions) == c_in * expand * terms


@pytest.mark.parametrize(
    ("width", "params", "last"),
    [(0.35, 1_677_128, 1280), (0.5, 1_968_680, 1280), (0.75, 2_636_424, 1280),
     (1.3, 5_386_792, 1664), (1.4, 6_108_776, 1792)],
)  # fmt: skip
def test_other_widths_have_the_parameters_of_torchvision(width, params, last) -> None:
    net = on_meta("mobilenet_v2", width=width)
    assert count(net) == params
    assert net.conv2.out_channels == last


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4096), st.floats(0.01, 4))
def test_widths_are_rounded_as_torchvision_does(channels, width) -> None:
    rounded = scaled(channels, width)
    if width == 1:
        assert rounded == channels
    else:
        assert rounded == _make_divisible(channels * width, 8)
        assert rounded % 8 == 0
        assert rounded >= max(8, 0.9 * channels * width)


def test_a_width_of_1_leaves_the_numbers_as_they_stand() -> None:
    net = on_meta("mobilenet_v2", stem=10, head=30, stages=[[2, 5, 1, 1]])
    assert [net.conv1.out_channels, net.conv2.in_channels, net.fc.in_features] == [10, 5, 30]


def test_without_norm_every_convolution_has_a_bias() -> None:
    net, bare = on_meta("mobilenet_v2"), on_meta("mobilenet_v2", norm="none")
    biases = sum(layer.out_channels for layer in net.modules() if isinstance(layer, nn.Conv2d))
    assert count(bare) == count(net) - 2 * biases + biases


def test_the_activation_stands_after_every_norm_but_the_last_of_a_block() -> None:
    kinds = [type(layer) for layer in on_meta("mobilenet_v2", activation="silu").modules()]
    assert kinds.count(nn.SiLU) == kinds.count(nn.BatchNorm2d) - 17
    assert nn.ReLU6 not in kinds


def test_dropout_stands_before_the_dense_layer_alone() -> None:
    drops = [layer for layer in on_meta("mobilenet_v2").modules() if isinstance(layer, nn.Dropout)]
    assert [drop.p for drop in drops] == [0.2]
    assert list(dict(on_meta("mobilenet_v2", dropout=0).named_children()))[-2:] == ["flatten", "fc"]


def test_small_images_keep_their_size_up_to_the_third_stage() -> None:
    shapes = outputs(on_meta("mobilenet_v2", (1, 32, 32), small_input=True), (1, 32, 32))
    assert {name: shape[1] for name, shape in shapes.items() if name.endswith("_1")} == {
        "bottleneck1_1": 32, "bottleneck2_1": 32, "bottleneck3_1": 16, "bottleneck4_1": 8,
        "bottleneck5_1": 8, "bottleneck6_1": 4, "bottleneck7_1": 4,
    }  # fmt: skip
    assert (shapes["conv1"], shapes["conv2"]) == ((32, 32, 32), (1280, 4, 4))
    assert count(on_meta("mobilenet_v2", small_input=True)) == 3_504_872


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": []}, "model.stages must have at least one row, got []"),
        (
            {"stages": [[1, 16, 1, 1], [6, 24, 2]]},
            "model.stages.1: want 4 numbers (expand, channels, blocks, stride), got [6, 24, 2]",
        ),
        ({"stages": [[0, 16, 1, 1]]}, "model.stages.0 must be at least 1, got [0, 16, 1, 1]"),
        ({"width": -1}, "model.width must be above 0, got -1"),
        ({"head": 0}, "model.head must be at least 1, got 0"),
        (
            {"stages": [[1.5, 8, 1, 1]]},
            "model.stages.0: want 4 numbers (expand, channels, blocks, stride), got [1.5, 8, 1, 1]",
        ),
    ],
)
def test_a_wrong_number_is_named(changes, said) -> None:
    assert refused("mobilenet_v2", **changes) == [said]
