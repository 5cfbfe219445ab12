"""Every operator on a file of its own: shapes by onnx's evaluator, all else by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from graphs import IMAGE, audit, inferred, node, write

from cnnctl.audit import onnx_graph
from cnnctl.audit.ghost import autocast, ghost
from cnnctl.audit.onnx_ops import OPS, WEIGHTS
from cnnctl.errors import NetError

F = np.float32


class Case(NamedTuple):
    """A file of some nodes, and what an audit has to find for 3x8x8 images."""

    nodes: list[Any]
    output: tuple[int, ...]
    macs: int = 0
    params: int = 0
    tensors: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it
    opset: int = 20
    image: tuple[int, ...] = IMAGE


def one(op: str, output: tuple[int, ...] = (3, 8, 8), inputs: str = "x", **rest: Any) -> Case:
    """A file of one node; capital letters of `rest` are tensors, `opset` and the like are not."""
    about = {name: rest.pop(name) for name in ("macs", "params", "opset", "image") if name in rest}
    tensors = {name: rest.pop(name) for name in list(rest) if name.isupper()}
    return Case([node(op, inputs, "y", **rest)], output, tensors=tensors, **about)


def pair(op: str, **rest: Any) -> Case:
    return one(op, inputs="x x", **rest)


def dense(inputs: str, **rest: Any) -> Case:
    """A Gemm of seven values to five."""
    case = one("Gemm", (5,), inputs, image=(1, 7, 1, 1), macs=35, **rest)
    return case._replace(nodes=[node("Flatten", "x", "a"), *case.nodes])


def parts(output: tuple[int, ...], inputs: str, opset: int = 20, **rest: Any) -> Case:
    """A Split in two, of which the second part is the output."""
    tensors = {name: rest.pop(name) for name in list(rest) if name.isupper()}
    nodes = [node("Split", inputs, "a b", **rest), node("Identity", "b", "y")]
    return Case(nodes, output, tensors=tensors, opset=opset)


PLAIN = (
    "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "LogSoftmax",
    "Neg", "Relu", "Selu", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Tanh",
)  # fmt: skip
CASES: dict[str, Case] = {
    **{op: one(op) for op in PLAIN},
    **{op: pair(op) for op in ("Add", "Div", "Mul", "Pow", "Sub")},
    "Sum": one("Sum", inputs="x x x"),
    "Add bias": one("Add", inputs="x B", B=(3, 1, 1), params=3),
    "Add number": one("Add", inputs="N x", N=F(2)),
    "Add longer": one("Add", (1, 3, 8, 8), "x W", W=(2, 1, 3, 8, 8), params=384),
    "AveragePool": one("AveragePool", (3, 4, 4), kernel_shape=[2, 2], strides=[2, 2]),
    "BatchNormalization": one(
        "BatchNormalization", inputs="x W B M V", W=(3,), B=(3,), M=(3,), V=(3,), params=6
    ),
    "Cast": one("Cast", to=10),
    "Cast whole": one("Cast", to=7),
    "Clip": one("Clip", inputs="x L H", L=F(0), H=F(6)),
    "Clip of old": one("Clip", min=0.0, max=6.0, opset=6),
    "Concat": one("Concat", (9, 8, 8), "x x x", axis=1),
    "Concat tensor": one("Concat", (5, 8, 8), "x W", W=(1, 2, 8, 8), params=128, axis=1),
    "Concat zeros": Case(
        [node("ConstantOfShape", "S", "zeros"), node("Concat", "x zeros", "y", axis=1)],
        (5, 8, 8), tensors={"S": [1, 2, 8, 8]},
    ),
    "Conv": one("Conv", (4, 6, 6), "x W B", W=(4, 3, 3, 3), B=(4,), macs=4 * 36 * 27, params=112),
    "ConvTranspose": one(
        "ConvTranspose", (4, 16, 16), "x W", W=(3, 4, 2, 2), strides=[2, 2],
        macs=3 * 64 * 16, params=48,
    ),
    "DepthToSpace": one("DepthToSpace", (1, 6, 6), image=(1, 4, 3, 3), blocksize=2),
    "Dropout": one("Dropout"),
    "Einsum": one("Einsum", (5, 8, 8), "x W", W=(3, 5), equation="bchw,cd->bdhw",
                  macs=64 * 15, params=15),
    "Expand": one("Expand", (3, 8, 8), "x S", S=[1, 3, 8, 8], image=(1, 3, 8, 1)),
    "Flatten": one("Flatten", (192,)),
    "Flatten deeper": one("Flatten", (64,), axis=2),
    "Gather": one("Gather", (4, 8, 8), "x I", I=[2, 1, 0, 0], axis=1),
    "Gather one": one("Gather", (8, 8), "x I", I=np.array(2), axis=1),
    "Gather table": one("Gather", (2, 2, 8, 8), "x I", I=[[0, 1], [1, 2]], axis=1),
    "Gemm": dense("a W B", W=(7, 5), B=(5,), params=40),
    "Gemm turned": dense("a W", W=(5, 7), transB=1, params=35),
    "Gemm of columns": dense("a W", W=(1, 5), transA=1, params=5),
    "GlobalAveragePool": one("GlobalAveragePool", (3, 1, 1)),
    "GlobalMaxPool": one("GlobalMaxPool", (3, 1, 1)),
    "InstanceNormalization": one("InstanceNormalization", inputs="x W B", W=(3,), B=(3,), params=6),
    "LRN": one("LRN", size=5),
    "LayerNormalization": one("LayerNormalization", inputs="x W B", W=(8,), B=(8,), params=16),
    "LayerNormalization of all": one(
        "LayerNormalization", inputs="x W", W=(3, 8, 8), params=192, axis=1
    ),
    "MatMul": one("MatMul", (3, 8, 5), "x W", W=(8, 5), macs=24 * 40, params=40),
    "MatMul of maps": one("MatMul", (3, 8, 8), "x x", macs=3 * 8 * 8 * 8),
    "MaxPool": one("MaxPool", (3, 3, 3), kernel_shape=[3, 3], strides=[2, 2]),
    "PRelu": one("PRelu", inputs="x W", W=(3, 1, 1), params=3),
    "Pad": one("Pad", (3, 9, 15), "x P", P=[0, 0, 1, 3, 0, 0, 0, 4]),
    "Pad of old": one("Pad", (3, 9, 15), pads=[0, 0, 1, 3, 0, 0, 0, 4], opset=2),
    "Pad some axes": one("Pad", (3, 8, 11), "x P - A", P=[1, 2], A=[-1]),
    "Pad mirrored": one("Pad", (3, 10, 10), "x P", P=[0, 0, 1, 1, 0, 0, 1, 1], mode="reflect"),
    "Pad edges": one("Pad", (3, 10, 8), "x P", P=[0, 0, 1, 0, 0, 0, 1, 0], mode="edge"),
    "ReduceMax": one("ReduceMax", (3, 1, 1), "x A", A=[2, 3]),
    "ReduceMean": one("ReduceMean", (3,), "x A", A=[-1, -2], keepdims=0),
    "ReduceMean of old": one("ReduceMean", (3, 1, 1), axes=[2, 3], opset=13),
    "ReduceMean of none": one("ReduceMean", noop_with_empty_axes=1),
    "ReduceSum": one("ReduceSum", (1, 1, 1)),
    "Reshape": one("Reshape", (3, 64), "x S", S=[0, 3, -1]),
    "Resize": one("Resize", (3, 16, 4), "x - K", K=np.array([1, 1, 2, 0.5], dtype=F)),
    "Resize by ten": one("Resize", (3, 16, 4), "x K", K=np.array([1, 1, 2, 0.5], F), opset=10),
    "Resize to": one("Resize", (3, 5, 7), "x - - S", S=[1, 3, 5, 7], mode="linear"),
    "Resize some axes": one("Resize", (3, 5, 7), "x - - S", S=[7, 5], axes=[3, 2], mode="cubic"),
    "Slice": one("Slice", (3, 3, 5), "x S E A T", S=[1, -5], E=[7, 99], A=[2, 3], T=[2, 1]),
    "Slice of old": one("Slice", (2, 8, 8), starts=[1], ends=[99], axes=[1], opset=9),
    "Slice all axes": one("Slice", (1, 2, 3), "x S E", S=[0, 0, 0, 0], E=[1, 1, 2, 3]),
    "SpaceToDepth": one("SpaceToDepth", (12, 4, 4), blocksize=2),
    "Split": parts((2, 8, 8), "x P", axis=1, P=[1, 2]),
    "Split of old": parts((2, 8, 8), "x", axis=1, split=[1, 2], opset=11),
    "Split evenly": parts((3, 4, 8), "x", axis=2, num_outputs=2),
    "Split by outputs": parts((3, 8, 4), "x", axis=3, opset=13),
    "Split with a rest": parts((1, 8, 8), "x", axis=1, num_outputs=2),
    "Squeeze": one("Squeeze", (3, 8), "x A", A=[2], image=(1, 3, 1, 8)),
    "Squeeze of old": one("Squeeze", (3, 8), axes=[-2], image=(1, 3, 1, 8), opset=11),
    "Transpose": one("Transpose", (8, 8, 3), perm=[0, 2, 3, 1]),
    "Transpose all": one("Transpose", (8, 3, 1), image=(1, 3, 8, 8)),
    "Unsqueeze": one("Unsqueeze", (1, 3, 8, 8, 1), "x A", A=[-1, 1]),
    "Unsqueeze of old": one("Unsqueeze", (1, 3, 8, 8, 1), axes=[1, 5], opset=11),
    "Upsample": one("Upsample", (3, 16, 24), "x K", K=np.array([1, 1, 2, 3], F), opset=9),
    "Upsample of old": one("Upsample", (3, 8, 24), scales=[1.0, 1.0, 1.0, 3.0], opset=7),
    "Where": one("Where", inputs="C x N", C=np.array([True, False] * 4), N=F(0)),
    "Where of maps": Case([node("Cast", "x", "c", to=9), node("Where", "c x x", "y")], (3, 8, 8)),
    "Where one": one("Where", inputs="C x x", C=np.bool_(1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_operator_gives_the_shape_and_costs_what_it_does_by_hand(name, tmp_path) -> None:
    case = CASES[name]
    file = write(tmp_path / "net.onnx", case.nodes, case.tensors, case.image, opset=case.opset)
    found = audit(file)
    assert found[:3] == (case.output, case.macs, case.params)
    assert inferred(file) == case.output
    assert found.rows[-1].type == case.nodes[-1].op_type


def test_every_operator_has_a_case() -> None:
    tested = {one.op_type for case in CASES.values() for one in case.nodes}
    assert tested - {"ConstantOfShape"} == set(OPS)  # which is computed with numbers
    assert set(WEIGHTS) <= set(OPS)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (one("Slice", inputs="x S E A T", S=[7], E=[0], A=[2], T=[-1]), "a step backwards"),
        (
            one("Resize", inputs="x - - S", S=[7, 7], axes=[2, 3],
                keep_aspect_ratio_policy="not_larger"),
            "keep_aspect_ratio_policy",
        ),
        (one("Resize", inputs="x - K", K=np.array([1, 2, 1, 1], F)), "channels are resized"),
        (
            one("AveragePool", kernel_shape=[2, 2], dilations=[2, 2]),
            "torch has no dilated means",
        ),
        (one("Concat", inputs="x W", W=(1, 3, 4, 8), axis=1), "Sizes of tensors must match"),
        (one("Reshape", inputs="x x"), "its sizes are not known without running the net"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_names_the_node_its_shapes_and_the_reason(case, reason, tmp_path):
    file = write(tmp_path / "net.onnx", case.nodes, case.tensors)
    with pytest.raises(NetError) as caught:
        audit(file)
    start = f"node 'y' ({case.nodes[0].op_type}) fails on 1x3x8x8"
    assert str(caught.value).startswith(start)
    assert f": {reason}" in str(caught.value)


def test_the_places_of_a_gather_need_not_be_known(tmp_path) -> None:
    value = torch.empty(1, 3, 8, 8, device="meta")
    places = torch.empty(4, 2, dtype=torch.int64, device="meta")
    assert OPS["Gather"]({"axis": 1}, value, places).shape == (1, 4, 2, 8, 8)


def test_the_statistics_of_a_batch_norm_are_no_parameters(tmp_path) -> None:
    case = CASES["BatchNormalization"]
    net = onnx_graph.load(write(tmp_path / "net.onnx", case.nodes, case.tensors))
    assert [name for name, _ in net.named_parameters()] == ["y.weight", "y.bias"]
    assert [name for name, _ in net.named_buffers()] == ["y.running_mean", "y.running_var"]


def test_weights_are_counted_without_biases(tmp_path) -> None:
    nodes = [node("MatMul", "x W", "a"), node("Add", "a B", "y")]
    found = audit(write(tmp_path / "net.onnx", nodes, {"W": (8, 5), "B": (5,)}))
    assert [(row.params, row.weights) for row in found.rows] == [(40, 40), (5, 0)]


@pytest.mark.parametrize("precision", ["bf16-true", "16-mixed"])
def test_floats_follow_the_precision_of_the_audit(precision, tmp_path) -> None:
    nodes = [
        node("Cast", "x", "half", to=10), node("Conv", "half W", "c", kernel_shape=[3, 3]),
        node("Cast", "c", "full", to=1), node("Add", "full N", "y"),
    ]  # fmt: skip
    net = onnx_graph.load(write(tmp_path / "net.onnx", nodes, {"W": (4, 3, 3, 3), "N": F(1)}))
    with ghost(net, "eval", precision) as double, autocast(precision):
        out = double(double.images((2, 3, 8, 8)))
    assert out.shape == (2, 4, 6, 6)
    assert out.element_size() == 2
