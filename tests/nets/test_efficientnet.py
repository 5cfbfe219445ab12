from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from zoo import build, count, numbers, on_meta, outputs, refused, spec

from cnnctl.nets.blocks import Gate
from cnnctl.nets.efficientnet import ALPHA, BETA, GAMMA, DropPath

B0 = "efficientnet_b0"
PUBLISHED = [  # phi, then depth, width and pixels of B0 to B7
    (0, 1.0, 1.0, 224), (0.5, 1.1, 1.0, 240), (1, 1.2, 1.1, 260), (2, 1.4, 1.2, 300),
    (3.5, 1.8, 1.4, 380), (5, 2.2, 1.6, 456), (6, 2.6, 1.8, 528), (7, 3.1, 2.0, 600),
]  # fmt: skip
SMALL = {
    "stem": 8, "stages": [[1, 3, 1, 8, 2], [6, 3, 2, 16, 2]], "head": 16, "small_input": True,
}  # fmt: skip


def test_the_stages_are_those_of_table_1() -> None:
    shapes = outputs(on_meta(B0), (3, 224, 224))
    stages = {
        "stage2_1": (16, 112), "stage3_1": (24, 56), "stage3_2": (24, 56),
        "stage4_1": (40, 28), "stage4_2": (40, 28),
        "stage5_1": (80, 14), "stage5_2": (80, 14), "stage5_3": (80, 14),
        "stage6_1": (112, 14), "stage6_2": (112, 14), "stage6_3": (112, 14),
        "stage7_1": (192, 7), "stage7_2": (192, 7), "stage7_3": (192, 7), "stage7_4": (192, 7),
        "stage8_1": (320, 7),
    }  # fmt: skip
    expected = {
        **dict.fromkeys(["stem", "stem_norm", "stem_act"], (32, 112, 112)),
        **{name: (maps, side, side) for name, (maps, side) in stages.items()},
        **dict.fromkeys(["head", "head_norm", "head_act"], (1280, 7, 7)),
        "avgpool": (1280, 1, 1), "flatten": (1280,), "drop": (1280,), "fc": (1000,),
    }  # fmt: skip
    assert list(shapes.items()) == list(expected.items())


def test_a_block_expands_filters_gates_and_projects() -> None:
    block = on_meta(B0).stage4_2.branch
    assert [name for name, _ in block.named_children()] == [
        "expand", "expand_norm", "expand_act", "depthwise", "depthwise_norm", "depthwise_act",
        "gate", "project", "project_norm", "drop_path",
    ]  # fmt: skip
    assert (block.expand.out_channels, block.depthwise.groups) == (240, 240)
    assert (block.depthwise.kernel_size, block.gate.squeeze.out_channels) == ((5, 5), 10)
    assert not hasattr(on_meta(B0).stage2_1, "expand")


def test_the_factors_about_double_the_cost_per_phi() -> None:
    """Equation 3 wants alpha · beta² · gamma² near 2."""
    assert pytest.approx(1.92027) == ALPHA * BETA**2 * GAMMA**2


@pytest.mark.parametrize(("number", "row"), list(enumerate(PUBLISHED)))
def test_b0_to_b7_are_compound_scaling_rounded_by_hand(number, row) -> None:
    phi, depth, width, pixels = row
    net = numbers(f"efficientnet_b{number}")
    assert (net["depth"], net["width"], net["input"]) == (depth, width, [3, pixels, pixels])
    assert abs(depth - ALPHA**phi) < 0.49
    assert abs(width - BETA**phi) <= 0.06
    assert abs(pixels - 224 * GAMMA**phi) < 15


def test_phi_1_is_depth_1_2_and_width_1_1() -> None:
    scaled = spec(B0, phi=1)
    rounded = {  # 1.1 times as many are 35.2, 17.6, 26.4, 44, 88, 123.2, 211.2, 352, 1408
        32: 32, 16: 16, 24: 24, 40: 48, 80: 88, 112: 120, 192: 208, 320: 352, 1280: 1408,
    }  # fmt: skip
    assert {maps: scaled.channels(maps) for maps in rounded} == rounded
    assert scaled.blocks() == spec(B0, depth=1.2, width=1.1).blocks()
    stages = [int(block.name[5]) for block in scaled.blocks()]
    assert [stages.count(stage) for stage in range(2, 9)] == [2, 3, 3, 4, 4, 5, 2]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4000), st.integers(1, 400), st.sampled_from([0, 0.5, 1, 2.5]))
def test_channels_are_multiples_of_8_and_never_below_nine_tenths(maps, percent, phi) -> None:
    wanted = maps * percent / 100 * BETA**phi
    got = spec(B0, width=percent / 100, phi=phi).channels(maps)
    assert got % 8 == 0
    assert got >= max(8, 0.9 * wanted)
    assert got <= max(8, wanted + 8)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 40))
def test_layers_are_rounded_up_as_exact_numbers(layers: int, tenths: int) -> None:
    made = spec(B0, stages=[[1, 3, 1, 8, layers]], depth=tenths / 10, drop_path=0)
    assert len(made.blocks()) == math.ceil(Fraction(layers * tenths, 10))


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    layer, maps = DropPath(0.2), torch.arange(1.0, 5).repeat(4000, 1).reshape(-1, 1, 2, 2)
    torch.manual_seed(0)
    first = layer(maps)
    factors = (first / maps).flatten(1)
    assert torch.equal(factors, factors[:, :1].expand_as(factors))
    assert set(factors[:, 0].tolist()) == {0.0, 1.25}
    assert factors.mean().item() == pytest.approx(1, abs=0.03)
    torch.manual_seed(0)
    assert torch.equal(layer(maps), first)
    assert layer.eval()(maps) is maps


def test_the_share_of_dropped_branches_grows_with_depth() -> None:
    net = on_meta(B0)
    shares = [layer.share * 16 / 0.2 for layer in net.modules() if isinstance(layer, DropPath)]
    assert shares == pytest.approx([2, 4, 6, 7, 9, 10, 12, 13, 14])
    assert not any(isinstance(layer, DropPath) for layer in on_meta(B0, drop_path=0).modules())


def test_a_gate_scales_each_channel_by_a_factor_between_0_and_1() -> None:
    gate = build(B0, (3, 32, 32), **SMALL).stage3_2.branch.gate
    maps = torch.randn(2, 96, 4, 4)
    factors = gate(maps) / maps
    assert torch.allclose(factors, factors[:, :, :1, :1].expand_as(factors))
    assert (factors > 0).all()
    assert (factors < 1).all()


def test_the_gates_are_worth_two_small_convolutions_per_block() -> None:
    made = spec(B0)
    gates = 0
    for block in made.blocks():
        maps, few = block.c_in * block.expand, block.c_in // 4
        gates += 2 * maps * few + maps + few
    assert count(on_meta(B0)) - count(on_meta(B0, squeeze=0)) == gates
    assert not any(isinstance(layer, Gate) for layer in on_meta(B0, squeeze=0).modules())


@pytest.mark.parametrize("name", [B0, "efficientnet_b5"])
def test_norms_have_the_eps_and_momentum_of_the_file(name: str) -> None:
    norms = [layer for layer in on_meta(name).modules() if isinstance(layer, nn.BatchNorm2d)]
    found = {(layer.eps, layer.momentum) for layer in norms}
    assert found == {(1e-5, 0.1) if name == B0 else (1e-3, 0.01)}


def test_activation_norm_and_dropout_change_what_they_name() -> None:
    elu = on_meta(B0, activation="elu")
    assert not any(isinstance(layer, nn.SiLU) for layer in elu.modules())
    assert "drop" not in dict(on_meta(B0, dropout=0).named_children())
    plain = on_meta(B0, norm="none", eps=None, momentum=None)
    norms = [layer for layer in on_meta(B0).modules() if isinstance(layer, nn.BatchNorm2d)]
    assert count(on_meta(B0)) - count(plain) == sum(layer.num_features for layer in norms)


def test_small_images_meet_their_first_stride_in_stage_3() -> None:
    shapes = outputs(on_meta(B0, (3, 32, 32), small_input=True), (3, 32, 32))
    names = ["stem", "stage2_1", "stage3_2", "stage4_2", "stage6_3", "stage7_4", "head"]
    assert [shapes[name][1] for name in names] == [32, 32, 16, 8, 4, 2, 2]


COLUMNS = "(expand, kernel, stride, channels, layers)"
IDLE = "drop_path=0.2 has no effect: no block has a shortcut (model.drop_path=0)"


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        ({"stages": [[6, 5, 2, 40]]}, [f"stages.0: want 5 numbers {COLUMNS}, got [6, 5, 2, 40]"]),
        ({"stages": []}, ["stages must have at least one row, got []"]),
        ({"stages": [[1, 3, 1, 8, 2], [6, 4, 2, 40, 1]]},
         ["stages.1: the kernel must be odd, got 4"]),
        ({"depth": 0.1}, [IDLE]),
        ({"stages": [[1, 3, 1, 32, 1]]}, [IDLE]),
        ({"norm": "group"}, ["momentum must be null with norm group, got 0.1"]),
        ({"norm": "none"}, ["eps must be null with norm none, got 1e-05",
                            "momentum must be null with norm none, got 0.1"]),
        ({"eps": None}, ["eps must be a number with norm batch, got null"]),
        ({"phi": -1}, ["phi must be at least 0, got -1"]),
        ({"drop_path": 1}, ["drop_path must be below 1, got 1"]),
    ],
)  # fmt: skip
def test_wrong_numbers_are_told(changes, texts) -> None:
    assert refused(B0, **changes) == [f"model.{text}" for text in texts]
