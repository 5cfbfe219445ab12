"""Inception-v3 and v4: modules of parallel branches, each branch a text in the YAML file.

Szegedy et al. 2016, Rethinking the Inception architecture for computer vision, table 1, and
Szegedy et al. 2017, Inception-v4, Inception-ResNet and the impact of residual connections on
learning, figure 9. A branch reads as the figures draw it: `1x1 64, 3x3 96 /2 V` is 64 maps
from 1x1 kernels, then 96 from 3x3 kernels at stride 2, V for valid: without padding. What has
no V keeps the size, up to its stride. `1x3+3x1 256` are two kernels side by side on the same
input, 256 maps each. Pools are 3x3.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from torch import nn

from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import Activation, Concat, Layers, Norm, head, unit
from cnnctl.nets.taps import Tap, TappedNet

EPS = 1e-3  # of batch normalisation, in the nets that the authors published
AUX = (128, 768)  # maps of the auxiliary classifier's two convolutions there
POOLS: dict[str, Callable[..., nn.Module]] = {
    "avg": nn.AvgPool2d,
    "avg_inside": partial(nn.AvgPool2d, count_include_pad=False),
    "max": nn.MaxPool2d,
}
KERNEL = r"\d*[13579]x\d*[13579]"  # odd sides, so that padding can keep the size
STEP = re.compile(  # kernels and width, or a pool; then stride and V
    rf"(?:({KERNEL}(?:\+{KERNEL})*) ([1-9]\d*)|({'|'.join(POOLS)}))(?: /([1-9]\d*))?( V)?",
    re.ASCII,
)
STEPS = "such as '1x7 192', '3x3 384 /2 V', '1x3+3x1 256', 'avg', 'avg_inside' or 'max /2 V'"
NAME = re.compile(r"(conv|pool|stem|mixed|inception|reduction)\w*", re.ASCII)
NAMES = "conv, pool, stem, mixed, inception or reduction, then letters, digits or _"
SIDES = range(96, 108)  # leave every remainder that a stride up to 12 can leave

Size = tuple[int, int]
Unit = Callable[..., Layers]


class Step(NamedTuple):
    """Convolutions side by side with `width` maps each, or a pool."""

    kernels: tuple[Size, ...]
    width: int
    pool: str | None
    stride: int
    valid: bool

    def padding(self, extent: int) -> int:
        """Pixels at either end of a side, for a kernel of this extent."""
        return 0 if self.valid else extent // 2

    def left(self, pixels: int, extent: int) -> int:
        """Pixels that such a kernel makes of them."""
        return (pixels + 2 * self.padding(extent) - extent) // self.stride + 1


class Row(NamedTuple):
    """A module, or `times` numbered ones in a row."""

    name: str
    times: int
    branches: tuple[str, ...]

    def names(self) -> list[str]:
        """Of the layers that it stands for."""
        numbers = range(1, self.times + 1)
        return [self.name] if self.times == 1 else [f"{self.name}{n}" for n in numbers]

    def reduces(self) -> bool:
        """Whether a stride makes the maps smaller."""
        return any(step.stride > 1 for branch in self.branches for step in steps(branch))


@dataclass(frozen=True, kw_only=True)
class Spec(spec.ImageNetSpec):
    """The numbers of the papers' figures."""

    stem: tuple[Row, ...] = key("the first modules; of a small input only the last one reduces")
    modules: tuple[Row, ...] = key("name, times and branches, such as '1x1 64, 3x3 96 /2 V'")
    activation: Activation = key("after every convolution")
    norm: Norm = key("between a convolution and its activation")
    dropout: float = key("share of the last features that training sets to 0", min=0, below=1)
    aux: float | None = key("weight of the auxiliary classifier's loss; null: none", above=0)

    def problems(self) -> Iterator[Problem]:
        """What is no branch, branches of unlike sizes, names that no layer can have."""
        wrong, taken = [], set()
        for table, rows in (("stem", self.stem), ("modules", self.modules)):
            for number, row in enumerate(rows):
                where = f"model.{table}.{number}"
                said = [*_wrong(row)]
                if taken.intersection(row.names()):
                    said.append((f"there is another '{row.name}'", None))
                taken.update(row.names())
                wrong += [Problem(f"{where}: {text}", hint, where) for text, hint in said]
        yield from wrong
        if not wrong and self.aux and self.tapped is None:
            text = "model.aux: its classifier stands before the last module with a stride"
            yield Problem(text, "model.modules has none: model.aux=null", "model.aux")

    @property
    def tapped(self) -> Row | None:
        """The module that takes what the auxiliary classifier takes: the last to reduce it."""
        return next((row for row in reversed(self.modules) if row.reduces()), None)


def steps(branch: str) -> list[Step]:
    """The layers of a branch; raises ValueError with the first part that is none."""
    found = []
    for text in branch.split(", "):
        match = STEP.fullmatch(text)
        if match is None:
            raise ValueError(text)
        kernels, width, pool, stride, valid = match.groups()
        sides = [kernel.split("x") for kernel in (kernels or "3x3").split("+")]
        pairs = tuple((int(height), int(width)) for height, width in sides)
        if len({*pairs}) < len(pairs):
            raise ValueError(text)
        found.append(Step(pairs, int(width or 0), pool, int(stride or 1), valid is not None))
    return found


def sizes(branch: list[Step], side: int) -> set[Size]:
    """What a branch makes of a square map; more than one if its kernels disagree."""
    found = {(side, side)}
    for step in branch:
        found = {
            (step.left(height, kernel[0]), step.left(width, kernel[1]))
            for height, width in found
            for kernel in step.kernels
        }
    return found


def _wrong(row: Row) -> Iterator[tuple[str, str | None]]:
    """What is wrong with a module, and what to write instead."""
    if not NAME.fullmatch(row.name):
        yield f"'{row.name}' is no name of a module", NAMES
    if row.times < 1:
        yield f"times must be at least 1, got {row.times}", None
    if not row.branches:
        yield "a module needs at least one branch", None
    try:
        branches = [steps(branch) for branch in row.branches]
    except ValueError as wrong:
        yield f"'{wrong}' is no layer of a branch", STEPS
        return
    for side in SIDES:
        ends = sorted({end for branch in branches for end in sizes(branch, side)})
        if len(ends) > 1:
            shown = " and ".join(f"{height}x{width}" for height, width in ends)
            text = f"side by side, its branches make {shown} of {side}x{side}"
            yield text, "the same strides and V in each"
            return


class Inception(TappedNet):
    """(B, in_channels, 299, 299) -> logits (B, num_classes); smaller images work too."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        conv = partial(unit, norm=spec.norm, activation=spec.activation, eps=EPS)
        layers: Layers = OrderedDict()
        width = shape[0]
        for row in (*spec.stem, *spec.modules):
            keep = spec.small_input and row in spec.stem[:-1]
            if spec.aux and row is spec.tapped:
                layers["aux"] = _aux(conv, width, num_classes, small=spec.small_input)
            for name in row.names():
                layers[name], width = _module(conv, row, width, keep=keep)
        layers |= head(width, num_classes, spec.dropout)
        super().__init__(layers, spec.init, spec.aux or 0)


def _module(conv: Unit, row: Row, c_in: int, *, keep: bool) -> tuple[nn.Module, int]:
    """The branches of a row and their maps; `keep` leaves the size as it is."""
    branches: Layers = OrderedDict()
    total = 0
    for number, text in enumerate(row.branches, start=1):
        layers: Layers = OrderedDict()
        width = c_in
        for place, given in enumerate(steps(text), start=1):
            step = given._replace(stride=1, valid=False) if keep else given
            kind = "pool" if step.pool else "conv"
            layers[f"{kind}{place}"], width = _step(conv, step, width)
        branches[f"branch{number}"] = nn.Sequential(layers)
        total += width
    return Concat(branches) if len(branches) > 1 else branches["branch1"], total


def _step(conv: Unit, step: Step, c_in: int) -> tuple[nn.Module, int]:
    """A layer of a branch and its maps."""
    if step.pool:
        return POOLS[step.pool](3, step.stride, step.padding(3)), c_in
    sides: Layers = OrderedDict()
    for kernel in step.kernels:
        height, width = kernel
        padding = (step.padding(height), step.padding(width))
        layers = conv("conv", c_in, step.width, kernel, stride=step.stride, padding=padding)
        sides[f"{height}x{width}"] = nn.Sequential(layers)
    layer = Concat(sides) if len(sides) > 1 else next(iter(sides.values()))
    return layer, step.width * len(sides)


def _aux(conv: Unit, c_in: int, num_classes: int, *, small: bool) -> Tap:
    """The auxiliary classifier on the 17x17 grid (Szegedy et al. 2016, figure 8).

    Small maps are not pooled before its 5x5 convolution.
    """
    layers: Layers = OrderedDict() if small else OrderedDict(pool=nn.AvgPool2d(5, 3))
    layers |= conv("conv1", c_in, AUX[0], 1) | conv("conv2", *AUX, 5, padding=0)
    return Tap(layers | head(AUX[1], num_classes))
