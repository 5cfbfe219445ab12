"""The pattern of a convolutional net (CS231n 2017, lecture 5, summary).

[(CONV-RELU)×N-POOL?]×M-(FC-RELU)×K-FC, where N is usually up to about 5, M large and K at
most 2. Its shape is that of two lists: `levels` has M rows of N widths, `hidden` K widths.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import POOLS, Activation, Layers, Norm, classifier, flat_features, unit
from cnnctl.nets.net import Net


@dataclass(frozen=True, kw_only=True)
class Spec(spec.Spec):
    """N, M, K and what stands in their places."""

    levels: tuple[tuple[int, ...], ...] = key("widths of the convolutions of each level", min=1)
    kernel: int = key("side of every convolution's kernel", min=1)
    padding: Literal["same", "valid"] = key("zeros around an image: as many as keep its size, none")
    norm: Norm = key("after every convolution")
    activation: Activation = key("after every layer but the last")
    activation_after: Literal["each", "level"] = key("each layer, or only each level")
    pool: Literal["max", "avg", "none"] = key("halves the images after each level")
    dropout: float = key("before every hidden layer, the share set to 0", min=0, below=1)
    hidden: tuple[int, ...] = key("units of each hidden dense layer", min=1)

    def problems(self) -> Iterator[Problem]:
        """Levels without a convolution, kernels without a padding, dropout without a place."""
        if not self.levels:
            text = "model.levels must have at least one level, such as [[32, 32]], got []"
            yield Problem(text, key="model.levels")
        for number, widths in enumerate(self.levels):
            if not widths:
                name = f"model.levels.{number}"
                text = f"{name} must have at least one convolution, such as [32], got []"
                yield Problem(text, key=name)
        if self.padding == "same" and self.kernel % 2 == 0:
            text = f"model.kernel must be odd for model.padding=same, got {self.kernel}"
            hint = "(kernel − 1)/2 zeros on each side keep the size"
            yield Problem(text, hint, "model.kernel")
        if self.dropout and not self.hidden:
            text = f"model.dropout must be 0 without a hidden layer, got {self.dropout}"
            yield Problem(text, "it stands before those of model.hidden", "model.dropout")


class Pattern(Net):
    """(B, in_channels, H, W) -> logits (B, num_classes)."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        layers: Layers = OrderedDict()
        c_in = shape[0]
        for number, widths in enumerate(spec.levels, start=1):
            layers |= _level(spec, number, c_in, widths)
            c_in = widths[-1]
        dense = classifier(
            spec.hidden, flat_features(layers, shape), num_classes, first=1,
            activation=spec.activation if spec.activation_after == "each" else "none",
            dropout=spec.dropout, dropout_on="inputs",
        )  # fmt: skip
        super().__init__(layers | dense, spec.init)


def _level(spec: Spec, number: int, c_in: int, widths: tuple[int, ...]) -> Layers:
    """Convolutions conv<number>_1, conv<number>_2, … and pool<number>."""
    layers: Layers = OrderedDict()
    for place, c_out in enumerate(widths, start=1):
        active = spec.activation_after == "each" or place == len(widths)
        layers |= unit(
            f"conv{number}_{place}", c_in, c_out, spec.kernel,
            padding=0 if spec.padding == "valid" else None,
            norm=spec.norm, activation=spec.activation if active else "none",
        )  # fmt: skip
        c_in = c_out
    if spec.pool != "none":
        layers[f"pool{number}"] = POOLS[spec.pool](2)
    return layers
