from __future__ import annotations

import pytest
import torch
from torch import nn
from zoo import build, count, on_meta, outputs, refused, spec

from cnnctl.audit.forward import cost
from cnnctl.nets.shufflenet_v2 import Split

COLUMNS = {  # table 5: channels of the stages and of conv5, complexity and weights in millions
    "shufflenet_v2_x0_5": ([48, 96, 192], 1024, 41, 1.4),
    "shufflenet_v2_x1_0": ([116, 232, 464], 1024, 146, 2.3),
    "shufflenet_v2_x1_5": ([176, 352, 704], 1024, 299, 3.5),
    "shufflenet_v2_x2_0": ([244, 488, 976], 2048, 591, 7.4),
}
SMALL = {"stem": 8, "widths": [16, 32, 64], "depths": [2, 1, 1], "head": 12, "small_input": True}


@pytest.mark.parametrize("name", COLUMNS)
def test_the_layers_are_those_of_table_5(name: str) -> None:
    (c2, c3, c4), c5, _, _ = COLUMNS[name]
    shapes = outputs(on_meta(name), (3, 224, 224))
    stages = {
        **{f"stage2_{n}": (c2, 28, 28) for n in range(1, 5)},
        **{f"stage3_{n}": (c3, 14, 14) for n in range(1, 9)},
        **{f"stage4_{n}": (c4, 7, 7) for n in range(1, 5)},
    }
    conv1 = dict.fromkeys(["conv1", "conv1_norm", "conv1_act"], (24, 112, 112))
    conv5 = dict.fromkeys(["conv5", "conv5_norm", "conv5_act"], (c5, 7, 7))
    end = {"avgpool": (c5, 1, 1), "flatten": (c5,), "fc": (1000,)}
    expected = {**conv1, "maxpool": (24, 56, 56), **stages, **conv5, **end}
    assert list(shapes.items()) == list(expected.items())


@pytest.mark.parametrize("name", COLUMNS)
def test_the_complexities_of_table_5_come_out_to_two_percent(name: str) -> None:
    _, _, complexity, weights = COLUMNS[name]
    found = cost(spec(name), num_classes=1000, shape=(3, 224, 224))
    assert 0.98 < found.macs / 1e6 / complexity <= 1
    assert round(found.params / 1e6, 1) == weights


def test_a_split_leaves_the_first_half_untouched() -> None:
    maps = torch.randn(2, 6, 3, 3)
    split = Split(nn.Conv2d(3, 3, 1))(maps)
    assert torch.equal(split[:, :3], maps[:, :3])
    assert not torch.equal(split[:, 3:], maps[:, 3:])


def test_a_unit_keeps_half_of_its_channels_at_every_second_place() -> None:
    unit = build("shufflenet_v2_x1_0", (3, 32, 32), **SMALL).eval().stage2_2
    maps = torch.randn(2, 16, 4, 4)
    made = unit(maps)
    assert torch.equal(made[:, ::2], maps[:, :8])
    assert torch.equal(made[:, 1::2], unit.split.branch(maps[:, 8:]))


def test_each_unit_halves_the_channels_that_no_branch_has_seen_but_the_first_one() -> None:
    branches = [nn.Conv2d(4, 4, 1, bias=False) for _ in range(4)]
    for branch in branches:
        nn.init.zeros_(branch.weight)
    unit = nn.Sequential(
        *(nn.Sequential(Split(branch), nn.ChannelShuffle(2)) for branch in branches)
    )
    left = [int((unit[:n](torch.ones(1, 8, 1, 1)) != 0).sum()) for n in range(5)]
    assert left == [8, 4, 2, 1, 1]


def test_a_unit_with_stride_2_has_two_branches_on_all_channels() -> None:
    unit = build("shufflenet_v2_x1_0", (3, 32, 32), **SMALL).eval().stage2_1
    maps = torch.randn(2, 8, 8, 8)
    made = unit(maps)
    assert made.shape == (2, 16, 4, 4)
    assert torch.equal(made[:, ::2], unit.concat["shortcut"](maps))
    assert torch.equal(made[:, 1::2], unit.concat["branch"](maps))


def test_only_depthwise_convolutions_have_groups_and_no_activation() -> None:
    net = on_meta("shufflenet_v2_x1_0", activation="elu")
    convolutions = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    depthwise = [layer for layer in convolutions if layer.groups > 1]
    assert all(layer.groups == layer.in_channels == layer.out_channels for layer in depthwise)
    assert len(depthwise) == 16 + 3
    assert len(convolutions) == 1 + 16 * 3 + 3 * 2 + 1
    activations = sum(isinstance(layer, nn.ELU) for layer in net.modules())
    assert activations == len(convolutions) - len(depthwise)


def test_without_norm_every_convolution_has_a_bias_in_place_of_scale_and_shift() -> None:
    net, plain = on_meta("shufflenet_v2_x1_0"), on_meta("shufflenet_v2_x1_0", norm="none")
    maps = sum(layer.out_channels for layer in net.modules() if isinstance(layer, nn.Conv2d))
    assert count(net) - count(plain) == maps


def test_the_head_widens_conv5_and_the_last_layer() -> None:
    net, wide = on_meta("shufflenet_v2_x1_0"), on_meta("shufflenet_v2_x1_0", head=1025)
    assert count(wide) - count(net) == 464 + 2 + 1000


def test_small_images_meet_no_stride_before_stage_2() -> None:
    net = on_meta("shufflenet_v2_x1_0", (3, 32, 32), small_input=True)
    shapes = outputs(net, (3, 32, 32))
    assert "maxpool" not in shapes
    assert [shapes[name] for name in ("conv1", "stage2_4", "stage3_8", "stage4_4", "conv5")] == [
        (24, 32, 32), (116, 16, 16), (232, 8, 8), (464, 4, 4), (1024, 4, 4),
    ]  # fmt: skip
    assert count(net) == 2_278_604


EACH = "depths and model.widths want a number for each stage, got"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"depths": [4, 8]}, f"{EACH} 2 and 3"),
        ({"depths": [], "widths": []}, f"{EACH} 0 and 0"),
        ({"widths": [5, 6, 8]}, "widths must be even, to be split in halves, got [5, 6, 8]"),
        ({"widths": [0, 2, 4]}, "widths must be at least 2, got [0, 2, 4]"),
        ({"head": 0}, "head must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_wrong_numbers_give_one_line(changes, text) -> None:
    assert refused("shufflenet_v2_x1_0", **changes) == [f"model.{text}"]
