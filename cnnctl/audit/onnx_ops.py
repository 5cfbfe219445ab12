"""ONNX's operators as torch functions, for tensors that have a shape and no numbers.

A rule takes the attributes of a node and its inputs: Tensors are images, maps and weights;
arrays are numbers that are known, such as the shape of a Reshape. It gives a Tensor or several.
Attributes that no shape and no cost depends on are not read. Rules raise ValueError for what
they cannot do. The operators' definitions: https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cnnctl.audit import onnx_window as window
from cnnctl.audit.onnx_window import Attributes, Rule, whole


def alike(values: Sequence[Any]) -> list[Any]:
    """Arrays beside tensors as a number, where it is one, or as a tensor of their shape."""
    first = next(value for value in values if isinstance(value, Tensor))
    return [_beside(first, value) if isinstance(value, np.ndarray) else value for value in values]


def _beside(tensor: Tensor, value: np.ndarray) -> Any:
    if value.size == 1 and value.ndim <= tensor.dim():
        return value.item()
    return tensor.new_empty(value.shape)


def _axes(made: Attributes, given: Any) -> list[int]:
    """The axes of a node: an attribute of old, an input since opset 13 or 18."""
    return whole(made.get("axes", ()) if given is None else given)


def _gemm(made: Attributes, left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    left = left.t() if made.get("transA") else left
    right = right.t() if made.get("transB") else right
    return torch.mm(left, right) if bias is None else torch.addmm(bias, left, right)


def _matmul(_: Attributes, *factors: Any) -> Tensor:
    """One of them may be computed from shapes: of it, too, the shape alone counts."""
    first = next(factor for factor in factors if isinstance(factor, Tensor))
    left, right = (
        factor if isinstance(factor, Tensor) else first.new_empty(factor.shape)
        for factor in factors
    )
    return torch.matmul(left, right)


def _norm(_: Attributes, image: Tensor, *numbers: Tensor) -> Tensor:
    weight, bias, mean, variance = numbers
    return functional.batch_norm(image, mean, variance, weight, bias)


def _layer_norm(made: Attributes, value: Tensor, *numbers: Tensor) -> Tensor:
    weight, bias = [*numbers, None][:2]
    return functional.layer_norm(value, value.shape[made.get("axis", -1) :], weight, bias)


def _prelu(_: Attributes, value: Tensor, slope: Tensor) -> Tensor:
    return functional.prelu(value, slope.reshape(-1))


def _reduced(function: Rule) -> Rule:
    """A mean, sum or maximum over some axes; over all of them if none are named."""

    def rule(made: Attributes, value: Tensor, axes: Any = None) -> Tensor:
        dims = _axes(made, axes)
        if not dims and made.get("noop_with_empty_axes"):
            return value
        dims = dims or list(range(value.dim()))
        return function(value, dims, keepdim=bool(made.get("keepdims", 1)))

    return rule


def _reshape(made: Attributes, value: Tensor, shape: Any) -> Tensor:
    wanted = _one_image(made, whole(shape))
    if not made.get("allowzero"):
        wanted = [value.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    return value.reshape(wanted)


def _one_image(made: Attributes, sizes: list[int]) -> list[int]:
    """Sizes written for a fixed batch, for one image; the file's batch stands in `batch`."""
    batch = made.get("batch", 1)
    return [1, *sizes[1:]] if batch > 1 and sizes[:1] == [batch] else sizes


def _flatten(made: Attributes, value: Tensor) -> Tensor:
    axis = made.get("axis", 1)
    return value.reshape(prod(value.shape[:axis]), prod(value.shape[axis:]))


def _squeeze(made: Attributes, value: Tensor, axes: Any = None) -> Tensor:
    dims = _axes(made, axes) or [i for i, size in enumerate(value.shape) if size == 1]
    return value.squeeze(tuple(dims))


def _unsqueeze(made: Attributes, value: Tensor, axes: Any = None) -> Tensor:
    dims = _axes(made, axes)
    rank = value.dim() + len(dims)
    return reduce(torch.unsqueeze, sorted(dim % rank for dim in dims), value)


def _slice(made: Attributes, value: Tensor, *given: Any) -> Tensor:
    """Inputs are starts, ends, axes and steps; up to opset 9 all but the steps are attributes."""
    if given:
        starts, ends, axes, steps = [*given, None, None][:4]
    else:
        starts, ends, axes, steps = made["starts"], made["ends"], None, None
    first, last = whole(starts), whole(ends)
    dims = _axes(made, axes) or list(range(len(first)))
    strides = [1] * len(first) if steps is None else whole(steps)
    parts = [slice(None)] * value.dim()
    for dim, *part in zip(dims, first, last, strides, strict=True):
        if part[2] < 1:
            raise ValueError("a step backwards")
        parts[dim] = slice(*part)
    return value[tuple(parts)]


def _gather(made: Attributes, value: Tensor, places: Any) -> Tensor:
    axis, shape = made.get("axis", 0), tuple(places.shape)
    if not shape:
        return value.select(axis, 0)
    flat = torch.empty(prod(shape), dtype=torch.int64, device=value.device)
    found = value.index_select(axis, flat)
    return found if len(shape) == 1 else found.unflatten(axis, shape)


def _split(made: Attributes, value: Tensor, sizes: Any = None) -> Sequence[Tensor]:
    """In parts of given sizes, or in as many as the node has outputs, the last one smaller."""
    axis = made.get("axis", 0)
    if sizes is None and "split" not in made:
        return value.split(-(-value.shape[axis] // made["outputs"]), axis)
    return value.split(whole(made["split"] if sizes is None else sizes), axis)


def _expand(made: Attributes, value: Tensor, shape: Any) -> Tensor:
    return value.expand(torch.broadcast_shapes(value.shape, _one_image(made, whole(shape))))


def _itself(_: Attributes, value: Tensor, *__: Any) -> Tensor:
    return value


def _one(function: Rule, *names: str) -> Rule:
    """A function of one tensor; `names` are the attributes that it needs."""
    return lambda made, value, *_: function(value, *(made[name] for name in names))


def _several(function: Rule) -> Rule:
    """A function of tensors that are stretched to one shape, some of which may be numbers."""
    return lambda _, *values: reduce(function, alike(values))


def _where(_: Attributes, condition: Any, *values: Any) -> Tensor:
    """By a tensor, or by an array: then it is the values that are tensors."""
    if isinstance(condition, np.ndarray):
        first = next(value for value in values if isinstance(value, Tensor))
        condition = first.new_empty(condition.shape, dtype=torch.bool)
    return torch.where(*alike((condition, *values)))


def _cast(made: Attributes, value: Tensor) -> Tensor:
    """Floats stay what they are: the precision is what an audit asks for."""
    kind = TYPES.get(made["to"], torch.float32)
    return value if value.is_floating_point() and kind.is_floating_point else value.to(kind)


def _soft(function: Rule) -> Rule:
    return lambda made, value: function(value, made.get("axis", -1))


TYPES = {6: torch.int32, 7: torch.int64, 9: torch.bool}  # by TensorProto's numbers
_BOTH = {1: "weight", 2: "bias"}
# What an input is when its numbers are stored in the file, under the names that torch gives it
WEIGHTS: dict[str, dict[int, str]] = {
    "BatchNormalization": {**_BOTH, 3: "running_mean", 4: "running_var"},
    "Conv": _BOTH, "ConvTranspose": _BOTH, "Gemm": _BOTH,
    "InstanceNormalization": _BOTH, "LayerNormalization": _BOTH,
    "MatMul": {1: "weight"}, "PRelu": {1: "weight"},
}  # fmt: skip
OPS: dict[str, Rule] = {
    "Add": _several(operator.add), "AveragePool": window.average_pool,
    "BatchNormalization": _norm, "Cast": _cast, "Clip": _one(functional.relu6),
    "Concat": lambda made, *values: torch.cat(alike(values), made["axis"]),
    "Conv": window.conv, "ConvTranspose": window.conv_transpose,
    "DepthToSpace": _one(functional.pixel_shuffle, "blocksize"),
    "Div": _several(operator.truediv), "Dropout": _itself,
    "Einsum": lambda made, *values: torch.einsum(made["equation"], *values),
    "Elu": _one(functional.elu), "Erf": _one(torch.erf), "Exp": _one(torch.exp),
    "Expand": _expand, "Flatten": _flatten, "Gather": _gather,
    "Gelu": _one(functional.gelu), "Gemm": _gemm,
    "GlobalAveragePool": window.everywhere(torch.mean),
    "GlobalMaxPool": window.everywhere(torch.amax),
    "HardSigmoid": _one(functional.hardsigmoid), "HardSwish": _one(functional.hardswish),
    "Identity": _itself,
    "InstanceNormalization": lambda _, image, weight, bias: functional.instance_norm(
        image, weight=weight, bias=bias
    ),
    "LRN": _one(functional.local_response_norm, "size"), "LayerNormalization": _layer_norm,
    "LeakyRelu": _one(functional.leaky_relu), "LogSoftmax": _soft(torch.log_softmax),
    "MatMul": _matmul, "MaxPool": window.max_pool,
    "Mul": _several(operator.mul), "Neg": _one(torch.neg), "PRelu": _prelu, "Pad": window.pad,
    "Pow": _several(operator.pow), "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean), "ReduceSum": _reduced(torch.sum),
    "Relu": _one(torch.relu), "Reshape": _reshape, "Resize": window.resize,
    "Selu": _one(functional.selu), "Sigmoid": _one(torch.sigmoid), "Slice": _slice,
    "Softmax": _soft(torch.softmax), "Softplus": _one(functional.softplus),
    "SpaceToDepth": _one(functional.pixel_unshuffle, "blocksize"), "Split": _split,
    "Sqrt": _one(torch.sqrt), "Squeeze": _squeeze, "Sub": _several(operator.sub),
    "Sum": _several(operator.add), "Tanh": _one(torch.tanh),
    "Transpose": lambda made, value: value.permute(made.get("perm", [*range(value.dim())][::-1])),
    "Unsqueeze": _unsqueeze, "Upsample": window.resize,
    "Where": _where,
}  # fmt: skip
