from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from zoo import count, on_meta, spec

from cnnctl.audit.geometry import Form
from cnnctl.audit.ghost import ghost
from cnnctl.audit.live import Live
from cnnctl.audit.trace import Row, Trace, Walk

SHAPE = (3, 8, 8)


def chain(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def trace(net: nn.Module, shape: tuple[int, ...] = SHAPE, mode: Any = "eval") -> Trace:
    with ghost(net, mode) as double, torch.no_grad():
        made = Trace(double)
        with made.open():
            double(double.images((1, *shape)))
    return made


def walk(net: nn.Module, shape: tuple[int, ...] = SHAPE, mode: Any = "eval") -> Walk:
    return trace(net, shape, mode).walk


def told(rows: list[Row], *keys: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(row, key) for key in keys) for row in rows]


class Do(nn.Module):
    """A net, or a part of one, that is nothing but a function of its image and its layers."""

    def __init__(self, function: Any, **layers: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = function

    def forward(self, *images: Tensor) -> Any:
        return self.function(self, *images)


def test_lenet5_is_told_layer_by_layer() -> None:
    rows = walk(on_meta("lenet5"), (1, 32, 32)).rows
    assert told(rows, "name", "type", "output", "values", "params", "weights", "macs") == [
        ("c1", "Conv2d", (6, 28, 28), 4704, 156, 150, 784 * 150),
        ("c1_act", "Tanh", (6, 28, 28), 4704, 0, 0, 0),
        ("s2", "AvgPool2d", (6, 14, 14), 1176, 0, 0, 0),
        ("c3", "Conv2d", (16, 10, 10), 1600, 2416, 2400, 100 * 2400),
        ("c3_act", "Tanh", (16, 10, 10), 1600, 0, 0, 0),
        ("s4", "AvgPool2d", (16, 5, 5), 400, 0, 0, 0),
        ("c5", "Conv2d", (120, 1, 1), 120, 48120, 48000, 48000),
        ("c5_act", "Tanh", (120, 1, 1), 120, 0, 0, 0),
        ("flatten", "Flatten", (120,), 120, 0, 0, 0),
        ("f6", "Linear", (84,), 84, 10164, 10080, 10080),
        ("f6_act", "Tanh", (84,), 84, 0, 0, 0),
        ("output", "Linear", (10,), 10, 850, 840, 840),
    ]
    assert [row.made for row in rows] == [row.name != "flatten" for row in rows]
    assert [row.inputs for row in rows[1:]] == [row.output for row in rows[:-1]]


NETS = (
    "lenet5", "lenet5_1998", "mlp", "alexnet", "vgg16", "nin_cifar", "googlenet", "neocognitron",
    "resnext50_32x4d", "mobilenet_v2", "shufflenet_v2_x1_0", "efficientnet_b0",
)  # fmt: skip


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", NETS)
def test_rows_add_up_to_the_totals(name, mode) -> None:
    net, shape = on_meta(name), spec(name).input
    seen = trace(net, shape, mode)
    rows = seen.walk.rows
    idle = sum(numel for _, numel in seen.unused.values())
    assert sum(row.params for row in rows) + idle == count(net)
    named = {key: value.numel() for key, value in net.named_parameters()}
    assert seen.walk.used == set(named) - {key for key, _ in seen.unused.values()}
    weights = sum(named[key] for key in seen.walk.used if not key.endswith("bias"))
    assert sum(row.weights for row in rows) == weights
    with ghost(net, mode) as double, torch.no_grad(), FlopCounterMode(display=False) as flops:
        double(double.images((1, *shape)))
    assert 2 * sum(row.macs for row in rows) == flops.get_total_flops()
    assert sum(row.macs for row in rows) == seen.walk.macs["forward"]


def test_layers_have_the_names_of_the_paper() -> None:
    rows = walk(on_meta("alexnet"), (3, 227, 227)).rows
    heavy = [row.name for row in rows if row.params]
    assert heavy == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    assert [row.form.groups for row in rows if row.kind == "conv" and row.form] == [1, 2, 1, 2, 2]


def test_only_training_has_the_auxiliary_classifiers() -> None:
    net = on_meta("googlenet", aux=0.3)
    training, evaluation = (trace(net, (3, 224, 224), mode) for mode in ("train", "eval"))
    names = [row.name for row in training.walk.rows]
    extra = [name for name in names if name.startswith("aux")]
    assert {name.partition(".")[0] for name in extra} == {"aux1", "aux2"}
    assert names.index("aux1.pool") == names.index("inception4a.cat") + 1
    assert [row.name for row in evaluation.walk.rows] == [n for n in names if n not in extra]
    assert training.unused == {}
    idle = [name for name, _ in evaluation.unused.values()]
    assert sorted(idle) == sorted(n for n, _ in net.named_parameters() if n.startswith("aux"))


def test_a_layer_that_is_used_again_has_a_row_for_every_call() -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    rows = walk(chain(one=conv, act=nn.ReLU(), two=conv)).rows
    assert told(rows, "name", "call", "params", "macs") == [
        ("one", 0, 84, 64 * 81), ("act", 0, 0, 0), ("one", 1, 0, 64 * 81),
    ]  # fmt: skip


def test_operations_between_layers_have_rows_of_their_own() -> None:
    def function(net: Any, image: Tensor) -> Tensor:
        value = F.relu(net.conv(image))
        value = torch.cat([value, image], 1) * 2
        value = F.max_pool2d(value, 2).transpose(1, 2)[:, 1:].flatten(1)
        return value.add_(1)

    rows = walk(chain(block=Do(function, conv=nn.Conv2d(3, 5, 1)), act=nn.ReLU())).rows
    assert told(rows, "name", "type", "kind", "output", "made") == [
        ("block.conv", "Conv2d", "conv", (5, 8, 8), True),
        ("block.relu", "relu", "silent", (5, 8, 8), True),
        ("block.cat", "cat", "join", (8, 8, 8), True),
        ("block.mul", "mul", "silent", (8, 8, 8), True),
        ("block.max_pool2d", "max_pool2d", "pool", (8, 4, 4), True),
        ("block.clone", "clone", "silent", (3, 8, 4), True),  # flatten cannot view a part
        ("block.add", "add", "silent", (96,), False),  # in place: nothing new
        ("act", "ReLU", "silent", (96,), True),
    ]


def test_views_give_no_rows() -> None:
    def function(_: Any, image: Tensor) -> Tensor:
        first, second = image.permute(0, 2, 3, 1).unsqueeze(1).squeeze(1).chunk(2, 1)
        return first.expand(2, 4, 8, 3).detach() + second.view_as(first)

    assert told(walk(Do(function)).rows, "name", "output") == [("add", (4, 8, 3))]


def test_the_same_operation_twice_is_told_apart_by_its_call() -> None:
    rows = walk(chain(block=Do(lambda _, image: (image * 2).relu() * 3, idle=nn.ReLU()))).rows
    assert told(rows, "name", "call") == [("block.mul", 0), ("block.relu", 0), ("block.mul", 1)]


def test_a_layer_made_on_the_spot_is_named_after_its_place() -> None:
    def function(net: Any, image: Tensor) -> Tensor:
        return nn.Softmax(1)(nn.Sequential(nn.ReLU(), net.conv)(image))

    rows = walk(chain(block=Do(function, conv=nn.Conv2d(3, 5, 1)))).rows
    assert told(rows, "name", "type") == [
        ("block.Sequential.ReLU", "ReLU"), ("block.conv", "Conv2d"), ("block.Softmax", "Softmax"),
    ]  # fmt: skip


def test_a_layer_inside_a_layer_without_parts_keeps_both_apart() -> None:
    inside = Do(lambda _, image: nn.ReLU()(image * 2) + image)
    with ghost(chain(layer=inside), "train") as double:
        made = Trace(double, Live())
        with made.open(), torch.enable_grad():
            out = double(double.images((2, *SHAPE)).requires_grad_())
            made.keep()
    assert told(made.walk.rows, "name", "kept") == [("layer", 1536), ("layer.ReLU", 1536)]
    assert out.shape == (2, *SHAPE)


def test_a_net_without_parts_is_told_by_its_operations() -> None:
    weight, bias = nn.Parameter(torch.ones(4, 3, 3, 3)), nn.Parameter(torch.ones(4))
    table = nn.Parameter(torch.ones(144, 7))
    net = Do(
        lambda net, image: F.conv2d(image, net.weight, net.bias, 2, 2).flatten(1)[:, :144] @ net.fc,
        weight=weight, bias=bias, fc=table, unused=nn.Parameter(torch.ones(9)),
    )  # fmt: skip
    seen = trace(net, (3, 11, 11))
    rows = seen.walk.rows
    assert told(rows, "name", "kind", "inputs", "output", "params", "weights", "macs") == [
        ("convolution", "conv", (3, 11, 11), (4, 7, 7), 112, 108, 49 * 108),
        ("mm", "dense", (144,), (7,), 1008, 1008, 1008),
    ]
    assert list(seen.unused.values()) == [("unused", 9)]
    assert seen.walk.used == {"weight", "bias", "fc"}


def test_a_net_that_is_one_layer_has_its_row() -> None:
    (row,) = walk(nn.Conv2d(3, 4, 3)).rows
    assert (row.name, row.type, row.params, row.output) == ("", "Conv2d", 112, (4, 6, 6))


def test_tied_weights_count_where_they_are_used_first() -> None:
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = first.weight
    seen = trace(chain(first=first, second=second), (8,))
    assert told(seen.walk.rows, "name", "params", "weights") == [
        ("first", 72, 64), ("second", 8, 0),
    ]  # fmt: skip
    assert seen.walk.used == {"first.weight", "first.bias", "second.bias"}
    assert seen.unused == {}


def test_several_inputs_and_outputs() -> None:
    def split(net: Any, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        return net.left(image), [net.right(image), image]

    def join(net: Any, left: Tensor, others: list[Tensor]) -> Tensor:
        return net.sum(left, others[0]) + others[1].mean()

    parts = Do(split, left=nn.Conv2d(3, 4, 1), right=nn.Conv2d(3, 4, 1))
    joined = Do(join, sum=Do(lambda _, one, other: torch.maximum(one, other)))
    rows = walk(
        Do(lambda net, image: net.joined(*net.parts(image)), parts=parts, joined=joined)
    ).rows
    assert told(rows, "name", "inputs", "output") == [
        ("parts.left", (3, 8, 8), (4, 8, 8)),
        ("parts.right", (3, 8, 8), (4, 8, 8)),
        ("joined.sum", (4, 8, 8), (4, 8, 8)),
        ("joined.mean", (3, 8, 8), ()),
        ("joined.add", (4, 8, 8), (4, 8, 8)),
    ]


@pytest.mark.parametrize(
    ("layer", "form"),
    [
        (nn.Conv2d(4, 6, (3, 5), (2, 1), (1, 2), (1, 3), 2), ((3, 5), (2, 1), (1, 2), (1, 3), 2)),
        (nn.Conv2d(4, 4, 3, padding="same", groups=4), ((3, 3), (1, 1), (1, 1), (1, 1), 4)),
        (nn.ConvTranspose2d(4, 6, 2, 2), ((2, 2), (2, 2), (0, 0), (1, 1), 1, True)),
        (nn.MaxPool2d(3, 2, 1, 2), ((3, 3), (2, 2), (1, 1), (2, 2))),
        (nn.MaxPool2d((2, 3)), ((2, 3), (2, 3), (0, 0), (1, 1))),
        (nn.AvgPool2d(3, 2, ceil_mode=True), ((3, 3), (2, 2), (0, 0), (1, 1))),
        (nn.AdaptiveAvgPool2d(1), None),
        (nn.BatchNorm2d(4), None),
    ],
)  # fmt: skip
def test_windows_are_told_with_their_numbers(layer, form) -> None:
    (row,) = walk(chain(layer=layer), (4, 16, 16)).rows
    assert row.form == (form and Form(*form))
