from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from zoo import count, outputs

from cnnctl.nets import blocks
from cnnctl.nets.blocks import ACTIVATIONS, Gate, Lrn, unit


def kinds(layers: blocks.Layers) -> dict[str, str]:
    return {name: type(layer).__name__ for name, layer in layers.items()}


def test_every_name_has_its_layer() -> None:
    assert set(get_args(blocks.Activation)) == set(ACTIVATIONS)
    assert set(get_args(blocks.Pool)) == set(blocks.POOLS)


@pytest.mark.parametrize("layer", [*(kind() for kind in ACTIVATIONS.values()), Lrn(), Gate(4, 2)])
def test_no_part_works_in_place(layer) -> None:
    images = torch.randn(2, 4, 5, 5)
    before = images.clone()
    layer(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("kind", "channels", "group"),
    [
        ("group", 32, 16),
        ("group", 24, 24),
        ("group", 40, 20),
        ("group", 33, 33),
    ],
)
def test_a_normalisation_has_mean_0_and_variance_1_in_each_group(kind, channels, group) -> None:
    layer = blocks.normalisation(kind, channels)
    groups = layer(7 + 3 * torch.randn(2, channels, 9, 9)).reshape(2, channels // group, -1)
    torch.testing.assert_close(groups.mean(2), torch.zeros(2, channels // group), atol=1e-5, rtol=0)
    ones = torch.ones(2, channels // group)
    torch.testing.assert_close(groups.var(2, correction=0), ones, atol=1e-4, rtol=0)
    assert count(layer) == 2 * channels


def test_batch_normalisation_takes_its_numbers() -> None:
    layer = blocks.normalisation("batch", 4, eps=1e-3, momentum=0.01)
    assert (layer.num_features, layer.eps, layer.momentum) == (4, 1e-3, 0.01)
    assert isinstance(blocks.normalisation("none", 4), nn.Identity)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({}, {"c": "Conv2d", "c_act": "ReLU"}),
        ({"activation": "none"}, {"c": "Conv2d"}),
        ({"norm": "batch"}, {"c": "Conv2d", "c_norm": "BatchNorm2d", "c_act": "ReLU"}),
        ({"norm": "group", "activation": "none"}, {"c": "Conv2d", "c_norm": "GroupNorm"}),
    ],
)
def test_a_unit_has_a_convolution_and_what_follows_it(numbers, expected) -> None:
    layers = unit("c", 4, 8, 3, **numbers)
    assert kinds(layers) == expected
    assert (layers["c"].bias is None) == ("norm" in numbers)


@pytest.mark.parametrize(
    ("kernel", "numbers", "shape"),
    [
        (3, {}, (8, 9, 9)), (5, {}, (8, 9, 9)), ((1, 7), {}, (8, 9, 9)), (1, {}, (8, 9, 9)),
        (3, {"stride": 2}, (8, 5, 5)), (3, {"padding": 0}, (8, 7, 7)),
        ((3, 1), {"padding": (0, 1)}, (8, 7, 11)),
    ],
)  # fmt: skip
def test_a_unit_pads_half_its_kernel_unless_told(kernel, numbers, shape) -> None:
    assert (
        nn.Sequential(unit("c", 4, 8, kernel, **numbers))(torch.ones(1, 4, 9, 9)).shape[1:] == shape
    )


def test_a_unit_has_the_groups_bias_and_numbers_it_is_told() -> None:
    layers = unit("c", 4, 8, 3, groups=2, norm="batch", eps=1e-3, momentum=0.01, bias=True)
    assert count(layers["c"]) == 8 * 2 * 9 + 8
    assert (layers["c_norm"].eps, layers["c_norm"].momentum) == (1e-3, 0.01)
    assert unit("c", 4, 8, 3, bias=False)["c"].bias is None


def test_dense_layers_are_numbered_on_and_their_last_width_is_told() -> None:
    layers, width = blocks.dense([6, 5], 8, "tanh", first=6, dropout=0.25)
    one = {"f6": "Linear", "f6_act": "Tanh", "f6_drop": "Dropout"}
    assert kinds(layers) == one | {"f7": "Linear", "f7_act": "Tanh", "f7_drop": "Dropout"}
    assert (count(nn.Sequential(layers)), width, layers["f7_drop"].p) == (8 * 6 + 6 + 35, 5, 0.25)
    assert blocks.dense([], 8, "relu") == ({}, 8)
    assert list(blocks.dense([4], 8, "relu")[0]) == ["f1", "f1_act"]


@pytest.mark.parametrize(
    ("numbers", "names"),
    [
        ({"dropout": 0}, "fc6 fc6_act fc7 fc7_act fc8"),
        ({"dropout": 0.3}, "fc6 fc6_act fc6_drop fc7 fc7_act fc7_drop fc8"),
        (
            {"dropout": 0.3, "dropout_on": "inputs"},
            "fc6_drop fc6 fc6_act fc7_drop fc7 fc7_act fc8",
        ),
    ],
)
def test_a_classifier_drops_inputs_or_outputs_of_its_hidden_layers(numbers, names) -> None:
    layers = blocks.classifier([6, 5], 8, 3, first=6, activation="relu", **numbers)
    assert list(layers) == ["flatten", *names.split()]
    assert {layer.p for layer in layers.values() if isinstance(layer, nn.Dropout)} <= {0.3}
    assert outputs(nn.Sequential(layers), (2, 2, 2))["fc8"] == (3,)


def test_a_classifier_can_be_one_layer() -> None:
    layers = blocks.classifier([], 8, 3, first=1, activation="relu", dropout=0.5)
    assert kinds(layers) == {"flatten": "Flatten", "fc1": "Linear"}


def test_a_head_pools_globally_and_classifies() -> None:
    plain, dropped = blocks.head(4, 10), blocks.head(4, 10, dropout=0.2, name="classifier")
    assert outputs(nn.Sequential(plain), (4, 7, 5)) == {
        "avgpool": (4, 1, 1), "flatten": (4,), "fc": (10,),
    }  # fmt: skip
    assert list(dropped) == ["avgpool", "flatten", "drop", "classifier"]
    assert dropped["drop"].p == 0.2


def test_flat_features_are_the_values_of_one_image() -> None:
    layers = unit("c", 3, 8, 3, stride=2)
    assert blocks.flat_features(layers, (3, 9, 7)) == math.prod((8, 5, 4))


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [(32, 0.35, 16), (24, 0.35, 8), (3, 0.1, 8), (96, 1.1, 104), (24, 1.4, 32), (33, 1.0, 33)],
)
def test_scaled_widths_are_multiples_of_8(channels, width, expected) -> None:
    assert blocks.scaled(channels, width) == expected


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 2000), st.floats(0.1, 3))
def test_scaling_loses_less_than_a_tenth(channels, width) -> None:
    found = blocks.scaled(channels, width)
    assert found >= 0.9 * channels * width
    assert found <= max(8, channels * width + 8)
    assert width == 1 or found % 8 == 0
