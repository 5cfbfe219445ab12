from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from zoo import build, count, on_meta, outputs, refused, spec

from cnnctl.audit.forward import cost
from cnnctl.errors import NetError

TINY = {"stem": 5, "depths": [2, 3], "growth": 3, "small_input": True}
# section 3: DenseNet-BC and the plain DenseNet for 32x32 pixels
BC = {"bottleneck": 4, "compression": 0.5}
PLAIN = {"bottleneck": 0, "compression": 1, "stem": 16}


def arithmetic(stem, depths, growth, bottleneck, compression) -> tuple[int, int]:
    """Parameters and multiply-adds for 10 classes and 3x32x32 pixels, from section 3."""
    side, maps = 32, stem
    weights, norms, macs = 27 * stem, 0, 27 * stem * side**2
    for block, depth in enumerate(depths, start=1):
        for _ in range(depth):
            inner = bottleneck * growth
            layer = maps * inner + 9 * inner * growth if bottleneck else 9 * maps * growth
            weights, norms, macs = weights + layer, norms + maps + inner, macs + layer * side**2
            maps += growth
        if block < len(depths):
            kept = int(maps * compression)
            weights, norms, macs = weights + maps * kept, norms + maps, macs + maps * kept * side**2
            side, maps = side // 2, kept
    return weights + 2 * (norms + maps) + maps * 10 + 10, macs + maps * 10


@pytest.mark.parametrize(
    ("growth", "numbers", "params", "printed"),
    [
        (12, PLAIN | {"depths": [12] * 3}, 1_019_722, 1.0),
        (12, PLAIN | {"depths": [32] * 3}, 6_979_642, 7.0),
        (24, PLAIN | {"depths": [32] * 3}, 27_249_082, 27.2),
        (12, BC | {"depths": [16] * 3, "stem": 24}, 769_162, 0.8),
        (24, BC | {"depths": [41] * 3, "stem": 48}, 15_324_406, 15.3),
        (40, BC | {"depths": [31] * 3, "stem": 80}, 25_624_430, 25.6),
    ],
)
def test_the_nets_of_table_2_have_its_parameters(growth, numbers, params, printed) -> None:
    made = spec("densenet_bc100_12", growth=growth, **numbers)
    got = cost(made, num_classes=10, shape=(3, 32, 32))
    assert got == arithmetic(growth=growth, **numbers)
    assert got.params == params
    assert round(params / 1e6, 1) == printed


def test_the_reference_of_densenet_bc100_12_is_layer_arithmetic() -> None:
    assert arithmetic(24, [16] * 3, 12, 4, 0.5) == (769_162, 287_929_692)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("densenet121", 121), ("densenet161", 161), ("densenet169", 169), ("densenet201", 201),
        ("densenet_bc100_12", 100),
    ],
)  # fmt: skip
def test_the_name_counts_the_weight_layers(name, layers) -> None:
    net = on_meta(name)
    assert sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in net.modules()) == layers


def test_densenet121_is_that_of_table_1_layer_by_layer() -> None:
    shapes = outputs(on_meta("densenet121"), (3, 224, 224))
    dense = [[f"dense{b}_{n}" for n in range(1, d + 1)] for b, d in enumerate([6, 12, 24, 16], 1)]
    assert list(shapes) == [
        "conv1", "norm1", "act1", "pool1", *dense[0], "transition1", *dense[1], "transition2",
        *dense[2], "transition3", *dense[3], "norm5", "act5", "avgpool", "flatten", "fc",
    ]  # fmt: skip
    ends = {
        "conv1": (64, 112, 112), "pool1": (64, 56, 56), "dense1_1": (96, 56, 56),
        "dense1_6": (256, 56, 56), "transition1": (128, 28, 28), "dense2_12": (512, 28, 28),
        "transition2": (256, 14, 14), "dense3_24": (1024, 14, 14), "transition3": (512, 7, 7),
        "dense4_1": (544, 7, 7), "dense4_16": (1024, 7, 7), "act5": (1024, 7, 7),
        "avgpool": (1024, 1, 1), "fc": (1000,),
    }  # fmt: skip
    assert {name: shapes[name] for name in ends} == ends


def test_a_dense_layer_and_a_transition_have_the_layers_of_section_3() -> None:
    net = on_meta("densenet121", dropout=0.1)
    assert [name for name, _ in net.dense1_1.new.named_children()] == [
        "reduce_norm", "reduce_act", "reduce", "reduce_drop",
        "grow_norm", "grow_act", "grow", "grow_drop",
    ]  # fmt: skip
    transition = ["conv_norm", "conv_act", "conv", "conv_drop", "pool"]
    assert [name for name, _ in net.transition1.named_children()] == transition
    first = net.dense1_1.new
    assert (first.reduce.kernel_size, first.reduce.out_channels) == ((1, 1), 128)
    assert (first.grow.kernel_size, first.grow.out_channels) == ((3, 3), 32)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 20), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 9),
    st.integers(0, 4), st.sampled_from([0.5, 0.7, 1.0]),
)  # fmt: skip
def test_a_block_adds_depth_times_growth_and_a_transition_keeps_its_share(
    stem, depths, growth, bottleneck, compression
) -> None:
    changes = {"stem": stem, "depths": depths, "growth": growth, "small_input": True}
    changes |= {"bottleneck": bottleneck, "compression": compression}
    shapes = outputs(on_meta("densenet121", (3, 16, 16), **changes), (3, 16, 16))
    maps = stem
    for block, depth in enumerate(depths, start=1):
        for number in range(1, depth + 1):
            maps += growth
            assert shapes[f"dense{block}_{number}"][0] == maps
        if block < len(depths):
            maps = int(maps * compression)
            assert shapes[f"transition{block}"] == (maps, 16 >> block, 16 >> block)
    assert shapes["flatten"] == (maps,)


@pytest.mark.parametrize("bottleneck", [0, 4])
def test_what_enters_a_dense_layer_leaves_it_unchanged(bottleneck) -> None:
    layer = build("densenet121", (3, 8, 8), 10, **TINY, bottleneck=bottleneck).dense1_2.train()
    maps = torch.randn(2, 8, 6, 6)
    out = layer(maps)
    assert out.shape == (2, 8 + 3, 6, 6)
    assert torch.equal(out[:, :8], maps)
    assert torch.equal(out[:, 8:], layer.new(maps))


def test_a_plain_dense_layer_is_one_3x3_convolution() -> None:
    layer = on_meta("densenet121", **TINY, bottleneck=0).dense1_2
    assert [name for name, _ in layer.new.named_children()] == ["grow_norm", "grow_act", "grow"]
    assert count(layer) == 2 * 8 + 9 * 8 * 3


def test_bottleneck_and_compression_change_what_they_should() -> None:
    net = on_meta("densenet121", (3, 8, 8), 10, **TINY)
    thin = on_meta("densenet121", (3, 8, 8), 10, **TINY, bottleneck=2)
    assert count(net.dense1_1) == 2 * 5 + 5 * 12 + 2 * 12 + 9 * 12 * 3
    assert count(thin.dense1_1) == 2 * 5 + 5 * 6 + 2 * 6 + 9 * 6 * 3
    whole = on_meta("densenet121", (3, 8, 8), 10, **TINY, compression=1)
    assert (net.transition1.conv.out_channels, whole.transition1.conv.out_channels) == (5, 11)
    assert count(whole.transition1) - count(net.transition1) == 11 * (11 - 5)


def test_dropout_follows_every_convolution_but_the_first() -> None:
    net = on_meta("densenet121", dropout=0.2)
    drops = [layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)]
    assert drops == [0.2] * (121 - 2)
    assert not any(isinstance(layer, nn.Dropout) for layer in on_meta("densenet121").modules())


def test_without_norm_every_convolution_has_a_bias() -> None:
    net, bare = on_meta("densenet121"), on_meta("densenet121", norm="none")
    norms = sum(count(layer) for layer in net.modules() if isinstance(layer, nn.BatchNorm2d))
    biases = sum(layer.out_channels for layer in net.modules() if isinstance(layer, nn.Conv2d))
    assert norms == 83_648
    assert count(bare) == count(net) - norms + biases


def test_the_activation_stands_after_every_norm() -> None:
    kinds = [type(layer) for layer in on_meta("densenet121", activation="elu").modules()]
    assert kinds.count(nn.ELU) == kinds.count(nn.BatchNorm2d) == 121
    assert nn.ReLU not in kinds


def test_small_images_keep_their_size_up_to_the_first_transition() -> None:
    shapes = outputs(on_meta("densenet121", (3, 32, 32), small_input=True), (3, 32, 32))
    assert list(shapes)[:2] == ["conv1", "dense1_1"]
    assert {name: shape for name, shape in shapes.items() if name in {
        "conv1", "dense1_6", "transition1", "transition2", "transition3", "act5"
    }} == {
        "conv1": (64, 32, 32), "dense1_6": (256, 32, 32), "transition1": (128, 16, 16),
        "transition2": (256, 8, 8), "transition3": (512, 4, 4), "act5": (1024, 4, 4),
    }  # fmt: skip


def test_densenet_bc100_12_ends_on_8x8_pixels() -> None:
    shapes = outputs(on_meta("densenet_bc100_12"), (3, 32, 32))
    assert shapes["conv1"] == (24, 32, 32)
    assert shapes["transition1"] == (108, 16, 16)
    assert shapes["transition2"] == (150, 8, 8)
    assert shapes["act4"] == (342, 8, 8)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"depths": []}, "model.depths must have at least one block, got []"),
        ({"depths": [6, 0]}, "model.depths must be at least 1, got [6, 0]"),
        ({"bottleneck": -1}, "model.bottleneck must be at least 0, got -1"),
        ({"compression": 1.5}, "model.compression must be at most 1, got 1.5"),
        (
            {"compression": 0.001},
            "model.compression must keep at least 1 of the 256 maps of transition1, got 0.001",
        ),
        (
            {"compression": 0.15, "stem": 4, "growth": 1, "depths": [5, 1, 1]},
            "model.compression must keep at least 1 of the 2 maps of transition2, got 0.15",
        ),
        ({"growth": 1.5}, "model.growth must be a whole number, got 1.5"),
        ({"dropout": 1}, "model.dropout must be below 1, got 1"),
    ],
)
def test_a_wrong_number_is_named(changes, said) -> None:
    assert refused("densenet121", **changes) == [said]


def test_an_image_too_small_names_the_transition() -> None:
    said = r"^a 16x16 image is too small for layer 'transition3.pool': \(1 − 2\)/2 \+ 1 = 0.5"
    with pytest.raises(NetError, match=said):
        on_meta("densenet121", (3, 16, 16))
