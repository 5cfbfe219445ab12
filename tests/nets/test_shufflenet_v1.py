from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from zoo import build, count, on_meta, outputs, refused, spec

from cnnctl.audit.forward import cost

COLUMNS = {  # table 1: groups, channels, complexity in millions
    "shufflenet_v1_g1": (1, [144, 288, 576], 143),
    "shufflenet_v1_g2": (2, [200, 400, 800], 140),
    "shufflenet_v1": (3, [240, 480, 960], 137),
    "shufflenet_v1_g4": (4, [272, 544, 1088], 133),
    "shufflenet_v1_g8": (8, [384, 768, 1536], 137),
}
SMALL = {"stem": 12, "widths": [48, 96, 192], "depths": [2, 1, 1], "small_input": True}


def arithmetic(groups: int, widths: list[int]) -> tuple[int, int]:
    """Parameters and multiply-adds at 224x224: weights, and two numbers per normalised map."""
    params, macs = (3 * 9 + 2) * 24, 3 * 9 * 24 * 112**2
    c_in, side = 24, 56
    for stage, (c_out, units) in enumerate(zip(widths, (4, 8, 4), strict=True)):
        for number in range(units):
            middle = c_out // 4
            branch = c_out - c_in if number == 0 else c_out
            first = c_in * middle // (1 if stage == number == 0 else groups)
            rest = 9 * middle + middle * branch // groups
            params += first + rest + 2 * (middle + middle + branch)
            macs += first * side**2
            side = side // 2 if number == 0 else side
            macs += rest * side**2
            c_in = c_out
    return params + 1000 * (c_in + 1), macs + 1000 * c_in


def test_the_layers_are_those_of_table_1_for_3_groups() -> None:
    shapes = outputs(on_meta("shufflenet_v1"), (3, 224, 224))
    stages = {
        **{f"stage2_{n}": (240, 28, 28) for n in range(1, 5)},
        **{f"stage3_{n}": (480, 14, 14) for n in range(1, 9)},
        **{f"stage4_{n}": (960, 7, 7) for n in range(1, 5)},
    }
    conv1 = dict.fromkeys(["conv1", "conv1_norm", "conv1_act"], (24, 112, 112))
    end = {"avgpool": (960, 1, 1), "flatten": (960,), "fc": (1000,)}
    assert list(shapes.items()) == list({**conv1, "maxpool": (24, 56, 56), **stages, **end}.items())


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_of_table_1_costs_what_its_layers_add_up_to(name: str) -> None:
    groups, widths, millions = COLUMNS[name]
    found = cost(spec(name), num_classes=1000, shape=(3, 224, 224))
    assert found == arithmetic(groups, widths)
    assert abs(found.macs / 1e6 - millions) < 1.4


@pytest.mark.parametrize(
    ("changes", "millions"),
    [({"width": 0.5}, 38), ({"width": 2}, 524), ({"width": 1.5, "stem": 16}, 292),
     ({"width": 0.25, "stem": 48}, 13)],
)  # fmt: skip
def test_the_factor_s_gives_the_complexities_of_tables_2_and_5(changes, millions) -> None:
    found = cost(spec("shufflenet_v1", **changes), num_classes=1000, shape=(3, 224, 224))
    assert round(found.macs / 1e6) == millions


@pytest.mark.parametrize("name", COLUMNS)
def test_all_pointwise_convolutions_but_the_first_have_groups(name: str) -> None:
    convolutions = [layer for layer in on_meta(name).modules() if isinstance(layer, nn.Conv2d)]
    pointwise = [layer.groups for layer in convolutions if layer.kernel_size == (1, 1)]
    assert pointwise == [1] + [COLUMNS[name][0]] * 31
    depthwise = [layer for layer in convolutions if layer.kernel_size == (3, 3)][1:]
    assert all(layer.groups == layer.in_channels == layer.out_channels for layer in depthwise)
    assert [layer.stride[0] for layer in depthwise] == [2, 1, 1, 1, 2, *[1] * 7, 2, 1, 1, 1]


def test_a_unit_with_stride_2_puts_its_branch_beside_the_pooled_input() -> None:
    net = build("shufflenet_v1", (3, 32, 32), **SMALL).eval()
    maps = torch.rand(1, 12, 8, 8)
    halved = net.stage2_1(maps)
    assert halved.shape == (1, 48, 4, 4)
    assert torch.equal(halved[:, :12], nn.AvgPool2d(3, 2, 1)(maps))
    branch = net.stage2_2.branch(halved)
    assert torch.equal(net.stage2_2(halved), torch.relu(branch + halved))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8))
def test_the_shuffle_transposes_groups_and_their_channels(groups: int, each: int) -> None:
    channels = torch.arange(groups * each).reshape(1, -1, 1, 1)
    shuffled = nn.ChannelShuffle(groups)(channels)
    assert shuffled.flatten().tolist() == channels.reshape(groups, each).T.flatten().tolist()
    assert sorted(shuffled.flatten().tolist()) == list(range(groups * each))
    assert torch.equal(nn.ChannelShuffle(each)(shuffled), channels)


@pytest.mark.parametrize(("shuffle", "reached"), [(False, {0}), (True, {0, 1, 2})])
def test_groups_mix_only_where_channels_are_shuffled(shuffle, reached) -> None:
    net = build("shufflenet_v1", (3, 32, 32), **SMALL, shuffle=shuffle, activation="none").eval()
    maps = torch.randn(1, 48, 4, 4, requires_grad=True)
    net.stage2_2.branch(maps)[:, :16].sum().backward()
    assert maps.grad is not None
    groups = maps.grad.reshape(3, 16, -1).abs().sum((1, 2))
    assert set(groups.nonzero().flatten().tolist()) == reached


def test_the_shuffle_has_no_parameter_and_stands_in_every_unit() -> None:
    nets = [on_meta("shufflenet_v1", shuffle=shuffle) for shuffle in (True, False)]
    shuffles = [
        sum(isinstance(layer, nn.ChannelShuffle) for layer in net.modules()) for net in nets
    ]
    assert shuffles == [16, 0]
    assert count(nets[0]) == count(nets[1])


def test_without_norm_every_convolution_has_a_bias_in_place_of_scale_and_shift() -> None:
    net, plain = on_meta("shufflenet_v1"), on_meta("shufflenet_v1", norm="none")
    maps = sum(layer.out_channels for layer in net.modules() if isinstance(layer, nn.Conv2d))
    assert count(net) - count(plain) == maps


def test_the_activation_stands_in_conv1_and_twice_in_every_unit() -> None:
    net = on_meta("shufflenet_v1", activation="elu")
    assert sum(isinstance(layer, nn.ELU) for layer in net.modules()) == 1 + 2 * 16
    assert not any(isinstance(layer, nn.ReLU) for layer in net.modules())


def test_small_images_meet_no_stride_before_stage_2() -> None:
    shapes = outputs(on_meta("shufflenet_v1", (3, 32, 32), small_input=True), (3, 32, 32))
    assert "maxpool" not in shapes
    assert [shapes[name] for name in ("conv1", "stage2_4", "stage3_8", "stage4_4")] == [
        (24, 32, 32), (240, 16, 16), (480, 8, 8), (960, 4, 4),
    ]  # fmt: skip


PAPERS = "(shufflenet_v1_g1 to _g8 have the paper's)"
GROW = "on, got [240, 480, 960] (a stage adds channels to those it gets)"
EACH = "depths and model.widths want a number for each stage, got"
MULTIPLE = "widths must be multiples of groups · bottleneck"
SCALED = "[30, 60, 120] ([240, 480, 960] at width 0.125)"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"groups": 8}, f"{MULTIPLE} = 8 · 4 = 32, got [240, 480, 960] {PAPERS}"),
        ({"bottleneck": 7}, f"{MULTIPLE} = 3 · 7 = 21, got [240, 480, 960] {PAPERS}"),
        ({"width": 0.125}, f"{MULTIPLE} = 3 · 4 = 12, got {SCALED} {PAPERS}"),
        ({"groups": 5}, "stem must be a multiple of the 5 groups, got 24"),
        ({"width": 0.3}, "stem must be a multiple of the 3 groups, got 7 (24 at width 0.3)"),
        ({"groups": 1}, "shuffle=true has no effect with model.groups=1 (model.shuffle=false)"),
        ({"depths": [4, 8]}, f"{EACH} 2 and 3"),
        ({"depths": [], "widths": []}, f"{EACH} 0 and 0"),
        ({"stem": 300}, f"widths must grow from the 300 of conv1 {GROW}"),
        ({"width": 1, "stem": 240}, f"widths must grow from the 240 of conv1 {GROW}"),
        ({"widths": [240, 480.5]}, "widths must be a list of whole numbers, got [240, 480.5]"),
        ({"width": 0}, "width must be above 0, got 0"),
    ],
)  # fmt: skip
def test_wrong_numbers_give_one_line(changes, text) -> None:
    assert refused("shufflenet_v1", **changes) == [f"model.{text}"]
