from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from zoo import build, count, numbers, on_meta, outputs, refused, spec

from cnnctl.audit.forward import cost
from cnnctl.errors import NetError

SMALL = (3, 32, 32)
LITTLE = {"small_input": True, "hidden": [8, 8]}

# of each convolution: maps, input maps that one of them sees, kernel, side of the maps
FIGURES = {
    "alexnet": [
        (96, 3, 11, 55), (256, 48, 5, 27), (384, 256, 3, 13), (384, 192, 3, 13), (256, 192, 3, 13),
    ],
    "alexnet_one_tower": [
        (96, 3, 11, 55), (256, 96, 5, 27), (384, 256, 3, 13), (384, 384, 3, 13), (256, 384, 3, 13),
    ],
    "alexnet_tv": [
        (64, 3, 11, 55), (192, 64, 5, 27), (384, 192, 3, 13), (256, 384, 3, 13), (256, 256, 3, 13),
    ],
    "zfnet": [
        (96, 3, 7, 110), (256, 96, 5, 26), (384, 256, 3, 13), (384, 384, 3, 13), (256, 384, 3, 13),
    ],
}  # fmt: skip


def arithmetic(figure: list[tuple[int, int, int, int]]) -> tuple[int, int]:
    """Parameters and multiply-adds of the convolutions and of 9216-4096-4096-1000."""
    dense = list(pairwise([256 * 6 * 6, 4096, 4096, 1000]))
    params = sum(maps * (seen * kernel**2 + 1) for maps, seen, kernel, _ in figure)
    macs = sum(maps * seen * kernel**2 * side**2 for maps, seen, kernel, side in figure)
    return (
        params + sum((c_in + 1) * c_out for c_in, c_out in dense),
        macs + sum(c_in * c_out for c_in, c_out in dense),
    )


def shapes(name: str, **changes: object) -> dict[str, tuple[int, ...]]:
    """Those of the layers with a number of their own, as the decks' table has them."""
    found = outputs(on_meta(name, **changes), spec(name).input)
    return {layer: shape for layer, shape in found.items() if "_" not in layer}


@pytest.mark.parametrize("name", FIGURES)
def test_the_cost_is_that_of_plain_arithmetic(name) -> None:
    made = spec(name)
    assert cost(made, num_classes=1000, shape=made.input) == arithmetic(FIGURES[name])


def test_alexnet_has_the_printed_maps_with_the_printed_order_of_pool_and_norm() -> None:
    assert list(shapes("alexnet", lrn="after_pool").items()) == [
        ("conv1", (96, 55, 55)), ("pool1", (96, 27, 27)), ("norm1", (96, 27, 27)),
        ("conv2", (256, 27, 27)), ("pool2", (256, 13, 13)), ("norm2", (256, 13, 13)),
        ("conv3", (384, 13, 13)), ("conv4", (384, 13, 13)), ("conv5", (256, 13, 13)),
        ("pool3", (256, 6, 6)), ("flatten", (9216,)),
        ("fc6", (4096,)), ("fc7", (4096,)), ("fc8", (1000,)),
    ]  # fmt: skip


def test_the_paper_normalises_before_the_pool() -> None:
    found = list(shapes("alexnet").items())
    assert found[:6] == [
        ("conv1", (96, 55, 55)), ("norm1", (96, 55, 55)), ("pool1", (96, 27, 27)),
        ("conv2", (256, 27, 27)), ("norm2", (256, 27, 27)), ("pool2", (256, 13, 13)),
    ]  # fmt: skip
    assert found[6:] == list(shapes("alexnet", lrn="after_pool").items())[6:]
    assert [layer for layer in shapes("alexnet", lrn="none") if layer.startswith("norm")] == []


def test_zfnet_has_the_sizes_of_figure_3() -> None:
    assert list(shapes("zfnet").items())[:10] == [
        ("conv1", (96, 110, 110)), ("pool1", (96, 55, 55)), ("norm1", (96, 55, 55)),
        ("conv2", (256, 26, 26)), ("pool2", (256, 13, 13)), ("norm2", (256, 13, 13)),
        ("conv3", (384, 13, 13)), ("conv4", (384, 13, 13)), ("conv5", (256, 13, 13)),
        ("pool3", (256, 6, 6)),
    ]  # fmt: skip


def test_without_rounding_up_zfnet_is_smaller_than_figure_3() -> None:
    found = shapes("zfnet", round_up=False)
    sides = [found[layer][1] for layer in ("pool1", "conv2", "pool2", "pool3")]
    assert sides == [54, 25, 12, 5]


@pytest.mark.parametrize("layer", ["conv2", "conv4", "conv5"])
def test_two_groups_halve_the_weights_of_a_convolution(layer) -> None:
    two, one = (getattr(on_meta(name), layer) for name in ("alexnet", "alexnet_one_tower"))
    assert one.weight.numel() == 2 * two.weight.numel()
    assert one.bias.numel() == two.bias.numel()


def seen(layer: nn.Conv2d, maps: slice) -> list[int]:
    """The input maps that some of the output maps depend on."""
    image = torch.randn(1, layer.in_channels, 5, 5, requires_grad=True)
    layer(image)[:, maps].sum().backward()
    assert image.grad is not None
    return image.grad.abs().sum((0, 2, 3)).nonzero().flatten().tolist()


def test_the_third_convolution_sees_both_groups_and_the_second_its_own() -> None:
    net = build("alexnet", SMALL, 10, **LITTLE)
    assert seen(net.conv2, slice(128)) == list(range(48))
    assert seen(net.conv2, slice(128, 256)) == list(range(48, 96))
    assert seen(net.conv3, slice(1)) == list(range(256))


def logits(state: dict[str, Tensor], **changes: object) -> Tensor:
    net = build("alexnet", SMALL, 10, **LITTLE, **changes).eval()
    net.load_state_dict(state)
    torch.manual_seed(1)
    with torch.no_grad():
        return net(100 * torch.randn(2, *SMALL))


def test_the_place_of_the_normalisation_changes_numbers_but_no_parameter() -> None:
    state = build("alexnet", SMALL, 10, init="he", ones=[], **LITTLE).state_dict()
    before, after, none = (logits(state, lrn=to) for to in ("before_pool", "after_pool", "none"))
    assert not torch.allclose(before, after, rtol=1e-3)
    assert not torch.allclose(before, none, rtol=1e-3)
    assert not torch.allclose(after, none, rtol=1e-3)


def starts(**changes: object) -> dict[str, float]:
    """The value that all biases of a layer start with."""
    layers = build("alexnet", SMALL, 10, **LITTLE, **changes).named_children()
    biases = {name: layer.bias for name, layer in layers if hasattr(layer, "bias")}
    assert all(bias.unique().numel() == 1 for bias in biases.values())
    return {name: bias[0].item() for name, bias in biases.items()}


def test_the_biases_of_section_5_start_at_one() -> None:
    assert starts() == {
        "conv1": 0, "conv2": 1, "conv3": 0, "conv4": 1, "conv5": 1, "fc6": 1, "fc7": 1, "fc8": 0,
    }  # fmt: skip
    assert [name for name, value in starts(ones=["fc8"]).items() if value] == ["fc8"]
    assert set(starts(ones=[]).values()) == {0}


def test_the_weights_start_from_a_narrow_gaussian() -> None:
    torch.manual_seed(0)
    weight = build("alexnet", SMALL, 10, **LITTLE).conv3.weight
    assert weight.std().item() == pytest.approx(0.01, rel=0.01)


def dense(name: str, **changes: object) -> list[str]:
    names = list(dict(on_meta(name, **changes).named_children()))
    return names[names.index("flatten") + 1 :]


def test_dropout_stands_behind_hidden_layers_or_before_them() -> None:
    behind = ["fc6", "fc6_act", "fc6_drop", "fc7", "fc7_act", "fc7_drop", "fc8"]
    assert dense("alexnet") == dense("alexnet_tv", dropout_on="outputs") == behind
    before = ["fc6_drop", "fc6", "fc6_act", "fc7_drop", "fc7", "fc7_act", "fc8"]
    assert dense("alexnet_tv") == dense("alexnet", dropout_on="inputs") == before
    assert dense("alexnet", dropout=0) == ["fc6", "fc6_act", "fc7", "fc7_act", "fc8"]
    assert on_meta("alexnet", dropout=0.3).fc7_drop.p == 0.3


def test_the_dense_layers_are_numbered_on() -> None:
    rows = numbers("alexnet_tv")["convs"]
    assert dense("alexnet_tv", convs=rows[:3], hidden=[7], dropout=0) == ["fc4", "fc4_act", "fc5"]
    assert dense("alexnet_tv", hidden=[], dropout=0) == ["fc6"]


@pytest.mark.parametrize(
    ("name", "sides", "saved"),
    [
        ("alexnet", [32, 15, 15, 7, 7, 7, 7, 3], 96 * 3 * (121 - 9)),
        ("alexnet_tv", [32, 15, 15, 7, 7, 7, 7, 3], 64 * 3 * (121 - 9)),
        ("zfnet", [32, 16, 12, 6, 6, 6, 6, 3], 96 * 3 * (49 - 9)),
    ],
)
def test_small_images_reach_the_dense_layers_as_3x3_maps(name, sides, saved) -> None:
    net = on_meta(name, SMALL, 10, small_input=True)
    found = outputs(net, SMALL)
    layers = ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool3"]
    assert [found[layer][1] for layer in layers] == sides
    dense_saved = 4096 * 256 * (36 - 9) + 4097 * (1000 - 10)
    assert count(on_meta(name)) - count(net) == saved + dense_saved


def test_small_images_without_small_input_are_refused() -> None:
    with pytest.raises(NetError) as caught:
        on_meta("alexnet", SMALL)
    assert str(caught.value) == (
        "a 32x32 image is too small for layer 'pool2': (2 − 3)/2 + 1 = 0.5 "
        "(use larger images: data.size=…, or model.small_input=true)"
    )


ROW = [96, 11, 4, 0, 1, "lrn+pool"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"convs": [ROW, [256, 5, 1, 2, 5, "pool"]]},
            "model.convs.1: groups must divide 96 inputs and 256 maps, got 5",
        ),
        (
            {"convs": [[96, 11, 4, 0, 3, "lrn+pool"]]},
            "model.convs.0: the image comes as a whole: groups must be 1, got 3",
        ),
        (
            {"convs": [ROW, [256, 0, 1, 2, 1, "pool"]]},
            (
                "model.convs.1: want padding from 0 and the other numbers from 1, "
                "got [256, 0, 1, 2, 1, 'pool']"
            ),
        ),
        (
            {"convs": [ROW, [256, 5, 1, 2, 1, "norm"]]},
            "model.convs.1: 'norm' cannot follow; want one of none, pool, lrn+pool",
        ),
        (
            {"convs": [ROW, [1]]},
            "model.convs.1: want 6 values (maps, kernel, stride, padding, groups, then), got [1]",
        ),
        (
            {"convs": [[*ROW[:5], "pool"]], "ones": []},
            "model.lrn is before_pool, but no row of model.convs has lrn+pool (model.lrn=none)",
        ),
        (
            {"hidden": [], "ones": ["conv2"]},
            "model.dropout is 0.5, but model.hidden is empty (model.dropout=0)",
        ),
        (
            {"ones": ["conv1", "conv6"]},
            (
                "model.ones: 'conv6' is no layer; want one of conv1, conv2, conv3, conv4, conv5, "
                "fc6, fc7, fc8"
            ),
        ),
        (
            {"convs": [[96, 3, 1, 1, 1, "lrn+pool"]], "small_input": True},
            "model.small_input changes nothing in model.convs (model.small_input=false)",
        ),
        ({"pool": [3, 0]}, "model.pool must be at least 1, got [3, 0]"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(changes, said) -> None:
    assert refused("alexnet", **({"ones": []} | changes)) == [said]
