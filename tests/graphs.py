"""Small ONNX files made by hand, and what is known of them from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper, load, numpy_helper, shape_inference

from cnnctl.audit import onnx_graph
from cnnctl.audit.forward import forward

IMAGE = (1, 3, 8, 8)


def node(op: str, inputs: str, output: str, /, **attributes: Any) -> Any:
    """One node; inputs and outputs are names with blanks between them, - for one left out."""
    names, made = [name.replace("-", "") for name in inputs.split()], output.split()
    domain = attributes.pop("domain", None)
    return helper.make_node(op, names, made, made[0], domain=domain, **attributes)


def write(
    file: Path,
    nodes: Sequence[Any],
    tensors: Mapping[str, Any] | None = None,
    image: Sequence[int | str] = IMAGE,
    output: str = "y",
    opset: int = 20,
    functions: Sequence[Any] = (),
) -> Path:
    """A file whose input is x; tensors are arrays, or shapes of weights as tuples."""
    graph = helper.make_graph(
        nodes,
        "made by hand",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)],
        [ValueInfoProto(name=name) for name in output.split()],
        [numpy_helper.from_array(array(value), name) for name, value in (tensors or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=9)
    file.write_bytes(model.SerializeToString())
    return file


def array(value: Any) -> np.ndarray:
    """A weight for a tuple, whole numbers for a list, otherwise what it is."""
    if isinstance(value, tuple):
        return np.ones(value, dtype=np.float32)
    return np.array(value, dtype=np.int64) if isinstance(value, list) else np.asarray(value)


class Found(NamedTuple):
    """What an audit finds: the output of the last row, multiply-adds, parameters, and the rows."""

    output: tuple[int, ...]
    macs: int
    params: int
    rows: list[Any]

    @property
    def names(self) -> list[str]:
        """The names of the rows."""
        return [row.name for row in self.rows]


def audited(net: Any, shape: tuple[int, ...]) -> Found:
    """A net on one image of (C, H, W)."""
    walk = forward(net, shape).walk
    rows = walk.rows
    return Found(rows[-1].output, sum(walk.macs.values()), sum(row.params for row in rows), rows)


def audit(file: Path, shape: Sequence[int] | None = None) -> Found:
    """A file on one image of its own shape, or of (C, H, W)."""
    net: Any = onnx_graph.load(file)
    return audited(net, tuple(shape or net.input))


def inferred(file: Path) -> tuple[int, ...]:
    """The shape of the first output as onnx itself infers it, the batch left out."""
    graph = shape_inference.infer_shapes(load(file), strict_mode=True, data_prop=True).graph
    return tuple(dim.dim_value for dim in graph.output[0].type.tensor_type.shape.dim)[1:]
