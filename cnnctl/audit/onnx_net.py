"""The graph of an ONNX file as a net of torch: every node a layer, every weight a shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain, count
from typing import Any, NamedTuple

from torch import Tensor, nn

from cnnctl.audit.onnx_ops import OPS
from cnnctl.errors import NetError

Weights = dict[int, tuple[str, Tensor]]  # by the place among a node's inputs, with their names


class Node(nn.Module):
    """One node of the graph. Its class is a subclass with the operator's name."""

    def __init__(self, attributes: dict[str, Any], weights: Weights) -> None:
        super().__init__()
        self.attributes = attributes
        self.held = [(place, name) for place, (name, _) in sorted(weights.items())]
        for name, weight in weights.values():
            if isinstance(weight, nn.Parameter):
                self.register_parameter(name, weight)
            else:
                self.register_buffer(name, weight)

    def forward(self, *given: Any) -> Any:
        """What the operator makes of its inputs, those left out that are held as weights."""
        values = list(given)
        for place, name in self.held:
            values.insert(place, getattr(self, name))
        return OPS[type(self).__name__](self.attributes, *values)


@cache
def kind(operator: str) -> type[Node]:
    """The class of the nodes of an operator: rows of an audit are told by the name of a class."""
    return type(operator, (Node,), {"__doc__": f"A node of the operator {operator}."})


class Scope(nn.Module):
    """Nodes that stand together; it is there for their names and is not called itself."""


class Step(NamedTuple):
    """One call: the node as it is told in errors, and the values that it reads and makes."""

    title: str
    run: Callable[..., Any]
    inputs: Sequence[str]  # empty: left out
    outputs: Sequence[str]


Steps = list[tuple[Step, list[str]]]  # each with the values that are not read again


def planned(steps: Sequence[Step], outputs: Sequence[str]) -> Steps:
    """The steps, and after which of them a value is not needed any more."""
    wanted, plan = set(outputs), []
    for step in reversed(steps):
        names = set(filter(None, chain(step.inputs, step.outputs)))
        plan.append((step, sorted(names - wanted)))
        wanted |= names
    return plan[::-1]


class Choice:
    """An If: one of two lists of steps, by a number that the graph has computed about shapes."""

    def __init__(self, then: Branch, other: Branch) -> None:
        self.branches = (other, then)
        self.inputs = list(dict.fromkeys([*then.reads(), *other.reads()]))

    def __call__(self, condition: Any, *given: Any) -> tuple[Any, ...]:
        """The outputs of the branch; `given` are the values of `inputs`."""
        steps, outputs = self.branches[bool(condition)]
        values = dict(zip(self.inputs, given, strict=True))
        run(planned(steps, outputs), values)
        return tuple(values[name] for name in outputs)


class Branch(NamedTuple):
    """One side of an If."""

    steps: list[Step]
    outputs: list[str]

    def reads(self) -> list[str]:
        """The values that it takes from the graph around it."""
        made = {name for step in self.steps for name in step.outputs}
        names = chain(self.outputs, *(step.inputs for step in self.steps))
        return [name for name in names if name and name not in made]


class OnnxNet(nn.Module):
    """Images (B, C, H, W) -> the output of the graph, or a tuple if it has several.

    `input` is (C, H, W) of one image; None where the file leaves a size open. `channels_last`
    says that the graph itself takes images (B, H, W, C), and `fixed` that the file never gives
    the net images of another size than `input`.
    """

    def __init__(self, image: str, outputs: Sequence[str], sizes: Sequence[int | None]) -> None:
        super().__init__()
        self.image = image
        self.outputs = outputs
        self.input = tuple(sizes)
        self.channels_last = False
        self.fixed = False
        self.numbers: dict[str, Any] = {}  # stored in the file: shapes, axes, scales
        self.steps: Steps = []

    def add(self, path: str, node: Node) -> None:
        """Make a node the layer a.b.c, or a.b.c_2 if there is one of that name."""
        home: nn.Module = self
        *scopes, last = path.split(".")
        for part in scopes:
            name = _free(home, part, scope=True)
            if not hasattr(home, name):
                home.add_module(name, Scope())
            home = home.get_submodule(name)
        home.add_module(_free(home, last), node)

    def forward(self, image: Tensor) -> Any:
        """Raises NetError, naming the node, where an image does not fit the graph."""
        values: dict[str, Any] = dict(self.numbers)
        values[self.image] = image.permute(0, 2, 3, 1) if self.channels_last else image
        run(self.steps, values)
        first, *others = (values[name] for name in self.outputs)
        return (first, *others) if others else first


def run(steps: Steps, values: dict[str, Any]) -> None:
    """Take the steps; `values` gets what they make, and loses what is not read again."""
    for step, done in steps:
        values.update(_results(step, values))
        for name in done:  # an audit counts the bytes that are alive
            values.pop(name, None)


def _results(step: Step, values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    given = [values[name] if name else None for name in step.inputs]
    try:
        made = step.run(*given)
    except Exception as wrong:
        reason = (str(wrong) or type(wrong).__name__).splitlines()[0]
        shapes = ["x".join(map(str, one.shape)) for one in given if isinstance(one, Tensor)]
        on = f" on {', '.join(shapes)}" if shapes else ""
        raise NetError(f"{step.title} fails{on}: {reason}") from wrong
    return zip(step.outputs, made if isinstance(made, (tuple, list)) else (made,), strict=False)


def _free(home: nn.Module, name: str, *, scope: bool = False) -> str:
    """A name that a module does not have yet; one that its scopes have will do for a scope."""
    tries = chain([name], (f"{name}_{number}" for number in count(2)))
    return next(
        tried
        for tried in tries
        if not hasattr(home, tried) or (scope and isinstance(getattr(home, tried), Scope))
    )
