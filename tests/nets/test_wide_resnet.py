from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from torch.nn.functional import conv2d
from zoo import build, count, on_meta, outputs, refused

from cnnctl.nets.blocks import Residual

REFERENCE = yaml.safe_load(Path(__file__).with_name("reference.yaml").read_text(encoding="utf-8"))


def arithmetic(depth: int, k: int) -> tuple[int, int]:
    """Table 1 with N = (depth - 4) / 6: parameters and multiply-adds."""
    params, macs, c_in = 9 * 3 * 16, 9 * 3 * 16 * 32**2, 16
    for maps, side in [(16 * k, 32), (32 * k, 16), (64 * k, 8)]:
        for _ in range((depth - 4) // 6):
            weights = 9 * c_in * maps + 9 * maps * maps + (c_in != maps) * c_in * maps
            params += weights + 2 * c_in + 2 * maps
            macs += weights * side**2
            c_in = maps
    return params + 2 * c_in + c_in * 10 + 10, macs + c_in * 10


@pytest.mark.parametrize(
    ("name", "depth", "k", "printed"), [("wrn28_10", 28, 10, 36.5), ("wrn40_4", 40, 4, 8.9)]
)
def test_the_nets_have_the_parameters_of_table_5_by_arithmetic(name, depth, k, printed) -> None:
    params, macs = arithmetic(depth, k)
    assert {"params": params, "macs": macs}.items() <= REFERENCE[name].items()
    assert round(params / 1e6, 1) == printed
    kinds = [layer.kernel_size for layer in on_meta(name).modules() if isinstance(layer, nn.Conv2d)]
    assert (kinds.count((3, 3)), kinds.count((1, 1))) == (depth - 3, 3)


def test_wrn16_2_is_that_of_table_1_layer_by_layer() -> None:
    net = on_meta("wrn28_10", depths=[2, 2, 2], widen=2)
    assert {name: (*shape, count(getattr(net, name)))
            for name, shape in outputs(net, (3, 32, 32)).items()} == {
        "conv1": (16, 32, 32, 432),
        "conv2_1": (32, 32, 32, 14432), "conv2_2": (32, 32, 32, 18560),
        "conv3_1": (64, 16, 16, 57536), "conv3_2": (64, 16, 16, 73984),
        "conv4_1": (128, 8, 8, 229760), "conv4_2": (128, 8, 8, 295424),
        "last_norm": (128, 8, 8, 256), "last_act": (128, 8, 8, 0),
        "avgpool": (128, 1, 1, 0), "flatten": (128, 0), "fc": (10, 1290),
    }  # fmt: skip
    assert count(net) == arithmetic(16, 2)[0]


def test_a_block_adds_two_preactivated_convolutions_to_what_comes_in() -> None:
    block = build("wrn40_4", depths=[2, 1, 1], widen=1).conv2_2.eval()
    maps, branch = torch.randn(2, 16, 6, 6), block.branch
    inside = conv2d(branch.conv1_norm(maps).relu(), branch.conv1.weight, padding=1)
    inside = conv2d(branch.conv2_norm(inside).relu(), branch.conv2.weight, padding=1)
    assert torch.equal(block(maps), inside + maps)


def test_a_block_that_changes_the_shape_shares_its_first_activation() -> None:
    block = build("wrn40_4", depths=[1, 1, 1], widen=1).conv3_1.eval()
    maps = torch.randn(2, 16, 6, 6)
    active, total = block.conv1_norm(maps).relu(), block.sum
    projected = conv2d(active, total.shortcut.weight, stride=2)
    assert projected.shape == (2, 32, 3, 3)
    assert torch.equal(block(maps), total.branch(active) + projected)


def test_a_branch_of_zeros_is_the_identity() -> None:
    block = build("wrn40_4", depths=[2], widths=[16], widen=1).conv2_2
    nn.init.zeros_(block.branch.conv2.weight)
    maps = torch.randn(2, 16, 6, 6)
    assert torch.equal(block(maps), maps)


def test_dropout_stands_between_the_convolutions_of_each_block() -> None:
    net = on_meta("wrn28_10", dropout=0.3)
    branches = [layer.branch for layer in net.modules() if isinstance(layer, Residual)]
    assert len(branches) == 12
    for branch in branches:
        names = [name for name, _ in branch.named_children()]
        assert names[-5:] == ["conv1", "conv2_norm", "conv2_act", "drop", "conv2"]
        assert branch.drop.p == 0.3
    assert not any(isinstance(layer, nn.Dropout) for layer in on_meta("wrn28_10").modules())


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [({"widths": [32, 64, 128], "widen": 5}, 36_479_194),
     ({"norm": "group"}, 36_479_194),
     ({"activation": "none"}, 36_479_194),
     ({"norm": "none"}, 36_479_194 - 2 * (16 + 8 * 1120) + 16 + 8 * 1120 + 1120)],
)  # fmt: skip
def test_changed_numbers_make_the_net_they_say(changes, wanted) -> None:
    assert count(on_meta("wrn28_10", **changes)) == wanted


LENGTHS = "model.depths and model.widths want a number for each stage, got"


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"depths": [4, 4]}, f"{LENGTHS} 2 and 3"),
     ({"depths": [], "widths": []}, f"{LENGTHS} 0 and 0"),
     ({"dropout": 1}, "model.dropout must be below 1, got 1"),
     ({"widen": 0.5}, "model.widen must be a whole number, got 0.5"),
     ({"widths": [16, 0, 64]}, "model.widths must be at least 1, got [16, 0, 64]")],
)  # fmt: skip
def test_a_wrong_number_is_told_in_one_line(changes, said) -> None:
    assert refused("wrn28_10", **changes) == [said]
