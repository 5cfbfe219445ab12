from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d
from zoo import build, count, on_meta, outputs, refused, spec

from cnnctl.audit.forward import cost

REFERENCE = yaml.safe_load(Path(__file__).with_name("reference.yaml").read_text(encoding="utf-8"))
MILLIONS = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7, 1202: 19.4}  # table 6
Conv = tuple[int, int, int, int, int]  # kernel, maps in, maps out, side of the output, groups


def cifar(n: int) -> list[Conv]:
    """Section 4.2: 3x3 only, 2n on each of 32, 16 and 8 pixels."""
    maps = [3, 16, *[16] * 2 * n, *[32] * 2 * n, *[64] * 2 * n]
    side = {16: 32, 32: 16, 64: 8}
    return [(3, c_in, c_out, side[c_out], 1) for c_in, c_out in pairwise(maps)]


def resnext29() -> list[Conv]:
    """Section 5.3 of Xie et al. 2017: 8 groups of 64, then of 128 and 256 maps."""
    rows, c_in, before = [(3, 3, 64, 32, 1)], 64, 32
    for width, c_out, side in [(512, 256, 32), (1024, 512, 16), (2048, 1024, 8)]:
        first = [(1, c_in, width, before, 1), (1, c_in, c_out, side, 1)]
        again = [(1, c_out, width, side, 1)] * 2
        rows += first + again + [(3, width, width, side, 8), (1, width, c_out, side, 1)] * 3
        c_in, before = c_out, side
    return rows


def costs(rows: list[Conv], values: int) -> dict[str, int]:
    """Each convolution with a scale and a shift; `values` go to ten classes."""
    weights = [kernel**2 * c_in * c_out // groups for kernel, c_in, c_out, _, groups in rows]
    params = sum(weights) + sum(2 * row[2] for row in rows) + values * 10 + 10
    macs = [weight * row[3] ** 2 for weight, row in zip(weights, rows, strict=True)]
    return {"params": params, "macs": sum(macs) + values * 10}


def convolutions(net: nn.Module) -> dict[str, tuple]:
    return {
        name: (layer.kernel_size[0], layer.in_channels, layer.out_channels, layer.stride[0])
        for name, layer in net.named_modules()
        if isinstance(layer, nn.Conv2d)
    }


def test_resnet18_is_that_of_table_1_layer_by_layer() -> None:
    net = on_meta("resnet18")
    assert {name: (*shape, count(getattr(net, name)))
            for name, shape in outputs(net, (3, 224, 224)).items()} == {
        "conv1": (64, 112, 112, 9408), "conv1_norm": (64, 112, 112, 128),
        "conv1_act": (64, 112, 112, 0), "pool1": (64, 56, 56, 0),
        "conv2_1": (64, 56, 56, 73984), "conv2_2": (64, 56, 56, 73984),
        "conv3_1": (128, 28, 28, 230144), "conv3_2": (128, 28, 28, 295424),
        "conv4_1": (256, 14, 14, 919040), "conv4_2": (256, 14, 14, 1180672),
        "conv5_1": (512, 7, 7, 3673088), "conv5_2": (512, 7, 7, 4720640),
        "avgpool": (512, 1, 1, 0), "flatten": (512, 0), "fc": (1000, 513000),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "depths", "expand"),
    [("plain18", (2, 2, 2, 2), 1), ("plain34", (3, 4, 6, 3), 1), ("resnet34", (3, 4, 6, 3), 1),
     ("resnet50", (3, 4, 6, 3), 4), ("resnet101", (3, 4, 23, 3), 4),
     ("resnet152", (3, 8, 36, 3), 4)],
)  # fmt: skip
def test_the_blocks_of_table_1_have_its_names_and_sizes(name, depths, expand) -> None:
    blocks = {
        f"conv{stage}_{number}": (width * expand, side, side)
        for (stage, width, side), depth in zip(
            [(2, 64, 56), (3, 128, 28), (4, 256, 14), (5, 512, 7)], depths, strict=True
        )
        for number in range(1, depth + 1)
    }
    shapes = outputs(on_meta(name), (3, 224, 224))
    assert list(shapes)[4:-3] == list(blocks)
    assert shapes | blocks == shapes


@pytest.mark.parametrize(("name", "first", "second"), [("resnet50", 2, 1), ("resnet50_v1_5", 1, 2)])
def test_a_bottleneck_strides_on_its_first_1x1_or_on_its_3x3(name, first, second) -> None:
    assert convolutions(on_meta(name).conv3_1) == {
        "branch.conv1": (1, 256, 128, first), "branch.conv2": (3, 128, 128, second),
        "branch.conv3": (1, 128, 512, 1), "shortcut.conv": (1, 256, 512, 2),
    }  # fmt: skip


@pytest.mark.parametrize(("layers", "printed"), MILLIONS.items())
def test_cifar_nets_have_the_parameters_of_table_6_by_arithmetic(layers, printed) -> None:
    rows = cifar(n=layers // 6)
    assert len(rows) + 1 == layers
    counted = costs(rows, 64)
    assert round(counted["params"] / 1e6, 2 if printed < 1 else 1) == printed
    for name in (f"resnet{layers}", f"plain{layers}"):
        assert counted.items() <= REFERENCE.get(name, counted).items()


def test_resnext29_has_its_parameters_by_arithmetic() -> None:
    counted = costs(resnext29(), 1024)
    assert counted.items() <= REFERENCE["resnext29_8x64d"].items()
    assert round(counted["params"] / 1e6, 1) == 34.4


@pytest.mark.parametrize("layers", [20, 56, 110])
def test_cifar_nets_have_6n_and_2_layers(layers) -> None:
    shapes = outputs(net := on_meta(f"resnet{layers}"), (3, 32, 32))
    assert len(convolutions(net)) + 1 == layers
    sides = [shape[1] for name, shape in shapes.items() if name.startswith("conv")]
    n = layers // 6
    assert sides == [32] * 3 + [32] * n + [16] * n + [8] * n


@pytest.mark.parametrize(
    ("name", "shortcut", "macs", "printed"),
    [("resnet18", "A", 1_794_805_760, 1.8), ("resnet34", "A", 3_644_493_824, 3.6),
     ("resnet50", "B", 3_857_973_248, 3.8), ("resnet101", "B", 7_570_194_432, 7.6),
     ("resnet152", "B", 11_282_415_616, 11.3), ("resnet50", "A", 3_498_311_680, None)],
)  # fmt: skip
def test_the_billions_of_table_1_are_multiply_adds(name, shortcut, macs, printed) -> None:
    made = spec(name, shortcut=shortcut)
    assert cost(made, num_classes=1000, shape=(3, 224, 224)).macs == macs
    cut_off = name == "resnet50"  # 3.858 is printed as 3.8
    assert printed in (None, macs // 10**8 / 10 if cut_off else round(macs / 1e9, 1))


@pytest.mark.parametrize(
    ("layers", "same"),
    [(18, [64, 64, 128, 256, 512]), (34, [64] * 3 + [128] * 3 + [256] * 5 + [512] * 2)],
)
def test_only_projections_have_parameters(layers, same) -> None:
    plain = count(on_meta(f"plain{layers}"))
    a, b, c = (count(on_meta(f"resnet{layers}", shortcut=option)) - plain for option in "ABC")
    assert (a, b) == (0, 173_824)
    assert c - b == sum(maps * maps + 2 * maps for maps in same)


@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_shortcut_a_takes_every_second_pixel_and_adds_maps_of_zeros(size) -> None:
    block = build("resnet20", depths=[1, 1, 1]).conv3_1
    maps = torch.randn(2, 16, *size)
    padded = block.shortcut(maps)
    assert torch.equal(padded[:, :16], maps[:, :, ::2, ::2])
    assert padded.shape == block(maps).shape
    assert padded[:, 16:].unique().tolist() == [0]
    assert count(block.shortcut) == 0


@pytest.mark.parametrize("name", ["resnet20", "resnet50"])
def test_a_branch_that_starts_at_zero_makes_the_block_the_identity(name) -> None:
    net = build(name, depths=[2, 1], widths=[8, 8], small_input=True, stem=8, zero_init=True)
    last = "conv3" if name == "resnet50" else "conv2"
    weights = {key: value for key, value in net.named_parameters() if key.endswith("weight")}
    assert [key for key, value in weights.items() if not value.any()] == [
        f"{block}.branch.{last}_norm.weight" for block in ("conv2_1", "conv2_2", "conv3_1")
    ]
    maps = torch.rand(2, 32 if name == "resnet50" else 8, 6, 6)
    assert torch.equal(net.conv2_2(maps), maps)
    assert torch.equal(net.conv3_1(maps), net.conv3_1.shortcut(maps).relu())


def test_a_plain_block_is_its_branch_and_the_activation() -> None:
    block = build("plain20", depths=[1, 1, 1]).conv2_1.eval()
    maps = torch.randn(2, 16, 6, 6)
    assert torch.equal(block(maps), block.branch(maps).relu())


def test_groups_are_parallel_paths_summed() -> None:  # figure 3 of Xie et al. 2017
    block = build("resnext50_32x4d", (3, 32, 32), depths=[2], widths=[128]).conv2_2.double().eval()
    branch, maps = block.branch, torch.randn(2, 256, 8, 8, dtype=torch.float64)
    for norm in (branch.conv1_norm, branch.conv2_norm, branch.conv3_norm):
        for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            nn.init.uniform_(value, 0.5, 1.5)

    def normed(norm: nn.BatchNorm2d, value: Tensor, path: Tensor) -> Tensor:
        scale, shift = norm.weight[path], norm.bias[path]
        return batch_norm(value, norm.running_mean[path], norm.running_var[path], scale, shift)

    total = torch.zeros_like(maps)
    for path in torch.arange(128).split(4):
        inside = conv2d(maps, branch.conv1.weight[path])
        inside = normed(branch.conv1_norm, inside, path).relu()
        inside = conv2d(inside, branch.conv2.weight[path], padding=1)
        inside = normed(branch.conv2_norm, inside, path).relu()
        total = total + conv2d(inside, branch.conv3.weight[:, path])
    expected = (branch.conv3_norm(total) + maps).relu()
    assert len(torch.arange(128).split(4)) == branch.conv2.groups == 32
    assert (block(maps) - expected).abs().max() < 1e-10 < expected.std()


@pytest.mark.parametrize(
    ("name", "changes", "wanted"),
    [("resnet50", {"depths": [3, 4, 8, 3]}, 27_791_400),
     ("resnet34", {"block": "bottleneck", "expand": 4}, 25_557_032),
     ("resnext50_32x4d", {"groups": 1}, 68_883_240),
     ("resnet18", {"small_input": True}, 11_689_512 - (49 - 9) * 3 * 64),
     ("resnet20", {"norm": "none"}, 269_722 - 16 - 6 * (16 + 32 + 64)),
     ("resnet20", {"norm": "group"}, 269_722),
     ("resnet18", {"stem": 32, "shortcut": "A"}, 11_515_688 - 32 * (147 + 2 + 9 * 64))],
)  # fmt: skip
def test_changed_numbers_make_the_net_they_say(name, changes, wanted) -> None:
    assert count(on_meta(name, **changes)) == wanted


def test_the_activation_stands_inside_and_after_every_block() -> None:
    for name, wanted in [("resnet20", 1 + 9 * 2), ("resnet50", 1 + 16 * 3)]:
        layers = [type(layer) for layer in on_meta(name, activation="silu").modules()]
        assert (layers.count(nn.SiLU), layers.count(nn.ReLU)) == (wanted, 0)


@pytest.mark.parametrize("name", ["resnet34", "resnet101_v1_5", "resnext50_32x4d"])
def test_a_small_image_is_halved_three_times(name) -> None:
    shapes = outputs(on_meta(name, (3, 32, 32), small_input=True), (3, 32, 32))
    assert "pool1" not in shapes
    sides = [shape[1] for layer, shape in shapes.items() if layer.startswith("conv")]
    assert list(dict.fromkeys(sides)) == [32, 16, 8, 4]


LENGTHS = "model.depths and model.widths want a number for each stage, got"


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [("resnet18", {"groups": 32},
      "model.groups must be 1 for basic blocks, got 32 (model.block=bottleneck)"),
     ("resnet50", {"block": "basic"}, "model.stride_on must be 3x3 for basic blocks, got '1x1'"),
     ("resnext50_32x4d", {"widths": [128, 256, 500, 1024]},
      "model.groups=32 does not divide the 500 maps of conv4"),
     ("resnet50", {"depths": [3, 4, 6]}, f"{LENGTHS} 3 and 4"),
     ("resnet50", {"depths": [], "widths": []}, f"{LENGTHS} 0 and 0"),
     ("resnet50", {"widths": [64, 130, 256, 512], "expand": 0.25},
      "model.expand=0.25 gives conv3 32.5 maps (want a whole number)"),
     ("resnet20", {"widths": [16, 64, 32]},
      "model.shortcut=A cannot bring 64 maps to the 32 of conv4_1 (model.shortcut=B)"),
     ("plain20", {"zero_init": True},
      "model.zero_init=true needs a shortcut, got model.shortcut=none"),
     ("resnet20", {"zero_init": True, "norm": "none"},
      "model.zero_init=true needs a norm, got model.norm=none"),
     ("resnet20", {"shortcut": "D"},
      "model.shortcut must be one of A, B, C, none, got 'D' (did you mean 'A'?)"),
     ("resnet50", {"expand": 0}, "model.expand must be above 0, got 0")],
)  # fmt: skip
def test_a_wrong_number_is_told_in_one_line(name, changes, said) -> None:
    assert refused(name, **changes) == [said]
