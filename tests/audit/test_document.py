from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
import torch
from audited import chain, layer, subject, told
from torch import Tensor, nn
from zoo import build

from cnnctl.audit.document import Subject

COUNTS = ("rows", "slides", "outputs")
NETS = (
    "alexnet", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "lenet5",
    "mobilenet_v2", "neocognitron", "nin", "perceptron", "resnet50", "shufflenet_v1", "vgg16",
    "xception",
)  # fmt: skip
TAPS = {"googlenet": {"aux": 0.3}, "inception_v3": {"aux": 0.4}}
FEW = ("alexnet", "googlenet", "lenet5", "mobilenet_v2", "resnet50", "shufflenet_v1", "vgg16")


@cache
def known(name: str) -> dict[str, Any]:
    return told(subject(name, **TAPS.get(name, {})))


def total(net: dict[str, Any], key: str, rows: str = "layers") -> int:
    return sum(one[key] for one in net[rows])


def test_the_document_has_the_keys_of_the_contract_and_is_json() -> None:
    net = known("lenet5")
    assert json.loads(json.dumps(net)) == net
    assert list(net) == [
        "name", "about", "input", "output", "convention", "layers", "training_layers", "totals",
        "memory",
    ]  # fmt: skip
    assert [net[key] for key in ("name", "input", "convention")] == ["lenet5", [1, 32, 32], "rows"]
    assert list(net["totals"]) == [
        "params", "weights", "trainable", "frozen", "buffers", "unused", "weight_layers", "macs",
        "flops", "training_macs", "activations", "bytes", "conventions", "inference_peak_bytes",
    ]  # fmt: skip
    assert list(net["memory"]) == [
        "batch_size", "precision", "optimizer", "accelerator", "channels_last", "accumulate",
        "weights", "gradients", "optimizer_state", "batch", "activations", "skips", "peak",
        "at_peak", "where", "reason",
    ]  # fmt: skip


def test_a_layer_has_the_numbers_of_its_window_and_what_it_sees() -> None:
    net = known("lenet5")
    assert layer(net, "c1") == {
        "name": "c1", "type": "Conv2d", "kind": "conv", "call": 0,
        "kernel": [5, 5], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1],
        "groups": 1, "transposed": False,
        "output": [6, 28, 28], "values": 4704, "activations": 4704, "bytes": 18_816,
        "kept_bytes": 0, "params": 156, "weights": 150, "macs": 117_600,
        "receptive_field": 5, "jump": 1, "sees_all": False, "sees_enough": False,
    }  # fmt: skip
    assert net["layers"][0] == {
        "name": "input", "type": "Input", "kind": "input", "call": 0,
        "output": [1, 32, 32], "values": 1024, "activations": 1024, "bytes": 4096,
        "kept_bytes": 2 * 4096, "params": 0, "weights": 0, "macs": 0,
        "receptive_field": 1, "jump": 1, "sees_all": False, "sees_enough": False,
    }  # fmt: skip
    fc = layer(net, "output")
    assert "kernel" not in fc
    seen = [fc[key] for key in ("receptive_field", "jump", "sees_all", "sees_enough")]
    assert seen == [32, 4, False, False]  # c5 is as large as the image, the padding included


def test_the_totals_of_lenet5_add_up_by_hand() -> None:
    totals = known("lenet5")["totals"]
    sizes = [1024, 4704, 1176, 1600, 400, 120, 84, 10]
    assert totals["activations"] == sum(sizes) == 9118
    assert totals["bytes"] == 4 * 9118
    assert (totals["params"], totals["weights"]) == (61_706, 61_706 - 6 - 16 - 120 - 84 - 10)
    assert (totals["macs"], totals["flops"]) == (416_520, 833_040)
    first = 28 * 28 * 6 * 25  # the image wants no gradient
    assert totals["training_macs"] == {"forward": 416_520, "backward": 2 * 416_520 - first}
    assert (totals["weight_layers"], totals["frozen"], totals["buffers"]) == (5, 0, 0)
    assert totals["unused"] == {"params": 0, "names": []}


@pytest.mark.parametrize(
    ("name", "memory"),
    [(name, "rows") for name in NETS]
    + [(name, memory) for name in FEW for memory in ("slides", "outputs")],
)
def test_the_rows_add_up_to_the_totals(name, memory) -> None:
    net = known(name) if memory == "rows" else told(subject(name, **TAPS.get(name, {})), memory)
    totals, counted = net["totals"], net["totals"]["conventions"][memory]
    assert total(net, "activations") == totals["activations"] == counted["values"]
    assert total(net, "bytes") == totals["bytes"] == counted["bytes"] == 4 * totals["activations"]
    assert counted["batch_size"] == 1
    assert total(net, "macs") == totals["macs"]
    assert total(net, "params") + totals["unused"]["params"] == totals["params"]
    assert total(net, "params", "training_layers") == totals["unused"]["params"]
    assert total(net, "weights") + total(net, "weights", "training_layers") == totals["weights"]
    assert totals["trainable"] + totals["frozen"] == totals["params"]


def test_outputs_count_new_tensors_and_not_the_image() -> None:
    net = told(subject("lenet5"), "outputs")
    assert net["layers"][0]["activations"] == net["layers"][0]["bytes"] == 0
    assert layer(net, "c1_act")["activations"] == 4704
    assert layer(net, "flatten")["activations"] == 0


@pytest.mark.parametrize(
    ("precision", "width"), [("32-true", 4), ("64-true", 8), ("bf16-true", 2), ("16-true", 2)]
)
def test_bytes_follow_the_precision(precision, width) -> None:
    net = told(subject("lenet5"), precision=precision)
    assert net["totals"]["bytes"] == width * 9118
    assert net["memory"]["weights"] == width * 61_706
    assert net["totals"]["conventions"]["slides"]["bytes"] == width * 11_922


def test_buffers_are_counted_beside_parameters() -> None:
    net = told(chain((3, 4, 4), conv=nn.Conv2d(3, 5, 1, bias=False), norm=nn.BatchNorm2d(5)))
    totals = net["totals"]
    assert (totals["params"], totals["buffers"]) == (15 + 10, 5 + 5 + 1)
    assert layer(net, "norm")["params"] == 10
    assert net["memory"]["weights"] == 4 * 25 + 4 * 10 + 8  # the counter is an int64
    assert net["memory"]["gradients"] == 4 * 25


class Tied(nn.Module):
    """One dense layer used twice, another that has its weights, and one that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.idle = nn.Linear(3, 2)

    def forward(self, image: Tensor) -> Tensor:
        return self.second(self.first(self.first(image.flatten(1))))


def test_tied_weights_count_once_and_where_they_are_used_first() -> None:
    net = told(Subject("tied", Tied(), (1, 2, 3)))
    rows = [(one["name"], one["call"], one["params"], one["macs"]) for one in net["layers"][1:]]
    assert rows == [("first", 0, 42, 36), ("first", 1, 0, 36), ("second", 0, 6, 36)]
    totals = net["totals"]
    assert (totals["params"], totals["weights"]) == (36 + 6 + 6 + 8, 36 + 6)
    assert totals["unused"] == {"params": 8, "names": ["idle.weight", "idle.bias"]}
    assert totals["weight_layers"] == 3
    assert net["memory"]["weights"] == net["memory"]["gradients"] == 4 * totals["params"]


def test_the_field_is_told_by_axis_where_the_axes_differ() -> None:
    net = told(chain((1, 9, 9), wide=nn.Conv2d(1, 1, (1, 7)), square=nn.Conv2d(1, 1, 3)))
    assert layer(net, "wide")["receptive_field"] == 7
    assert layer(net, "wide")["receptive_field_by_axis"] == [1, 7]
    assert layer(net, "square")["receptive_field_by_axis"] == [3, 9]
    assert "receptive_field_by_axis" not in layer(net, "input")


def test_a_window_that_sees_nothing_new_is_marked() -> None:
    twice = chain((1, 9, 9), one=nn.Conv2d(1, 1, 5, padding=2), two=nn.Conv2d(1, 1, 5, padding=2),
                  three=nn.Conv2d(1, 1, 5, padding=2), four=nn.Conv2d(1, 1, 1))  # fmt: skip
    net = told(twice)
    assert [one["receptive_field"] for one in net["layers"]] == [1, 5, 9, 13, 13]
    assert [one["sees_enough"] for one in net["layers"]] == [False, False, False, True, False]


def test_behind_global_pooling_the_whole_image_is_seen_and_no_local_part() -> None:
    pooled = chain((1, 8, 8), conv=nn.Conv2d(1, 2, 3, 2), gap=nn.AdaptiveAvgPool2d(1))
    found = layer(told(pooled), "gap")
    assert [found[key] for key in ("receptive_field", "jump", "sees_all")] == [None, None, True]


def test_what_an_unknown_operation_sees_is_null() -> None:
    class Sorted(nn.Module):
        def forward(self, value: Tensor) -> Tensor:
            return value.sort(dim=2).values

    net = chain((1, 4, 4), conv=nn.Conv2d(1, 1, 3, padding=1), sort=Sorted())
    found = told(net)["layers"][-1]
    assert found["output"] == [1, 4, 4]
    assert [found[key] for key in ("receptive_field", "jump", "sees_all")] == [None, None, None]


def test_an_audit_leaves_a_net_with_weights_as_it_was() -> None:
    net = build("lenet5")
    values = {name: value.clone() for name, value in net.state_dict().items()}
    told(Subject("lenet5", net.eval(), (1, 32, 32)))
    assert not any(module.training for module in net.modules())
    for name, value in net.state_dict().items():
        assert torch.equal(value, values[name])
    assert all(parameter.grad is None for parameter in net.parameters())
