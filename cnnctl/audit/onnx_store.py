"""The tensors that an ONNX file holds: weights, of which only the shape counts, and numbers."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cnnctl.audit.onnx_net import Weights
from cnnctl.audit.onnx_ops import WEIGHTS

FLOATS = (1, 10, 11, 16)  # TensorProto's numbers for 32, 16 and 64 bits and bfloat16
SCALED = ("Resize", "Upsample")  # their floats are scales, not weights
INTEGERS = "_quantized"  # what onnxruntime adds to the name of a weight
NUMBERS = ("value", "value_float", "value_floats", "value_int", "value_ints")


class Store:
    """Stored tensors by name.

    The format does not tell weights from other numbers: several floats are weights, unless a
    node wants them as scales. A batch norm's statistics are none, and neither are integers.
    """

    def __init__(self, onnx: Any, folder: Path) -> None:
        self.onnx = onnx
        self.folder = folder
        self.tensors: dict[str, Any] = {}
        self.made: dict[str, Tensor] = {}  # one for each tensor, however often it is used

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def add(self, graph: Any) -> None:
        """The tensors of a graph."""
        self.tensors.update({tensor.name: tensor for tensor in graph.initializer})

    def constant(self, node: Any) -> bool:
        """The tensor of a Constant, whichever of its attributes holds it; False for texts."""
        (attribute,) = node.attribute
        if attribute.name not in NUMBERS:
            return False
        name, value = node.output[0], self.onnx.helper.get_attribute_value(attribute)
        if attribute.name == "value":
            tensor = self.onnx.TensorProto()
            tensor.CopyFrom(value)
            tensor.name = name
        else:
            kind = np.float32 if attribute.name.startswith("value_float") else np.int64
            tensor = self.onnx.numpy_helper.from_array(np.array(value, dtype=kind), name)
        self.tensors[name] = tensor
        return True

    def alias(self, name: str, other: str) -> None:
        """Make a second name for a tensor."""
        self.tensors[name] = self.tensors[other]

    def dequantized(self, name: str, integers: str) -> None:
        """Make `name` the weight that a tensor of integers stands for, without its values."""
        tensor = self.onnx.TensorProto(data_type=FLOATS[0], dims=self.tensors[integers].dims)
        tensor.name = self.tensors[integers].name.removesuffix(INTEGERS)
        self.tensors[name] = tensor

    def names(self, names: Iterable[str]) -> list[str]:
        """What the tensors among some values are called in the file."""
        return [self.tensors[name].name for name in names if name in self.tensors]

    def axes(self, name: str) -> int:
        """How many axes a tensor has."""
        return len(self.tensors[name].dims)

    def is_weight(self, name: str) -> bool:
        """Whether a tensor is one of several floats."""
        tensor = self.tensors[name]
        return tensor.data_type in FLOATS and prod(tensor.dims) > 1

    def weights(self, node: Any) -> Weights:
        """The inputs of a node that are weights, or the statistics of a batch norm."""
        names = WEIGHTS.get(node.op_type, {})
        found: Weights = {}
        for place, name in enumerate(node.input):
            tensor = self.tensors.get(name)
            if tensor is None or tensor.data_type not in FLOATS or node.op_type in SCALED:
                continue
            if place in names or self.is_weight(name):
                row = node.op_type in {"Add", "Sub"} and prod(tensor.dims) == max(tensor.dims)
                role = names.get(place, "bias" if row else "weight")
                taken = role in {other for other, _ in found.values()}
                found[place] = (f"{role}_{place}" if taken else role, self._weight(tensor, role))
        return found

    def _weight(self, tensor: Any, role: str) -> Tensor:
        if tensor.name not in self.made:
            shape = torch.empty(list(tensor.dims), device="meta")
            self.made[tensor.name] = shape if role.startswith("running") else nn.Parameter(shape)
        return self.made[tensor.name]

    def values(self, name: str) -> Any:
        """The numbers of a tensor; its shape alone, on the meta device, if they are not there."""
        tensor, elsewhere = self.tensors[name], self.onnx.external_data_helper
        if elsewhere.uses_external_data(tensor):
            file = self.folder / elsewhere.ExternalDataInfo(tensor).location
            if not file.is_file():
                return torch.empty(list(tensor.dims), dtype=torch.int64, device="meta")
        return self.onnx.numpy_helper.to_array(tensor, str(self.folder))
