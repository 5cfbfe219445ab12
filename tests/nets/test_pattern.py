from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import conv2d
from zoo import build, count, on_meta, outputs, refused, spec

from cnnctl.audit.forward import cost
from cnnctl.errors import ConfigError, NetError

BEFORE = "0.2 (it stands before those of model.hidden)"
LEAST = "at least one"
ODD = "(kernel − 1)/2 zeros on each side keep the size"
WORDS = {nn.Conv2d: "CONV", nn.ReLU: "RELU", nn.MaxPool2d: "POOL", nn.Linear: "FC"}


def words(net: nn.Sequential) -> str:
    return "-".join(WORDS[type(layer)] for layer in net if type(layer) in WORDS)


def arithmetic(c_in, size, levels, kernel, border, units) -> tuple[int, int]:
    """Parameters and multiply-adds; `border` zeros, a pool after each level."""
    params = macs = 0
    for widths in levels:
        for width in widths:
            size += 2 * border - kernel + 1
            params += width * (kernel**2 * c_in + 1)
            macs += width * kernel**2 * c_in * size**2
            c_in = width
        size //= 2
    c_in *= size**2
    for width in units:
        params, macs, c_in = params + width * (c_in + 1), macs + width * c_in, width
    return params, macs


@pytest.mark.parametrize(
    ("name", "shape", "border", "expected"),
    [
        ("pattern", (3, 32, 32), 1, (550_570, 38_896_896)),
        ("keras_cnn", (1, 28, 28), 0, (1_668_490, 4_073_600)),
        ("keras_cnn", (3, 32, 32), 0, (2_389_962, 6_262_144)),
        ("simple_cnn", (3, 200, 200), 1, (2_099_710, 282_644_200)),
    ],
)
def test_layer_arithmetic(name, shape, border, expected) -> None:
    made = spec(name)
    assert arithmetic(*shape[:2], made.levels, made.kernel, border, [*made.hidden, 10]) == expected
    assert cost(made, num_classes=10, shape=shape) == expected


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3), min_size=1, max_size=2),
    st.lists(st.integers(1, 5), max_size=2),
    st.sampled_from([(1, "same", 0), (3, "same", 1), (5, "same", 2), (4, "valid", 0)]),
    st.integers(36, 41),
)
def test_any_pattern_costs_what_the_arithmetic_says(levels, hidden, window, size) -> None:
    kernel, padding, border = window
    made = spec("pattern", levels=levels, hidden=hidden, kernel=kernel, padding=padding)
    assert cost(made, num_classes=7, shape=(2, size, size)) == arithmetic(
        2, size, levels, kernel, border, [*hidden, 7]
    )


@pytest.mark.parametrize(("n", "m", "k"), [(1, 1, 0), (2, 3, 1), (5, 2, 2)])
def test_the_layers_follow_the_pattern(n, m, k) -> None:
    net = on_meta("pattern", levels=[[8] * n] * m, hidden=[16] * k)
    assert words(net) == "-".join((["CONV-RELU"] * n + ["POOL"]) * m + ["FC-RELU"] * k + ["FC"])


def test_keras_cnn_is_that_of_the_slide() -> None:
    net = on_meta("keras_cnn")
    assert words(net) == "CONV-RELU-POOL-CONV-RELU-POOL-FC-RELU-FC"
    assert outputs(net, (1, 28, 28)) == {
        "conv1_1": (32, 26, 26), "conv1_1_act": (32, 26, 26), "pool1": (32, 13, 13),
        "conv2_1": (64, 11, 11), "conv2_1_act": (64, 11, 11), "pool2": (64, 5, 5),
        "flatten": (1600,), "fc1": (1024,), "fc1_act": (1024,), "fc2": (10,),
    }  # fmt: skip


def test_simple_cnn_is_that_of_the_lecture_with_its_counts_of_weights() -> None:
    net, level = on_meta("simple_cnn", (3, 208, 208)), "CONV-CONV-RELU-POOL"
    shapes = outputs(net, (3, 208, 208))
    assert words(net) == f"{level}-{level}-{level}-{level}-FC-FC"
    assert {
        name: (shapes[name], layer.weight.numel())
        for name, layer in net.named_children()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    } == {
        "conv1_1": ((4, 208, 208), 4 * 3 * 3 * 3), "conv1_2": ((8, 208, 208), 8 * 3 * 3 * 4),
        "conv2_1": ((16, 104, 104), 1152), "conv2_2": ((32, 104, 104), 4608),
        "conv3_1": ((32, 52, 52), 32 * 3 * 3 * 32), "conv3_2": ((64, 52, 52), 64 * 3 * 3 * 32),
        "conv4_1": ((128, 26, 26), 73_728), "conv4_2": ((128, 26, 26), 147_456),
        "fc1": ((100,), 208**2 * 100 // 2), "fc2": ((10,), 1000),
    }  # fmt: skip
    assert shapes["pool4"] == (128, 13, 13)
    assert list(shapes)[-5:] == ["pool4", "flatten", "fc1_drop", "fc1", "fc2"]
    assert net.fc1_drop.p == 0.5


def test_simple_cnn_can_have_an_activation_after_each_layer() -> None:
    level = "CONV-RELU-CONV-RELU-POOL"
    changed = on_meta("simple_cnn", activation_after="each")
    assert words(changed) == f"{level}-{level}-{level}-{level}-FC-RELU-FC"
    assert count(changed) == 2_099_710


def composed(layers: list[nn.Conv2d]) -> tuple[Tensor, Tensor]:
    """Kernel and bias of the one convolution that `layers` are without anything between."""
    kernel, bias = layers[0].weight, layers[0].bias
    for layer in layers[1:]:
        full = conv2d(kernel.transpose(0, 1), layer.weight.flip(2, 3), padding=2)
        kernel, bias = full.transpose(0, 1), layer.bias + layer.weight.sum((2, 3)) @ bias
    return kernel, bias


@pytest.mark.parametrize("widths", [[4, 8], [3, 5, 2]])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_stacked_linear_convolutions_collapse_to_one(widths, padding) -> None:
    torch.manual_seed(0)
    net = build("simple_cnn", (3, 16, 16), levels=[widths], padding=padding, init="torch").double()
    depth = len(widths)
    level = list(net)[:depth]
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    edge = depth if padding == "same" else 0  # pixels that see the zeros around the image
    with torch.no_grad():
        kernel, bias = composed(level)
        one, stacked = conv2d(images, kernel, bias), nn.Sequential(*level)(images)
    assert kernel.shape == (widths[-1], 3, 2 * depth + 1, 2 * depth + 1)
    inner = stacked[:, :, edge : stacked.shape[2] - edge, edge : stacked.shape[3] - edge]
    torch.testing.assert_close(inner, one, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("activation", "affine"), [("none", True), ("relu", False)])
def test_without_activations_a_net_with_average_pools_is_affine(activation, affine) -> None:
    torch.manual_seed(0)
    numbers = {"levels": [[4, 4], [4]], "pool": "avg", "hidden": [8], "init": "torch"}
    net = build("pattern", (3, 8, 8), activation=activation, **numbers)
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        of_mean, mean = net(images.mean(0, keepdim=True)), net(images).mean(0, keepdim=True)
    assert torch.allclose(of_mean, mean, atol=1e-5) == affine


def test_normalisation_takes_the_place_of_the_biases() -> None:
    widths = 2 * (32 + 64 + 128)
    assert count(on_meta("pattern", norm="batch")) == 550_570 - widths + 2 * widths


def test_without_pools_only_the_dense_layer_sees_more() -> None:
    assert count(on_meta("pattern", pool="none")) == 550_570 + 128 * 128 * (32**2 - 4**2)
    assert isinstance(on_meta("pattern", pool="avg").pool1, nn.AvgPool2d)


def test_dropout_stands_before_every_hidden_layer() -> None:
    names = list(dict(on_meta("pattern", dropout=0.25, hidden=[9, 8]).named_children()))
    first, second = ["fc1_drop", "fc1", "fc1_act"], ["fc2_drop", "fc2", "fc2_act"]
    assert names[-8:] == ["flatten", *first, *second, "fc3"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"levels": []}, f"levels must have {LEAST} level, such as [[32, 32]], got []"),
        ({"levels": [[8], []]}, f"levels.1 must have {LEAST} convolution, such as [32], got []"),
        ({"levels": [8, 8]}, "levels.0 must be a list of whole numbers, got 8"),
        ({"levels": [[8, 0]]}, "levels.0 must be at least 1, got [8, 0]"),
        ({"kernel": 4}, f"kernel must be odd for model.padding=same, got 4 ({ODD})"),
        ({"dropout": 1}, "dropout must be below 1, got 1"),
        ({"dropout": 0.2, "hidden": []}, f"dropout must be 0 without a hidden layer, got {BEFORE}"),
        ({"pool": "mean"}, "pool must be one of max, avg, none, got 'mean'"),
        ({"activation_after": 2}, "activation_after must be one of each, level, got 2"),
    ],
)  # fmt: skip
def test_a_wrong_number_is_told_in_one_line(changes, text) -> None:
    assert refused("pattern", **changes)[0] == f"model.{text}"


def test_an_image_can_be_too_small_and_a_size_odd() -> None:
    with pytest.raises(NetError) as small:
        on_meta("simple_cnn", (3, 8, 8))
    text = "a 8x8 image is too small for layer 'pool4': (1 − 2)/2 + 1 = 0.5"
    assert str(small.value) == f"{text} (use larger images: data.size=…)"
    with pytest.raises(ConfigError) as odd:
        on_meta("simple_cnn", strict=True)
    text = "model.strict: fractions are illegal, but pool4: (25 − 2)/2 + 1 = 12.5"
    assert str(odd.value) == f"{text} (change data.size, or allow rounding: model.strict=false)"
