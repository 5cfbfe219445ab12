from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn
from zoo import build, count, numbers, on_meta, outputs, refused, spec

from cnnctl.audit.forward import cost
from cnnctl.errors import NetError

# table 1: layers of each column, and the millions of parameters that table 2 gives it
TABLE_1 = {
    "vgg_a": (11, 133), "vgg_a_lrn": (11, 133), "vgg_b": (13, 133), "vgg_c": (16, 134),
    "vgg_d": (16, 138), "vgg_e": (19, 144),
}  # fmt: skip
ALIASES = {"vgg11": "vgg_a", "vgg13": "vgg_b", "vgg16": "vgg_d", "vgg19": "vgg_e"}
GREY = (1, 32, 32)


def arithmetic(stages: list[list[str]]) -> tuple[int, int]:
    """Parameters and multiply-adds at 224x224 of words like conv3-64, then 4096-4096-1000."""
    c_in, side, params, macs = 3, 224, 0, 0
    for words in stages:
        for word in words:
            if word == "lrn":
                continue
            kernel, c_out = map(int, word.removeprefix("conv").split("-"))
            params += c_out * (c_in * kernel**2 + 1)
            macs += c_out * c_in * kernel**2 * side**2
            c_in = c_out
        side //= 2
    for width, following in pairwise([c_in * side**2, 4096, 4096, 1000]):
        params += (width + 1) * following
        macs += width * following
    return params, macs


@pytest.mark.parametrize("name", TABLE_1)
def test_a_column_has_the_layers_and_the_millions_of_tables_1_and_2(name) -> None:
    depth, millions = TABLE_1[name]
    found = cost(spec(name), num_classes=1000, shape=(3, 224, 224))
    assert found == arithmetic(numbers(name)["stages"])
    assert round(found.params / 1e6) == millions
    weights = [value for value in on_meta(name).parameters() if value.ndim > 1]
    assert len(weights) == depth


def test_vgg_d_has_the_printed_maps() -> None:
    found = outputs(on_meta("vgg_d"), (3, 224, 224))
    assert {name: shape for name, shape in found.items() if not name.endswith(("act", "drop"))} == {
        "conv1_1": (64, 224, 224), "conv1_2": (64, 224, 224), "pool1": (64, 112, 112),
        "conv2_1": (128, 112, 112), "conv2_2": (128, 112, 112), "pool2": (128, 56, 56),
        "conv3_1": (256, 56, 56), "conv3_2": (256, 56, 56), "conv3_3": (256, 56, 56),
        "pool3": (256, 28, 28),
        "conv4_1": (512, 28, 28), "conv4_2": (512, 28, 28), "conv4_3": (512, 28, 28),
        "pool4": (512, 14, 14),
        "conv5_1": (512, 14, 14), "conv5_2": (512, 14, 14), "conv5_3": (512, 14, 14),
        "pool5": (512, 7, 7),
        "flatten": (25088,), "fc6": (4096,), "fc7": (4096,), "fc8": (1000,),
    }  # fmt: skip
    acts = [name for name in found if name.endswith("_act")]
    assert len(acts) == 15


@pytest.mark.parametrize(("alias", "column"), ALIASES.items())
def test_the_common_names_are_columns_of_table_1(alias, column) -> None:
    assert numbers(alias) | {"name": column} == numbers(column)
    assert numbers(f"{alias}_bn") == numbers(alias) | {
        "name": f"{alias}_bn", "norm": "batch", "twin": f"torchvision/{alias}_bn",
    }  # fmt: skip


def test_lrn_stands_behind_the_first_convolution_and_costs_nothing() -> None:
    plain, normed = on_meta("vgg_a"), on_meta("vgg_a_lrn")
    names = [name for name, _ in normed.named_children()]
    assert names[:4] == ["conv1_1", "conv1_1_act", "lrn1_1", "pool1"]
    assert names[:2] + names[3:] == [name for name, _ in plain.named_children()]
    assert count(normed) == count(plain)


def test_lrn_changes_the_numbers() -> None:
    little = {"hidden": [4]}
    plain = build("vgg_a", GREY, 10, **little).eval()
    normed = build("vgg_a_lrn", GREY, 10, **little).eval()
    normed.load_state_dict(plain.state_dict())
    image = torch.randn(1, *GREY)
    with torch.no_grad():
        assert not torch.allclose(plain(image), normed(image), rtol=1e-2)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_normalisation_adds_two_values_for_every_map(norm) -> None:
    maps = 2 * (64 + 128) + 3 * (256 + 512 + 512)
    net = on_meta("vgg_d", norm=norm)
    assert count(net) - count(on_meta("vgg_d")) == 2 * maps
    assert [name for name, _ in net.named_children()][:3] == [
        "conv1_1", "conv1_1_norm", "conv1_1_act",
    ]  # fmt: skip


def stack(*words: str, channels: int) -> nn.Sequential:
    """The convolutions `words` of a net, nothing between them."""
    net = build(
        "vgg_d",
        (channels, 15, 15),
        10,
        stages=[list(words)],
        activation="none",
        hidden=[],
        dropout=0,
    )
    return nn.Sequential(*list(net)[: len(words)])


def view(layers: nn.Sequential) -> tuple[int, int]:
    """Height and width of the pixels that one output depends on; they fill a rectangle."""
    for weight in layers.parameters():
        nn.init.ones_(weight)
    image = torch.zeros(1, 1, 15, 15, requires_grad=True)
    layers(image)[0, 0, 7, 7].backward()
    assert image.grad is not None
    seen = image.grad[0, 0] != 0
    rows, columns = seen.any(1), seen.any(0)
    assert torch.equal(seen, rows[:, None] & columns)
    return int(rows.sum()), int(columns.sum())


@pytest.mark.parametrize(("depth", "kernel"), [(1, 3), (2, 5), (3, 7)])
def test_a_stack_of_3x3_sees_what_one_large_kernel_sees_with_fewer_weights(depth, kernel) -> None:
    assert view(stack(*["conv3-1"] * depth, channels=1)) == (kernel, kernel)
    assert view(stack(f"conv{kernel}-1", channels=1)) == (kernel, kernel)
    small = stack(*["conv3-6"] * depth, channels=6)
    large = stack(f"conv{kernel}-6", channels=6)
    assert sum(layer.weight.numel() for layer in small) == depth * 9 * 6**2
    assert sum(layer.weight.numel() for layer in large) == kernel**2 * 6**2


def test_a_1x1_convolution_sees_no_further() -> None:
    assert view(stack("conv3-1", "conv1-1", channels=1)) == (3, 3)


def test_the_weights_start_within_the_bound_of_glorot_and_bengio() -> None:
    weight = build("vgg_d", (3, 32, 32), 10, hidden=[4]).conv2_1.weight
    bound = (6 / (9 * (64 + 128))) ** 0.5
    assert 0.99 * bound < weight.abs().max().item() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)


def test_32_pixels_leave_one_value_per_map_for_the_dense_layers() -> None:
    net = on_meta("vgg_a", GREY, 10)
    found = outputs(net, GREY)
    assert [found[f"pool{stage}"] for stage in range(1, 6)] == [
        (64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2), (512, 1, 1),
    ]  # fmt: skip
    assert net.fc6.in_features == 512


def test_16_pixels_are_too_few() -> None:
    with pytest.raises(NetError) as caught:
        on_meta("vgg_a", (1, 16, 16))
    assert str(caught.value) == (
        "a 16x16 image is too small for layer 'pool5': (1 − 2)/2 + 1 = 0.5 "
        "(use larger images: data.size=…)"
    )


def test_the_numbers_of_dense_layers_and_stages_are_free() -> None:
    net = on_meta(
        "vgg_d", (3, 8, 8), 10, stages=[["conv5-4", "lrn", "lrn"], []], hidden=[6], dropout=0
    )
    assert outputs(net, (3, 8, 8)) == {
        "conv1_1": (4, 8, 8), "conv1_1_act": (4, 8, 8), "lrn1_1": (4, 8, 8), "lrn1_2": (4, 8, 8),
        "pool1": (4, 4, 4), "pool2": (4, 2, 2), "flatten": (16,),
        "fc3": (6,), "fc3_act": (6,), "fc4": (10,),
    }  # fmt: skip


@pytest.mark.parametrize("word", ["conv3_64", "conv0-64", "conv2-64", "conv3-0", "LRN", "pool", ""])
def test_a_word_of_no_layer_is_named_with_its_stage(word) -> None:
    [said] = refused("vgg_d", stages=[["conv3-64"], ["lrn", word]])
    assert said == (
        f"model.stages.1: '{word}' is no layer; want conv<kernel>-<channels> or lrn "
        "(the kernel odd, as in conv3-64)"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": ["conv3-64"]}, "model.stages.0 must be a list of texts, got 'conv3-64'"),
        ({"stages": [[3]]}, "model.stages.0 must be a list of texts, got [3]"),
        ({"hidden": []}, "model.dropout is 0.5, but model.hidden is empty (model.dropout=0)"),
        ({"dropout": 1}, "model.dropout must be below 1, got 1"),
        ({"small_input": True}, "unknown key 'model.small_input'"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(changes, said) -> None:
    assert refused("vgg_d", **changes) == [said]
