"""How the net of an ONNX file runs, and what its layers are called."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch
from graphs import audit, audited, node, write
from torch import nn

from cnnctl.audit import onnx_graph, onnx_net
from cnnctl.audit.forward import forward
from cnnctl.audit.onnx_net import Node, OnnxNet, Step, planned
from cnnctl.errors import NetError
from cnnctl.nets import meta


def layers(*paths: str) -> list[str]:
    """The names that layers of these paths get."""
    net = OnnxNet("x", ["y"], (3, 8, 8))
    for path in paths:
        net.add(path, onnx_net.kind("Relu")({}, {}))
    return [name for name, layer in net.named_modules() if isinstance(layer, Node)]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("conv1", "conv2"), ["conv1", "conv2"]),
        (("a.b.Conv", "a.c"), ["a.b.Conv", "a.c"]),
        (("a.Add", "a.Add", "a.Add"), ["a.Add", "a.Add_2", "a.Add_3"]),
        (("a", "a.b"), ["a", "a_2.b"]),
        (("a.b", "a"), ["a.b", "a_2"]),
        (("forward", "train.half", "input"), ["forward_2", "train_2.half_2", "input_2"]),
        (("a.train", "b.a.train"), ["a.train_2", "b.a.train_2"]),
    ],
)
def test_every_layer_has_a_name_of_its_own(paths, names) -> None:
    assert layers(*paths) == names


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("Conv_7", "Conv_7"),
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1.Conv"),
        ("/features/features.1/conv/conv.0/conv.0.0/Conv", "features.1.conv.0.0.Conv"),
        (
            "StatefulPartitionedCall/net/conv 1/Conv2D:0",
            "StatefulPartitionedCall.net.conv_1.Conv2D_0",
        ),
        ("", "y"),
        ("///", "Conv"),
    ],
)
def test_layers_are_named_after_their_nodes(name, layer, tmp_path) -> None:
    conv = node("Conv", "x W", "y")
    conv.name = name
    assert audit(write(tmp_path / "net.onnx", [conv], {"W": (4, 3, 3, 3)})).names == [layer]


def test_a_layer_is_named_as_the_weights_of_torch_that_it_uses(tmp_path) -> None:
    nodes = [node("Conv", "x stem.0.weight stem.0.bias", "a"), node("Gemm", "b head.weight", "y")]
    nodes.insert(1, node("Flatten", "a", "b"))
    tensors = {"stem.0.weight": (2, 3, 8, 8), "stem.0.bias": (2,), "head.weight": (2, 5)}
    found = audit(write(tmp_path / "net.onnx", nodes, tensors))
    assert found.names == ["stem.0.Conv", "b", "head.Gemm"]
    assert [row.type for row in found.rows] == ["Conv", "Flatten", "Gemm"]


@pytest.mark.parametrize(
    ("scopes", "layer"),
    [
        ("['', 'layer1', 'layer1.0', 'add_3']", "layer1.0.Relu"),
        ("['', 'add']", "Relu"),
        ("['add']", "Relu"),
        ("", "Relu"),
    ],
)
def test_a_layer_without_weights_is_named_after_the_scope_that_torch_notes(
    scopes, layer, tmp_path
) -> None:
    relu = node("Relu", "x", "y")
    relu.metadata_props.add(key="namespace", value="is not read")
    relu.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    assert audit(write(tmp_path / "net.onnx", [relu])).names == [layer]


def test_values_are_dropped_after_their_last_use() -> None:
    steps = [
        Step("a", None, ["x"], ["a", "never"]), Step("b", None, ["a", "x", ""], ["b"]),
        Step("c", None, ["a"], ["c"]), Step("d", None, ["b", "c"], ["y"]),
    ]  # fmt: skip
    assert [done for _, done in planned(steps, ["y", "b"])] == [["never"], ["x"], ["a"], ["c"]]


def test_no_value_outlives_its_last_use(tmp_path) -> None:
    nodes = [node("Relu", name, name + "a") for name in ("x", "xa", "xaa", "xaaa")]
    net = onnx_graph.load(write(tmp_path / "net.onnx", nodes, output="xaaaa"))
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def count(_: nn.Module, __: Any, out: Any) -> None:
        made.append(weakref.ref(out))
        alive.append(sum(one() is not None for one in made))

    for layer in net.children():
        layer.register_forward_hook(count)
    net(torch.empty(1, 3, 8, 8, device="meta"))
    assert alive == [1, 2, 2, 2]


def test_the_peak_is_that_of_the_same_net_in_torch(tmp_path) -> None:
    nodes = [
        node("Conv", "x V", "a"), node("Sigmoid", "a", "b"), node("Conv", "b W", "c"),
        node("Add", "a c", "y"),
    ]  # fmt: skip
    file = write(tmp_path / "net.onnx", nodes, {"V": (8, 3, 1, 1), "W": (8, 8, 1, 1)})

    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.v, self.w = nn.Conv2d(3, 8, 1, bias=False), nn.Conv2d(8, 8, 1, bias=False)

        def forward(self, x):
            a = self.v(x)
            return a + self.w(a.sigmoid())

    peaks = [forward(net, (3, 8, 8)).peak for net in (onnx_graph.load(file), Same())]
    assert peaks[0] == peaks[1] == 4 * 64 * (3 + 8 + 8 + 8)


def test_weights_that_several_nodes_share_are_one(tmp_path) -> None:
    nodes = [
        node("Conv", "x W B", "a"), node("Identity", "W", "again"), node("Conv", "a again B", "y"),
    ]  # fmt: skip
    net = onnx_graph.load(write(tmp_path / "net.onnx", nodes, {"W": (3, 3, 3, 3), "B": (3,)}))
    assert sum(parameter.numel() for parameter in net.parameters()) == 84
    assert [row.params for row in audited(net, (3, 8, 8)).rows] == [84, 0]


def test_several_outputs_are_a_tuple(tmp_path) -> None:
    nodes = [node("Split", "x", "a b", axis=3, num_outputs=2), node("Relu", "b", "c")]
    net = onnx_graph.load(write(tmp_path / "net.onnx", nodes, output="a c"))
    made = net(torch.empty(1, 3, 8, 8, device="meta"))
    assert isinstance(made, tuple)
    assert [tuple(value.shape) for value in made] == [(1, 3, 8, 4), (1, 3, 8, 4)]


def test_an_image_that_does_not_fit_names_the_node_that_says_so(tmp_path) -> None:
    nodes = [node("Relu", "x", "a"), node("Conv", "a W", "y")]
    net = onnx_graph.load(write(tmp_path / "net.onnx", nodes, {"W": (4, 3, 3, 3)}))
    with pytest.raises(NetError, match=r"^node 'y' \(Conv\) fails on 1x1x8x8: "):
        forward(net, (1, 8, 8))
    with pytest.raises(NetError, match=r"^node 'y' \(Conv\) fails on 1x3x2x2: "):
        forward(net, (3, 2, 2))


def test_numbers_that_cannot_be_computed_name_their_node(tmp_path) -> None:
    nodes = [node("Shape", "x", "s"), node("Gather", "s I", "n"), node("Reshape", "x n", "y")]
    net = onnx_graph.load(write(tmp_path / "net.onnx", nodes, {"I": [9]}))
    with pytest.raises(NetError, match=r"^node 'n' \(Gather\) fails: index 9 is out of bounds"):
        forward(net, (3, 8, 8))


def test_nothing_has_memory(tmp_path) -> None:
    nodes = [node("Conv", "x W", "a"), node("BatchNormalization", "a S B M V", "y")]
    tensors = {"W": (3, 3, 3, 3), "S": (3,), "B": (3,), "M": (3,), "V": (3,)}
    net = onnx_graph.load(write(tmp_path / "net.onnx", nodes, tensors))
    assert {value.device.type for value in net.state_dict().values()} == {"meta"}
    assert net.numbers == {}
    with meta.device():
        assert net(torch.empty(1, 3, 8, 8)).shape == (1, 3, 6, 6)


def test_numbers_are_kept_as_they_stand_in_the_file(tmp_path) -> None:
    nodes = [node("Reshape", "x S", "y")]
    net = onnx_graph.load(write(tmp_path / "net.onnx", nodes, {"S": [1, -1], "W": (9, 9)}))
    assert list(net.numbers) == ["S"]
    assert np.array_equal(net.numbers["S"], [1, -1])
