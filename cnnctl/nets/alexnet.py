"""AlexNet and its kin (Krizhevsky et al. 2012, figure 2; Zeiler, Fergus 2014, figure 3).

Five convolutions, three overlapping pools, responses normalised across neighbouring maps, three
dense layers. Layers with weights are numbered through, as in the papers: conv1 … conv5, fc6 …;
pools and normalisations count for themselves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import nn

from cnnctl.config.kinds import alternatives, show
from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import Activation, Layers, Lrn, classifier, flat_features, unit
from cnnctl.nets.net import Net

FOLLOW = ("none", "pool", "lrn+pool")


class Row(NamedTuple):
    """One convolution, and what stands behind it."""

    maps: int
    kernel: int
    stride: int
    padding: int
    groups: int
    then: str


@dataclass(frozen=True, kw_only=True)
class Spec(spec.ImageNetSpec):
    """The numbers of the figure."""

    convs: tuple[Row, ...] = key(f"a row per convolution; then is {alternatives(FOLLOW)}")
    lrn: Literal["before_pool", "after_pool", "none"] = key("where responses are normalised")
    pool: tuple[int, int] = key("kernel and stride of the max pools", min=1)
    round_up: bool = key("pools keep a last window that lies only partly on the image")
    hidden: tuple[int, ...] = key("units of the dense layers before the last", min=1)
    activation: Activation = key("after every layer with weights but the last")
    dropout: float = key("share that training sets to 0 around hidden layers", min=0, below=1)
    dropout_on: Literal["inputs", "outputs"] = key(
        "side of the hidden layers that dropout works on"
    )
    ones: tuple[str, ...] = key("layers whose biases start at 1")

    @property
    def rows(self) -> list[Row]:
        """`convs`, for small images without strides and with a 3x3 kernel first."""
        if not self.small_input:
            return [*self.convs]
        rows = [row._replace(stride=1) for row in self.convs]
        return [row._replace(kernel=3, padding=1) for row in rows[:1]] + rows[1:]

    @property
    def names(self) -> list[str]:
        """The layers with weights, in order."""
        first = len(self.convs) + 1
        dense = range(first, first + len(self.hidden) + 1)
        return [f"conv{number}" for number in range(1, first)] + [f"fc{number}" for number in dense]

    def problems(self) -> Iterator[Problem]:
        """Rows that cannot be built, names that no layer has, options without effect."""
        c_in = None  # the channels of the images are not known yet
        for number, row in enumerate(self.convs):
            for wrong in _wrong(row, c_in):
                yield Problem(f"model.convs.{number}: {wrong}", key="model.convs")
            c_in = row.maps
        if self.small_input and self.rows == [*self.convs]:
            text = "model.small_input changes nothing in model.convs"
            yield Problem(text, "model.small_input=false", "model.small_input")
        if self.lrn != "none" and all(row.then != "lrn+pool" for row in self.convs):
            text = f"model.lrn is {self.lrn}, but no row of model.convs has lrn+pool"
            yield Problem(text, "model.lrn=none", "model.lrn")
        if self.dropout and not self.hidden:
            text = f"model.dropout is {self.dropout:g}, but model.hidden is empty"
            yield Problem(text, "model.dropout=0", "model.dropout")
        for name in self.ones:
            if name not in self.names:
                text = f"model.ones: {show(name)} is no layer; want {alternatives(self.names)}"
                yield Problem(text, key="model.ones")


def _wrong(row: Row, c_in: int | None) -> Iterator[str]:
    if min(row.maps, row.kernel, row.stride, row.groups) < 1 or row.padding < 0:
        yield f"want padding from 0 and the other numbers from 1, got {list(row)}"
    elif c_in is None and row.groups > 1:
        yield f"the image comes as a whole: groups must be 1, got {row.groups}"
    elif c_in and (c_in % row.groups or row.maps % row.groups):
        yield f"groups must divide {c_in} inputs and {row.maps} maps, got {row.groups}"
    if row.then not in FOLLOW:
        yield f"{show(row.then)} cannot follow; want {alternatives(FOLLOW)}"


class AlexNet(Net):
    """(B, in_channels, 227, 227) -> logits (B, num_classes)."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        layers = _features(spec, shape[0])
        dense = classifier(
            spec.hidden, flat_features(layers, shape), num_classes, first=len(spec.convs) + 1,
            activation=spec.activation, dropout=spec.dropout, dropout_on=spec.dropout_on,
        )  # fmt: skip
        super().__init__(layers | dense, spec.init)
        for name in spec.ones:
            nn.init.ones_(self.get_parameter(f"{name}.bias"))


def _features(spec: Spec, c_in: int) -> Layers:
    layers: Layers = OrderedDict()
    norms = pools = 0
    for number, row in enumerate(spec.rows, start=1):
        layers |= unit(
            f"conv{number}", c_in, row.maps, row.kernel, stride=row.stride, padding=row.padding,
            groups=row.groups, activation=spec.activation,
        )  # fmt: skip
        follow: Layers = OrderedDict()
        if row.then == "lrn+pool" and spec.lrn != "none":
            norms += 1
            follow[f"norm{norms}"] = Lrn()
        if row.then != "none":
            pools += 1
            follow[f"pool{pools}"] = nn.MaxPool2d(*spec.pool, ceil_mode=spec.round_up)
        if spec.lrn == "after_pool":
            follow = OrderedDict(reversed(follow.items()))
        layers |= follow
        c_in = row.maps
    return layers
