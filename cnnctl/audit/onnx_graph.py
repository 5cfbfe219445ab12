"""Reads the graph of an ONNX file; see cnnctl.audit.onnx_net for what becomes of it.

What a graph computes about shapes (Shape, Gather, Concat, … in front of a Reshape) is computed
with numbers, by onnx's reference evaluator. All else runs through torch, so that an audit sees
the convolutions and products that it sees in any other net.

Of a file that cnnctl has exported the net alone is read: what stands before it, the resizing of
images of any size, depends on the image. Nodes that only say how values are written as integers
(QuantizeLinear, DequantizeLinear) are no layers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from cnnctl.audit import onnx_ours
from cnnctl.audit.onnx_net import Branch, Choice, OnnxNet, Step, kind, planned
from cnnctl.audit.onnx_ops import OPS
from cnnctl.audit.onnx_store import Store
from cnnctl.errors import NetError, UsageError

IMAGES = 4  # axes of a batch of images
CHANNELS_FIRST = [0, 3, 1, 2]  # the order that a Transpose makes of images (B, H, W, C)
DOMAINS = ("", "ai.onnx")
BRANCHED = ("If", "Loop", "Scan")  # they have graphs of their own
INTEGERS = ("QuantizeLinear", "DequantizeLinear")
SCOPES = "pkg.torch.onnx.name_scopes"  # where torch's exporter notes the layer of a node


def load(file: Path) -> OnnxNet:
    """The net of an ONNX file, on the meta device; values of weights are not kept.

    Weights in files of their own (external data) need not be there. Raises UsageError if there
    is no such file and NetError for one that is no ONNX file, or that has operators without a
    rule or other inputs than one batch of images.
    """
    onnx = _onnx()
    try:
        model = onnx.load_model_from_string(file.read_bytes())
    except OSError as wrong:
        raise UsageError(f"cannot read {file}: {wrong.strerror}") from wrong
    except Exception as wrong:  # of protobuf, which has a tree of its own
        raise NetError(f"{file} is no ONNX file") from wrong
    if not model.graph.node:
        raise NetError(f"{file} is no ONNX file, or one without nodes")
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    return _Reader(onnx, file, model).whole()


def _onnx() -> ModuleType:
    try:
        import onnx
        import onnx.inliner
        import onnx.reference
    except ImportError as missing:
        raise NetError("onnx is not installed", "pip install 'cnnctl[onnx]'") from missing
    return onnx


class _Reader:
    """A graph that is being read.

    `computed` are the names of values that are numbers, because only shapes decide them.
    """

    def __init__(self, onnx: Any, file: Path, model: Any) -> None:
        self.onnx = onnx
        self.file = file
        self.graph = model.graph
        self.opsets = [one for one in model.opset_import if one.domain in DOMAINS]
        self.store = Store(onnx, file.parent)
        self.store.add(self.graph)
        self.computed: set[str] = set()
        self.missing: dict[str, str] = {}  # operators without a rule, and their first node
        name, sizes = self._input()
        outputs = [output.name for output in self.graph.output]
        self.nodes = list(self.graph.node)
        if (ours := onnx_ours.told(model)) is not None:
            sizes[1:] = [ours["channels"], ours["size"], ours["size"]]
            name, self.nodes = onnx_ours.without_resizing(self.graph, ours) or (name, self.nodes)
        self.batch = sizes[0] or 1
        self.read = set(outputs).union(*(node.input for node in self.nodes))
        self.net = OnnxNet(name, outputs, sizes[1:])
        self.net.fixed = ours is not None

    def whole(self) -> OnnxNet:
        """The net with all of its nodes."""
        net = self.net
        first = [node for node in self.nodes if net.image in node.input]
        if first and all(self._attributes(node).get("perm") == CHANNELS_FIRST for node in first):
            net.channels_last = True
            net.input = (net.input[2], *net.input[:2])
        net.steps = planned(self._walked(self.nodes), net.outputs)
        if self.missing:
            told = ", ".join(f"{op} (node '{name}')" for op, name in self.missing.items())
            raise NetError(f"{self.file}: operators that an audit does not know: {told}")
        return net

    def _input(self) -> tuple[str, list[int | None]]:
        """The name and the sizes of the only input."""
        found = [one for one in self.graph.input if one.name not in self.store]
        names = ", ".join(one.name for one in found)
        if len(found) != 1:
            text = f"{self.file} has {len(found)} inputs ({names}); an audit gives one, the images"
            raise NetError(text)
        dims = found[0].type.tensor_type.shape.dim
        sizes = [dim.dim_value if dim.dim_value > 0 else None for dim in dims]
        if len(sizes) != IMAGES:
            shape = "x".join("?" if size is None else str(size) for size in sizes)
            raise NetError(f"{self.file} takes {shape or 'any shape'}, not images (B, C, H, W)")
        return names, sizes

    def _walked(self, nodes: Iterable[Any]) -> list[Step]:
        return [step for node in nodes for step in self._steps(node)]

    def _steps(self, node: Any) -> Iterator[Step]:
        """What a node does when the net is called: nothing if it only names a tensor."""
        op, title = node.op_type, f"node '{_name(node)}' ({node.op_type})"
        if op == "Constant" and self.store.constant(node):
            return
        if op == "Identity" and node.input[0] in self.store:
            self.store.alias(node.output[0], node.input[0])
        elif op in INTEGERS and node.input[0] in self.store:
            self.store.dequantized(node.output[0], node.input[0])
        elif op in INTEGERS and node.input[0] not in self.computed:
            yield Step(title, lambda value: value, node.input[:1], list(node.output))
        elif op == "Shape" or self._folds(node):
            self.computed.update(node.output)
            inputs = self._given(dict.fromkeys(filter(None, node.input)))
            yield Step(title, self._fold(node, inputs), inputs, list(node.output))
        elif op == "If" and node.input[0] in self.computed:
            choice = self._choice(node)
            yield Step(title, choice, [node.input[0], *choice.inputs], list(node.output))
        elif op not in OPS or node.domain not in DOMAINS:
            self.missing.setdefault(op, _name(node))
        elif op != "Split" and not self.read.isdisjoint(node.output[1:]):
            self.missing.setdefault(f"{op} with {len(node.output)} outputs", _name(node))
        else:
            weights = self.store.weights(node)
            inputs = [name for place, name in enumerate(node.input) if place not in weights]
            about = {**self._attributes(node), "outputs": len(node.output), "batch": self.batch}
            layer = kind(op)(about, weights)
            self.net.add(_path(node, self.store.names(node.input)), layer)
            yield Step(title, layer, self._given(inputs), list(node.output))

    def _given(self, names: Iterable[str]) -> list[str]:
        """The names, whose numbers the net keeps as far as they are stored."""
        wanted = list(names)
        for name in wanted:
            if name in self.store and name not in self.net.numbers:
                self.net.numbers[name] = self.store.values(name)
        return wanted

    def _choice(self, node: Any) -> Choice:
        graphs = self._attributes(node)
        branches: list[Branch] = []
        for graph in (graphs["then_branch"], graphs["else_branch"]):
            outputs = [output.name for output in graph.output]
            self.store.add(graph)
            self.read.update(outputs, *(one.input for one in graph.node))
            branches.append(Branch(self._walked(graph.node), outputs))
        return Choice(*branches)

    def _attributes(self, node: Any) -> dict[str, Any]:
        values = {one.name: self.onnx.helper.get_attribute_value(one) for one in node.attribute}
        return {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in values.items()
        }

    def _folds(self, node: Any) -> bool:
        """Whether a node computes with numbers: with nothing that comes from images or weights.

        Beside numbers that the graph computes, a row of floats is a factor and no weight.
        """
        names = [name for name in node.input if name]
        beside = not self.computed.isdisjoint(names)
        if not names or node.domain not in DOMAINS or node.op_type in BRANCHED:
            return False
        return all(
            name in self.computed
            or (
                name in self.store
                and (not self.store.is_weight(name) or (beside and self.store.axes(name) == 1))
            )
            for name in names
        )

    def _fold(self, node: Any, inputs: list[str]) -> Callable[..., Any]:
        if node.op_type == "Shape":
            part = slice(*(self._attributes(node).get(end) for end in ("start", "end")))
            return lambda value: np.array(value.shape[part], dtype=np.int64)
        function = self.onnx.helper.make_function(
            "cnnctl", "fold", inputs, node.output, [node], self.opsets
        )
        evaluator = self.onnx.reference.ReferenceEvaluator(function)
        return lambda *values: evaluator.run(None, dict(zip(inputs, values, strict=True)), {})


def _name(node: Any) -> str:
    return node.name or node.output[0]


def _path(node: Any, tensors: Iterable[str]) -> str:
    """Where a node stands in the net: a.b.c; `tensors` are those that it uses."""
    op, layer = node.op_type, _layer(node, tensors)
    parts: list[str] = []
    for part in (_name(node) if layer is None else f"{layer}.{op}").split("/"):
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()  # /layer1/layer1.0/conv1/Conv is layer1.0.conv1.Conv
        parts.append(part)
    words = [re.sub(r"[^\w-]", "_", word) for word in ".".join(parts).split(".") if word]
    return ".".join(words) or op


def _layer(node: Any, tensors: Iterable[str]) -> str | None:
    """The layer that a node is part of, as torch's exporters tell it."""
    for name in tensors:
        if name.endswith(".weight"):
            return name.removesuffix(".weight")
    for note in node.metadata_props:
        if note.key == SCOPES:  # a list as Python writes it; last comes the operation
            return ["", "", *re.findall("'([^']*)'", note.value)][-2]
    return None
