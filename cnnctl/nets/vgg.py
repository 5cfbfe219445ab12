"""VGG (Simonyan, Zisserman 2015, table 1).

Five stages of small convolutions that keep the size, each closed by a 2x2 max pool, then three
dense layers. The layers are named by stage and place: conv1_1 … conv5_4, pool1 … pool5, fc6 ….
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from cnnctl.config.kinds import show
from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import Activation, Layers, Lrn, Norm, classifier, flat_features, unit
from cnnctl.nets.net import Net

CONV = re.compile(r"conv([0-9]*[13579])-([1-9][0-9]*)")  # an even kernel cannot keep the size


@dataclass(frozen=True, kw_only=True)
class Spec(spec.Spec):
    """One column of table 1."""

    stages: tuple[tuple[str, ...], ...] = key("layers between the pools: conv3-64, lrn, …")
    hidden: tuple[int, ...] = key("units of the dense layers before the last", min=1)
    activation: Activation = key("after every layer with weights but the last")
    norm: Norm = key("between a convolution and its activation")
    dropout: float = key("share of the hidden outputs that training sets to 0", min=0, below=1)

    def problems(self) -> Iterator[Problem]:
        """Words that are no layer, and dropout without effect."""
        yield from unknown(self.stages)
        if self.dropout and not self.hidden:
            text = f"model.dropout is {self.dropout:g}, but model.hidden is empty"
            yield Problem(text, "model.dropout=0", "model.dropout")


class Vgg(Net):
    """(B, in_channels, 224, 224) -> logits (B, num_classes); images from 32x32 work too."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        layers: Layers = OrderedDict()
        c_in = shape[0]
        for number, words in enumerate(spec.stages, start=1):
            made, c_in = stage(number, words, c_in, spec.norm, spec.activation)
            layers |= made
            layers[f"pool{number}"] = nn.MaxPool2d(2)
        dense = classifier(
            spec.hidden, flat_features(layers, shape), num_classes, first=len(spec.stages) + 1,
            activation=spec.activation, dropout=spec.dropout,
        )  # fmt: skip
        super().__init__(layers | dense, spec.init)


def unknown(stages: Sequence[Sequence[str]]) -> Iterator[Problem]:
    """The words in `model.stages` that are no layer."""
    for number, words in enumerate(stages):
        for word in words:
            if word != "lrn" and not CONV.fullmatch(word):
                text = f"{show(word)} is no layer; want conv<kernel>-<channels> or lrn"
                hint = "the kernel odd, as in conv3-64"
                yield Problem(f"model.stages.{number}: {text}", hint, "model.stages")


def kernels(words: Sequence[str]) -> list[tuple[int, int]]:
    """Kernel and channels of each convolution of a stage."""
    found = (CONV.fullmatch(word) for word in words)
    return [(int(one[1]), int(one[2])) for one in found if one]


def stage(
    number: int, words: Sequence[str], c_in: int, norm: str, activation: str
) -> tuple[Layers, int]:
    """The layers of one stage without its pool, and their channels."""
    layers: Layers = OrderedDict()
    places = {"conv": 0, "lrn": 0}
    for word in words:
        found = kernels([word])
        kind = "conv" if found else "lrn"
        places[kind] += 1
        name = f"{kind}{number}_{places[kind]}"
        if found:
            ((kernel, c_out),) = found
            layers |= unit(name, c_in, c_out, kernel, norm=norm, activation=activation, bias=True)
            c_in = c_out
        else:
            layers[name] = Lrn()
    return layers, c_in
