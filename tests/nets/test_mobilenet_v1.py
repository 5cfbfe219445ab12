from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn
from zoo import count, numbers, on_meta, outputs, refused, spec

from cnnctl.audit.forward import cost

IMAGE = (3, 224, 224)
SEPARABLE = [f"conv{number}" for number in range(2, 15)]


def weights(name: str, **changes) -> dict[str, tuple[int, int]]:
    """Weights and multiply-adds of every convolution."""
    net = on_meta(name, **changes)
    return {
        layer: (module.weight.numel(), module.weight.numel() * shape[1] * shape[2])
        for layer, shape in outputs(net, IMAGE).items()
        if isinstance(module := net.get_submodule(layer), nn.Conv2d)
    }


def arithmetic(*, width=1.0, size=224, full=False, at_14=6) -> tuple[int, int]:
    """Parameters and multiply-adds from table 1, at multiples of 8 and with full convolutions."""
    rows = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * (at_14 - 1)]
    c_in, side = int(32 * width), size // 2
    params, macs = 29 * c_in, 27 * c_in * side**2
    for channels, stride in [*rows, (1024, 2), (1024, 1)]:
        c_out, side = int(channels * width), side // stride
        layer = 9 * c_in * c_out if full else 9 * c_in + c_in * c_out
        params += layer + 2 * c_out + (0 if full else 2 * c_in)
        macs, c_in = macs + layer * side**2, c_out
    return params + c_in * 1000 + 1000, macs + c_in * 1000


def test_every_layer_has_the_counts_that_the_authors_code_lists() -> None:
    assert weights("mobilenet_v1") == {
        "conv1": (864, 10_838_016),
        "conv2_dw": (288, 3_612_672), "conv2_pw": (2_048, 25_690_112),
        "conv3_dw": (576, 1_806_336), "conv3_pw": (8_192, 25_690_112),
        "conv4_dw": (1_152, 3_612_672), "conv4_pw": (16_384, 51_380_224),
        "conv5_dw": (1_152, 903_168), "conv5_pw": (32_768, 25_690_112),
        "conv6_dw": (2_304, 1_806_336), "conv6_pw": (65_536, 51_380_224),
        "conv7_dw": (2_304, 451_584), "conv7_pw": (131_072, 25_690_112),
        "conv8_dw": (4_608, 903_168), "conv8_pw": (262_144, 51_380_224),
        "conv9_dw": (4_608, 903_168), "conv9_pw": (262_144, 51_380_224),
        "conv10_dw": (4_608, 903_168), "conv10_pw": (262_144, 51_380_224),
        "conv11_dw": (4_608, 903_168), "conv11_pw": (262_144, 51_380_224),
        "conv12_dw": (4_608, 903_168), "conv12_pw": (262_144, 51_380_224),
        "conv13_dw": (4_608, 225_792), "conv13_pw": (524_288, 25_690_112),
        "conv14_dw": (9_216, 451_584), "conv14_pw": (1_048_576, 51_380_224),
    }  # fmt: skip


def test_the_sizes_are_those_of_table_1() -> None:
    shapes = outputs(on_meta("mobilenet_v1"), IMAGE)
    inputs = [shapes["conv1"], *(shapes[f"{name}_pw"] for name in SEPARABLE)]
    assert inputs == [
        (32, 112, 112), (64, 112, 112), (128, 56, 56), (128, 56, 56), (256, 28, 28),
        (256, 28, 28), (512, 14, 14), *[(512, 14, 14)] * 5, (1024, 7, 7), (1024, 7, 7),
    ]  # fmt: skip
    assert list(shapes)[:9] == [
        "conv1", "conv1_norm", "conv1_act", "conv2_dw", "conv2_dw_norm", "conv2_dw_act",
        "conv2_pw", "conv2_pw_norm", "conv2_pw_act",
    ]  # fmt: skip
    assert list(shapes)[-4:] == ["avgpool", "flatten", "drop", "fc"]
    assert len(weights("mobilenet_v1")) + 1 == 28


def test_a_separable_layer_costs_the_share_of_equation_5() -> None:
    full, thin = weights("mobilenet_v1", separable=False), weights("mobilenet_v1")
    net = on_meta("mobilenet_v1")
    assert list(full) == ["conv1", *SEPARABLE]
    for name in SEPARABLE:
        c_out = net.get_submodule(f"{name}_pw").out_channels
        spent = thin[f"{name}_dw"][1] + thin[f"{name}_pw"][1]
        assert Fraction(spent, full[name][1]) == Fraction(1, c_out) + Fraction(1, 3**2)


@pytest.mark.parametrize(
    ("changes", "size", "wanted", "printed"),
    [
        ({}, 224, arithmetic(), (4.2, 569)),
        ({"separable": False}, 224, arithmetic(full=True), (29.3, 4866)),
        (
            {"stages": [[64, 1, 1], [128, 2, 2], [256, 2, 2], [512, 1, 2], [1024, 2, 2]]},
            224, arithmetic(at_14=1), (2.9, 307),
        ),
        ({"width": 0.75}, 224, arithmetic(width=0.75), (2.6, 325)),
        ({"width": 0.5}, 224, arithmetic(width=0.5), (1.3, 149)),
        ({"width": 0.25}, 224, arithmetic(width=0.25), (0.5, 41)),
        ({}, 192, arithmetic(size=192), (4.2, 418)),
        ({}, 160, arithmetic(size=160), (4.2, 290)),
        ({}, 128, arithmetic(size=128), (4.2, 186)),
    ],
    ids=["table 4", "full", "shallow", "0.75", "0.5", "0.25", "192", "160", "128"],
)  # fmt: skip
def test_the_nets_of_tables_4_to_7_cost_what_they_print(changes, size, wanted, printed) -> None:
    got = cost(spec("mobilenet_v1", **changes), num_classes=1000, shape=(3, size, size))
    assert got == wanted
    assert round(got.params / 1e6, 1) == printed[0]
    assert got.macs / 1e6 == pytest.approx(printed[1], rel=0.004)


def test_half_the_width_has_a_quarter_of_the_pointwise_weights() -> None:
    net, half = on_meta("mobilenet_v1"), on_meta("mobilenet_v1", width=0.5)
    pointwise = sum(net.get_submodule(f"{name}_pw").weight.numel() for name in SEPARABLE)
    rest = count(net) - pointwise - 1000
    assert count(half) == pointwise // 4 + rest // 2 + 1000


def test_mobilenet_v1_relu6_differs_in_the_activation_alone() -> None:
    plain, clipped = numbers("mobilenet_v1"), numbers("mobilenet_v1_relu6")
    changed = {key: clipped[key] for key in plain if plain[key] != clipped[key]}
    assert changed == {
        "name": "mobilenet_v1_relu6", "twin": "timm/mobilenetv1_100", "activation": "relu6",
    }  # fmt: skip
    for name, kind in (("mobilenet_v1", nn.ReLU), ("mobilenet_v1_relu6", nn.ReLU6)):
        acts = [layer for key, layer in on_meta(name).named_children() if key.endswith("_act")]
        assert len(acts) == 27
        assert {type(act) for act in acts} == {kind}
    assert plain["activation"] == "relu"


def test_without_norm_every_convolution_has_a_bias() -> None:
    net, bare = on_meta("mobilenet_v1"), on_meta("mobilenet_v1", norm="none")
    biases = sum(layer.out_channels for layer in net if isinstance(layer, nn.Conv2d))
    assert count(bare) == count(net) - 2 * biases + biases
    assert not any(name.endswith("_norm") for name, _ in bare.named_children())


def test_dropout_stands_before_the_dense_layer_alone() -> None:
    drops = [layer for layer in on_meta("mobilenet_v1").modules() if isinstance(layer, nn.Dropout)]
    assert [drop.p for drop in drops] == [0.001]
    assert list(dict(on_meta("mobilenet_v1", dropout=0).named_children()))[-2:] == ["flatten", "fc"]


def test_small_images_keep_their_size_up_to_conv5() -> None:
    shapes = outputs(on_meta("mobilenet_v1", (1, 32, 32), small_input=True), (1, 32, 32))
    sides = [shapes["conv1"][1], *(shapes[f"{name}_pw"][1] for name in SEPARABLE)]
    assert sides == [32, 32, 32, 32, 16, 16, 8, 8, 8, 8, 8, 8, 4, 4]
    assert count(on_meta("mobilenet_v1", small_input=True)) == 4_231_976


@pytest.mark.parametrize("side", [1, 31, 224])
def test_it_takes_images_of_any_size(side) -> None:
    with torch.no_grad():
        logits = on_meta("mobilenet_v1", (3, side, side))(torch.empty(2, 3, side, side).to("meta"))
    assert logits.shape == (2, 1000)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": []}, "model.stages must have at least one row, got []"),
        (
            {"stages": [[64, 1, 1], [128, 2]]},
            "model.stages.1: want 3 numbers (channels, layers, stride), got [128, 2]",
        ),
        ({"stages": [[64, 0, 1]]}, "model.stages.0 must be at least 1, got [64, 0, 1]"),
        ({"width": 0}, "model.width must be above 0, got 0"),
        ({"separable": 1}, "model.separable must be true or false, got 1"),
        ({"stem": -32}, "model.stem must be at least 1, got -32"),
    ],
)
def test_a_wrong_number_is_named(changes, said) -> None:
    assert refused("mobilenet_v1", **changes) == [said]
