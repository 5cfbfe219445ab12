"""One walk over a net: what each call of a layer, and each operation between them, makes of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from cnnctl.audit import geometry
from cnnctl.audit.ghost import Ghost, run
from cnnctl.audit.live import Live
from cnnctl.audit.macs import macs
from cnnctl.audit.reach import Reach
from cnnctl.audit.sight import Field
from cnnctl.audit.skips import Skips
from cnnctl.nets import meta

Workspace = Callable[[Any, Sequence[Any], Any], int]  # bytes, from operation, arguments, result
INDEX = torch.int64  # what is counted out between layers has no row
LAYER = "cnnctl layer"  # the name under which a node of the graph keeps its layer


@dataclass(eq=False)
class Row:
    """One call of a layer, or one operation outside any.

    `inputs` and `output` are shapes without the batch, `values` those of one image; `params` and
    `weights` (without biases) are those used here for the first time. Of the whole batch are
    `macs` and the bytes `kept`, still alive after the forward pass.
    """

    name: str
    type: str
    call: int
    kind: str = geometry.SILENT
    form: geometry.Form | None = None
    inputs: tuple[int, ...] = ()
    output: tuple[int, ...] = ()
    values: int = 0
    params: int = 0
    weights: int = 0
    macs: int = 0
    kept: int = 0
    before: Field | None = None
    field: Field | None = None
    made: bool = False  # whether it made new values, rather than a view or nothing


@dataclass
class _Frame:
    """A module that is being called."""

    path: str
    call: int
    row: Row | None  # of a module without parts


@dataclass
class Walk:
    """What a walk found: the rows in their order, and the multiply-adds by phase."""

    rows: list[Row] = field(default_factory=list)
    macs: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    used: set[str] = field(default_factory=set)  # names of the parameters that took part


class Trace(meta.Meta):
    """While open, every operation is written down; forward hooks tell which layer it is in."""

    def __init__(
        self,
        ghost: Ghost,
        live: Live | None = None,
        reach: Reach | None = None,
        workspace: Workspace = lambda *_: 0,
    ) -> None:
        super().__init__()
        self.walk = Walk()
        self.live = live
        self.reach = reach
        self.workspace = workspace
        self.skips: Skips | None = None
        self.phase = "forward"
        self.made = "activations"  # what new storages count as; nothing if empty
        self.op = ""
        self.frames: list[_Frame] = []
        self.paths = {module: path for path, module in ghost.net.named_modules()}
        self.calls: defaultdict[str, int] = defaultdict(int)
        self.unused = {
            id(value.untyped_storage()): (name, value.numel())
            for name, value in reversed(ghost.parameters.items())
        }
        self.parameters = frozenset(self.unused)

    def place(self) -> tuple[str, str, str]:
        """Phase, layer and operation, as of now."""
        return self.phase, self._layer(), self.op

    @contextmanager
    def open(self) -> Iterator[Walk]:
        """Follow what happens inside."""
        hooks = (
            torch_module.register_module_forward_pre_hook(self._enter),
            torch_module.register_module_forward_hook(self._leave, always_call=True),
        )
        try:
            with self:
                yield self.walk
        finally:
            for hook in hooks:
                hook.remove()

    def keep(self) -> None:
        """Tell each row what of its results is alive still."""
        assert self.live is not None
        for owner, size in self.live.owned().items():
            if isinstance(owner, Row):
                owner.kept = size

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation and write it down."""
        out = run(func, args, kwargs, backward=self.phase == "backward")
        self.op = func.__name__.partition(".")[0]
        cost = macs(func, args, out)
        self.walk.macs[self.phase] += cost
        row = self._row(func, args, out) if self.frames else None
        if row is not None:
            row.macs += cost
        if self.live is not None and self.made:
            for value in geometry.tensors((out,)):
                self.live.add(value, self.made, row)
            self.live.moment("workspace", self.workspace(func, args, out))
        if self.skips is not None and self.phase == "forward":
            self.skips.follow(func, args, out)
        if self.reach is not None:
            self.reach.follow(func, args, out)
            if row is not None and self.frames[-1].row is None:
                row.field = self.reach.of(next(geometry.tensors((out,))))
        return out

    def _row(self, func: Any, args: Sequence[Any], out: Any) -> Row | None:
        """The row that an operation belongs to; none for a view outside any layer."""
        frame = self.frames[-1]
        given = list(geometry.tensors(args))
        first = next((value for value in given if not self._owned(value)), None)
        result = next(iter(geometry.tensors((out,))), None)
        made = result is not None and not geometry.shares(result, given)
        row = frame.row
        if row is None:
            if result is None or not (made or geometry.in_place(func)) or result.dtype == INDEX:
                return None
            row = self._between(frame, func, result)
            row.inputs = () if first is None else tuple(first.shape[1:])
        row.made = row.made or made
        kind, form = geometry.read(func, args)
        if geometry.RANK[kind] > geometry.RANK[row.kind]:
            row.kind, row.form = kind, form or row.form
            if first is not None:
                row.inputs = tuple(first.shape[1:])
                row.before = None if self.reach is None else self.reach.of(first)
        for value in given:
            self._use(value, row)
        return row

    def _between(self, frame: _Frame, func: Any, result: Tensor) -> Row:
        name = func.__name__.partition(".")[0].strip("_")
        name = name.removeprefix("native_").removesuffix("_with_indices")
        path = f"{frame.path}.{name}".strip(".")
        row = Row(path, name, self.calls[path])
        self.calls[path] += 1
        row.output, row.values = tuple(result.shape[1:]), _values(result)
        self.walk.rows.append(row)
        return row

    def _owned(self, value: Tensor) -> bool:
        """Whether a tensor is a parameter, or a view of one."""
        return id(value.untyped_storage()) in self.parameters

    def _use(self, value: Tensor, row: Row) -> None:
        """A parameter counts in the row that uses it first."""
        name, count = self.unused.pop(id(value.untyped_storage()), ("", 0))
        if name:
            self.walk.used.add(name)
            row.params += count
            row.weights += 0 if name.rpartition(".")[2] == "bias" else count

    def _enter(self, module: nn.Module, given: Any) -> None:
        above = self.frames[-1].path if self.frames else ""
        for value in geometry.tensors(given):
            if value.grad_fn is not None:  # made between layers
                _label(value.grad_fn, above)
        kind = type(module)
        path = self.paths.get(module, f"{above}.{kind.__name__}".strip("."))
        call, self.calls[path] = self.calls[path], self.calls[path] + 1
        row = None
        layer = self.frames or kind.__module__.startswith("torch.nn.")  # not a whole net of its own
        if layer and next(module.children(), None) is None:
            row = Row(path, kind.__name__, call, geometry.kind_of(module))
            self.walk.rows.append(row)
        self.frames.append(_Frame(path, call, row))

    def _leave(self, _: nn.Module, given: Any, out: Any) -> None:
        frame = self.frames.pop()
        result = next(iter(geometry.tensors((out,))), None)
        if result is None:
            return
        if frame.row is not None:
            row = frame.row
            row.output = tuple(result.shape[1:])
            row.values = _values(result)
            row.field = None if self.reach is None else self.reach.of(result)
            first = next(iter(geometry.tensors(given)), None)
            if first is not None and not row.inputs:
                row.inputs = tuple(first.shape[1:])
                row.before = None if self.reach is None else self.reach.of(first)
        if result.grad_fn is not None:
            _label(result.grad_fn, frame.path)

    def _layer(self) -> str:
        """The layer that is at work: of the forward pass, or the one whose gradient is taken."""
        if self.frames:
            return self.frames[-1].path
        node: Any = torch._C._current_autograd_node()  # noqa: SLF001 - there is no public name
        return "" if node is None else node.metadata.get(LAYER, "")


def _values(result: Tensor) -> int:
    """Values of one image."""
    return result.numel() // max(1, result.shape[0]) if result.dim() else 1


def _label(node: Any, path: str) -> None:
    """Name the nodes that a layer has added to the graph: those not named by its parts."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one is None or LAYER in one.metadata:
            continue
        one.metadata[LAYER] = path
        waiting += [parent for parent, _ in one.next_functions]
