"""LeNet-5 as it was (LeCun et al. 1998, section II.B, figure 2, table I, appendix A).

Beside `lenet`, C3 sees only the maps of table I, the subsampling learns, and the output layer
measures the distance to a picture of each class.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import codes, spec
from cnnctl.nets.blocks import ACTIVATIONS, Activation, Concat, Layers, dense, flat_features
from cnnctl.nets.net import Net

Table = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Spec(spec.Spec):
    """The numbers of figure 2 and table I."""

    maps: tuple[int, int] = key("maps of C1 and C5", min=1)
    table: Table = key("for every map of C3, the maps of S2 that it sees", min=0)
    kernel: int = key("side of every convolution's kernel", min=1)
    hidden: int = key("units of F6", min=1)
    activation: Activation = key("after every layer but the last")
    output: Literal["rbf", "linear"] = key("distance to each class's code, or a dense layer")
    rubbish: float | None = key("j of equation 9: penalty of the answer 'none of these'", min=0)

    def problems(self) -> Iterator[Problem]:
        """A table that does not fit C1, and codes that do not fit F6."""
        c1 = self.maps[0]
        for number, seen in enumerate(self.table):
            place = f"model.table.{number}"
            if not seen or len(set(seen)) < len(seen) or max(seen) >= c1:
                text = f"{place} must name maps of S2, 0 to {c1 - 1}, each once, got {list(seen)}"
                yield Problem(text, key=place)
        unseen = sorted(set(range(c1)) - set(chain(*self.table)))
        if unseen:
            text = f"model.table: no row names the maps {unseen} of S2"
            yield Problem(text, "they could not learn", "model.table")
        if self.output == "rbf" and self.hidden != codes.LENGTH:
            text = f"model.hidden must be {codes.LENGTH} with model.output=rbf, got {self.hidden}"
            yield Problem(text, "a code is a bitmap of 7x12", "model.hidden")
        if self.output == "linear" and self.rubbish is not None:
            text = f"model.rubbish={self.rubbish:g} has no effect with model.output=linear"
            yield Problem(text, "set model.rubbish=null", "model.rubbish")


class Subsample(nn.AvgPool2d):
    """Sum of each 2x2 x coefficient + bias, both trainable, one of each per map."""

    def __init__(self, maps: int) -> None:
        super().__init__(2)
        self.coefficient = nn.Parameter(torch.full((maps, 1, 1), 0.25))  # the mean, at first
        self.bias = nn.Parameter(torch.zeros(maps, 1, 1))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """(B, maps, H, W) -> (B, maps, H/2, W/2)."""
        return 4 * super().forward(input) * self.coefficient + self.bias


class Pick(nn.Module):
    """Some maps, in the order of their numbers in `maps`."""

    maps: Tensor

    def __init__(self, maps: list[int]) -> None:
        super().__init__()
        self.register_buffer("maps", torch.tensor(maps))

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, len(maps), H, W)."""
        return value.index_select(1, self.maps)


class Rbf(nn.Module):
    """Minus the squared distance to the code of each class: y of equation 7, negated."""

    codes: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.tensor(codes.codes(num_classes)))

    def forward(self, value: Tensor) -> Tensor:
        """(B, 84) -> logits (B, num_classes)."""
        return -(value.unsqueeze(1) - self.codes).square().sum(2)


def table_conv(table: Table, kernel: int) -> Concat:
    """A convolution whose every output map sees the maps of its own row, and has no other weights.

    Rows of one length that stand together share one grouped convolution.
    """
    branches: Layers = OrderedDict()
    start = 0
    for seen, rows in groupby(table, len):
        picked = list(rows)
        stop = start + len(picked)
        conv = nn.Conv2d(seen * len(picked), len(picked), kernel, groups=len(picked))
        pick = Pick(list(chain(*picked)))
        branches[f"maps{start}_{stop - 1}"] = nn.Sequential(OrderedDict(pick=pick, conv=conv))
        start = stop
    return Concat(branches)


class LeNet1998(Net):
    """(B, in_channels, 32, 32) -> logits (B, num_classes); larger images work too."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        activation, (c1, c5), c3 = ACTIVATIONS[spec.activation], spec.maps, len(spec.table)
        layers: Layers = OrderedDict(
            c1=nn.Conv2d(shape[0], c1, spec.kernel), c1_act=activation(),
            s2=Subsample(c1), s2_act=activation(),
            c3=table_conv(spec.table, spec.kernel), c3_act=activation(),
            s4=Subsample(c3), s4_act=activation(),
            c5=nn.Conv2d(c3, c5, spec.kernel), c5_act=activation(), flatten=nn.Flatten(),
        )  # fmt: skip
        hidden, width = dense([spec.hidden], flat_features(layers, shape), spec.activation, first=6)
        rbf = spec.output == "rbf"
        output: Layers = OrderedDict(
            output=Rbf(num_classes) if rbf else nn.Linear(width, num_classes)
        )
        super().__init__(layers | hidden | output, spec.init)
        self.rubbish = spec.rubbish

    def loss(self, outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """Equation 9: mean of y_label + log(e^−j + Σ e^−y), the logits being −y.

        That is cross-entropy with one more class, of the constant penalty j, which no label
        names: F6 has to come near the code, not only nearer to it than to the others.
        """
        assert isinstance(outputs, Tensor)
        if self.rubbish is not None:
            outputs = pad(outputs, (0, 1), value=-self.rubbish)
        return super().loss(outputs, labels)
