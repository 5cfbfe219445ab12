from __future__ import annotations

import pytest
import torch
from torch import nn
from zoo import build, count, on_meta, outputs, refused

from cnnctl.errors import NetError

IMAGENET = {
    "conv1": (96, 55, 55), "cccp1": (96, 55, 55), "cccp2": (96, 55, 55), "pool1": (96, 27, 27),
    "conv2": (256, 27, 27), "cccp3": (256, 27, 27), "cccp4": (256, 27, 27), "pool2": (256, 13, 13),
    "conv3": (384, 13, 13), "cccp5": (384, 13, 13), "cccp6": (384, 13, 13), "pool3": (384, 6, 6),
    "conv4": (1024, 6, 6), "cccp7": (1024, 6, 6), "cccp8": (1000, 6, 6), "avgpool": (1000, 1, 1),
    "flatten": (1000,),
}  # fmt: skip
CIFAR = {
    "conv1": (192, 32, 32), "cccp1": (160, 32, 32), "cccp2": (96, 32, 32), "pool1": (96, 16, 16),
    "conv2": (192, 16, 16), "cccp3": (192, 16, 16), "cccp4": (192, 16, 16), "pool2": (192, 8, 8),
    "conv3": (192, 8, 8), "cccp5": (192, 8, 8), "cccp6": (10, 8, 8), "avgpool": (10, 1, 1),
    "flatten": (10,),
}  # fmt: skip
TABLES = {  # with the input and the kernels of conv1, conv2, …
    "nin": (IMAGENET, (3, 227, 227), [11, 5, 3, 3]),
    "nin_cifar": (CIFAR, (3, 32, 32), [5, 5, 3]),
}


def arithmetic(name: str) -> tuple[int, int]:
    """Parameters and multiply-adds, from the table alone."""
    table, shape, kernels = TABLES[name]
    params = macs = 0
    c_in, sides = shape[0], iter(kernels)
    for layer, (c_out, *size) in table.items():
        if layer.startswith(("conv", "cccp")):
            area = next(sides) ** 2 if layer.startswith("conv") else 1
            params += (c_in * area + 1) * c_out
            macs += c_in * area * c_out * size[0] * size[1]
            c_in = c_out
    return params, macs


@pytest.mark.parametrize("name", TABLES)
def test_the_layers_are_those_of_the_authors_definition(name) -> None:
    table, shape, _ = TABLES[name]
    shapes = outputs(on_meta(name), shape)
    assert {layer: shapes[layer] for layer in table} == table
    others = {layer.rstrip("0123456789") for layer in shapes if layer not in table}
    assert {layer for layer in others if not layer.endswith("_act")} == {"drop"}


def test_the_reference_counts_what_the_table_says() -> None:
    assert arithmetic("nin") == (7_595_176, 1_105_996_320)
    assert arithmetic("nin_cifar") == (966_986, 222_486_528)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({}, [nn.Conv2d, nn.ReLU]),
        ({"activation": "silu"}, [nn.Conv2d, nn.SiLU]),
        ({"norm": "batch"}, [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]),
    ],
)
def test_every_convolution_has_its_activation_and_no_layer_is_dense(name, changes, kinds) -> None:
    blocks = len(TABLES[name][2])
    found = [type(layer) for layer in on_meta(name, dropout=0, **changes)]
    body = [*kinds * 3, nn.MaxPool2d] * blocks
    assert found == [*body[:-1], nn.AdaptiveAvgPool2d, nn.Flatten]


def test_the_mean_of_the_map_of_a_class_is_its_logit() -> None:
    net = build("nin_cifar", classes=7).eval()
    images = torch.randn(2, 3, 32, 32)
    maps = nn.Sequential(*list(net)[:-2])(images)
    assert maps.shape == (2, 7, 8, 8)
    assert torch.equal(net(images), maps.mean((2, 3)))


def test_dropout_follows_every_pool() -> None:
    layers = dict(on_meta("nin", dropout=0.2).named_children())
    drops = [name for name, layer in layers.items() if isinstance(layer, nn.Dropout)]
    assert drops == ["drop1", "drop2", "drop3"]
    assert {layers[name].p for name in drops} == {0.2}


def test_batch_normalisation_takes_the_place_of_the_biases() -> None:
    widths = [c_out for layer, (c_out, *_) in IMAGENET.items() if layer[0] == "c"]
    assert count(on_meta("nin", norm="batch")) == 7_595_176 + sum(widths)


def test_rows_may_have_any_number_of_layers() -> None:
    blocks = [[3, 2, 1, [8]], [1, 1, 0, [4, 5, 6, 7]]]
    net = on_meta("nin", (1, 9, 9), 3, blocks=blocks, dropout=0)
    shapes = outputs(net, (1, 9, 9))
    assert {name: shape for name, shape in shapes.items() if not name.endswith("_act")} == {
        "conv1": (8, 5, 5), "pool1": (8, 2, 2), "conv2": (4, 2, 2), "cccp1": (5, 2, 2),
        "cccp2": (6, 2, 2), "cccp3": (7, 2, 2), "cccp4": (3, 2, 2), "avgpool": (3, 1, 1),
        "flatten": (3,),
    }  # fmt: skip


def test_small_images_see_a_3x3_stem_without_stride() -> None:
    net = on_meta("nin", (3, 32, 32), small_input=True)
    shapes = outputs(net, (3, 32, 32))
    sizes = {name: shapes[name][1] for name in ("conv1", "pool1", "pool2", "pool3", "cccp8")}
    assert sizes == {"conv1": 32, "pool1": 16, "pool2": 8, "pool3": 4, "cccp8": 4}
    assert count(net) == 7_595_176 - 96 * 3 * (11**2 - 3**2)


def test_an_image_too_small_names_the_layer() -> None:
    with pytest.raises(NetError) as caught:
        on_meta("nin", (3, 32, 32))
    text = "a 32x32 image is too small for layer 'pool3': (1 − 3)/2 + 1 = 0"
    assert (
        str(caught.value) == f"{text} (use larger images: data.size=…, or model.small_input=true)"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"blocks": []}, "model.blocks: want at least one row, got []"),
        (
            {"blocks": [[3, 1, 1, [8]], [3, 1, 1, []]]},
            "model.blocks.1: want the maps of at least one layer, got []",
        ),
        (
            {"blocks": [[11, 4, 0, [96, 0]], [5, 1, 2, [9]]]},
            "model.blocks.0: kernel, stride and maps must be at least 1, got [11, 4, 0, [96, 0]]",
        ),
        (
            {"blocks": [[11, 4, 0, 96, 96]]},
            "model.blocks.0: want 4 values (kernel, stride, padding, maps), got [11, 4, 0, 96, 96]",
        ),
        ({"dropout": 1}, "model.dropout must be below 1, got 1"),
        (
            {"small_input": True, "blocks": [[3, 1, 1, [8]], [1, 1, 0, [8]]]},
            "model.small_input has no effect: conv1 is 3x3/1 already (model.small_input=false)",
        ),
        (
            {"blocks": [[3, 1, 1, [8]]]},
            "model.dropout has no effect: there is no second block (model.dropout=0)",
        ),
    ],
)
def test_rows_that_cannot_be_built_give_one_line(changes, said) -> None:
    assert refused("nin", **changes) == [said]
