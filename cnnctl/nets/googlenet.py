"""GoogLeNet (Szegedy et al. 2015, section 5, table 1, figures 2 and 3).

Inception modules: 1x1, 3x3 and 5x5 convolutions and a pool look at the same maps, and their
outputs stand side by side. 1x1 convolutions before the large kernels keep that cheap.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

from torch import nn

from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import (
    Activation,
    Concat,
    Layers,
    Lrn,
    Norm,
    dense,
    flat_features,
    head,
    unit,
)
from cnnctl.nets.taps import Tap, TappedNet

EPS = 1e-3  # of the batch normalisation in all of Google's Inception nets
AUX = {"inception4a": "aux1", "inception4d": "aux2"}  # section 5: where the classifiers stand
AUX_MAPS, AUX_UNITS, AUX_DROPOUT = 128, 1024, 0.7  # section 5


class Module(NamedTuple):
    """The columns of table 1."""

    n1x1: int
    n3x3_reduce: int
    n3x3: int
    n5x5_reduce: int
    n5x5: int
    pool_proj: int


@dataclass(frozen=True, kw_only=True)
class Spec(spec.ImageNetSpec):
    """The numbers of table 1."""

    stem: tuple[int, int, int] = key("maps of conv1, conv2_reduce and conv2", min=1)
    stages: tuple[tuple[Module, ...], ...] = key(
        "rows of table 1, a list for each size of the maps: "
        "#1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj",
        min=1,
    )
    inception: Literal["reduced", "naive"] = key(
        "naive (figure 2a): no 1x1 before a kernel or after the pool, those columns stand idle"
    )
    kernel5: Literal[5, 3] = key("side of the kernels in the 5x5 branch")
    last_pool: int = key("kernel of the max pool before the last stage; 3 before the others", min=1)
    lrn: bool = key("local response normalisation before and after conv2")
    activation: Activation = key("after every convolution")
    norm: Norm = key("between a convolution and its activation")
    dropout: float = key("share of the last features that training sets to 0", min=0, below=1)
    aux: float | None = key(
        "weight of the loss of the two classifiers that training adds; null: none", above=0
    )

    def problems(self) -> Iterator[Problem]:
        """Stages without modules, and classifiers on modules that are not there."""
        tables = {f"model.stages.{number}": rows for number, rows in enumerate(self.stages)}
        for where, rows in {"model.stages": self.stages, **tables}.items():
            if not rows:
                yield Problem(f"{where}: want at least one row, got []", key=where)
        names = [
            _name(stage, place)
            for stage, rows in enumerate(self.stages)
            for place, _ in enumerate(rows)
        ]
        for name in AUX:
            if self.aux is not None and name not in names:
                text = f"model.aux: a classifier stands on {name}, which model.stages does not have"
                yield Problem(text, "model.aux=null", "model.aux")


class GoogLeNet(TappedNet):
    """(B, in_channels, H, W) -> logits (B, num_classes).

    In training with `aux` a tuple: the logits, and those of the classifiers on 4a and 4d.
    """

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        layers, c_in = _stem(spec, shape[0]), spec.stem[-1]
        for stage, rows in enumerate(spec.stages):
            last = stage == len(spec.stages) - 1
            layers[f"pool{stage + 2}"] = _pool(spec.last_pool if last else 3)
            for place, row in enumerate(rows):
                name = _name(stage, place)
                layers[name], c_in = inception(row, c_in, spec)
                if spec.aux is not None and name in AUX:
                    layers[AUX[name]] = _tap(AUX[name], layers, c_in, num_classes, shape, spec)
        layers |= head(c_in, num_classes, spec.dropout)
        super().__init__(layers, spec.init, spec.aux or 0)


def inception(row: Module, c_in: int, spec: Spec) -> tuple[Concat, int]:
    """A module of figure 2 on `c_in` maps, and its maps: (B, c_in, H, W) -> (B, maps, H, W)."""
    conv = _conv(spec)
    pool: Layers = OrderedDict(pool=nn.MaxPool2d(3, 1, padding=1))
    branches = {"1x1": conv("1x1", c_in, row.n1x1, 1)}
    if spec.inception == "naive":
        branches["3x3"] = conv("3x3", c_in, row.n3x3, 3)
        branches["5x5"] = conv("5x5", c_in, row.n5x5, spec.kernel5)
        branches["pool"] = pool
        pooled = c_in
    else:
        branches["3x3"] = conv("3x3_reduce", c_in, row.n3x3_reduce, 1)
        branches["3x3"] |= conv("3x3", row.n3x3_reduce, row.n3x3, 3)
        branches["5x5"] = conv("5x5_reduce", c_in, row.n5x5_reduce, 1)
        branches["5x5"] |= conv("5x5", row.n5x5_reduce, row.n5x5, spec.kernel5)
        branches["pool"] = pool | conv("pool_proj", c_in, row.pool_proj, 1)
        pooled = row.pool_proj
    module = Concat({name: nn.Sequential(layers) for name, layers in branches.items()})
    return module, row.n1x1 + row.n3x3 + row.n5x5 + pooled


def _stem(spec: Spec, c_in: int) -> Layers:
    """Table 1 up to conv2: maps of a quarter of the image's side, of all of it if it is small."""
    conv = _conv(spec)
    c1, reduced, c2 = spec.stem
    if spec.small_input:
        layers = conv("conv1", c_in, c1, 3)
    else:
        layers = conv("conv1", c_in, c1, 7, stride=2)
        layers["pool1"] = _pool(3)
    if spec.lrn:
        layers["norm1"] = Lrn()
    layers |= conv("conv2_reduce", c1, reduced, 1) | conv("conv2", reduced, c2, 3)
    if spec.lrn:
        layers["norm2"] = Lrn()
    return layers


def _tap(  # noqa: PLR0913 - what it stands on, and what a net is built from
    name: str, layers: Layers, c_in: int, num_classes: int, shape: tuple[int, int, int], spec: Spec
) -> Tap:
    """An auxiliary classifier on the `c_in` maps that `layers` give (section 5)."""
    features: Layers = OrderedDict(pool=nn.AvgPool2d(5, 3))
    features |= _conv(spec)("conv", c_in, AUX_MAPS, 1) | {"flatten": nn.Flatten()}
    path = {key: layer for key, layer in layers.items() if not isinstance(layer, Tap)}
    width = flat_features(OrderedDict(path) | {name: nn.Sequential(features)}, shape)
    hidden, width = dense([AUX_UNITS], width, spec.activation, dropout=AUX_DROPOUT)
    return Tap(features | hidden | OrderedDict(fc=nn.Linear(width, num_classes)))


def _conv(spec: Spec) -> partial[Layers]:
    return partial(unit, norm=spec.norm, activation=spec.activation, eps=EPS)


def _pool(kernel: int) -> nn.MaxPool2d:
    """Table 1's sizes round up: 112, 56, 28, 14, 7."""
    return nn.MaxPool2d(kernel, 2, ceil_mode=True)


def _name(stage: int, place: int) -> str:
    return f"inception{stage + 3}{chr(ord('a') + place)}"
