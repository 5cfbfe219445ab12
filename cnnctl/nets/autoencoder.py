"""A convolutional autoencoder: an image through a code of few values, and back.

Hinton, Salakhutdinov 2006, Reducing the dimensionality of data with neural networks, for the idea;
Masci, Meier, Cireşan, Schmidhuber 2011, Stacked convolutional auto-encoders for hierarchical
feature extraction, for convolutions and pools on the way to the code. The layers are down1, pool1,
…, flatten, bottleneck, spread, unflatten, up3, back3, …, up1, final.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from cnnctl.config.fields import key
from cnnctl.config.tasks import Task
from cnnctl.errors import Problem
from cnnctl.mirror import mirrored
from cnnctl.nets import spec
from cnnctl.nets.blocks import ACTIVATIONS, Activation, Layers, Norm, unit
from cnnctl.nets.net import Net
from cnnctl.nets.upsample import Unpooled, Upsample, up

Places = dict[str, Tensor]  # by level: the indices of a max pool, for `Unpool`


@dataclass(frozen=True, kw_only=True)
class Spec(spec.Spec):
    """The numbers of the way down; the way up mirrors it."""

    widths: tuple[int, ...] = key("maps of each level, from the top; a pool follows each", min=1)
    code: int = key("values that an image becomes", min=1)
    upsample: Upsample = key("the way up between two levels")
    activation: Activation = key("after every layer but bottleneck and the last")
    norm: Norm = key("between a convolution and its activation")

    def problems(self) -> Iterator[Problem]:
        """Without a level there is nothing to convolve."""
        if not self.widths:
            text = "model.widths must have one level or more, got []"
            yield Problem(text, "model.widths=[16,32,64]", "model.widths")


class Autoencoder(Net):
    """(B, C, H, W) -> the same images, as far as `code` values tell them, (B, C, H, W).

    Every level halves the sides; images whose sides are no such multiple are completed by their
    mirror images, and what is more is cut off again. The dense layers fix the size: it is that of
    `shape`. With `upsample=unpool` the decoder gets the places of the maxima besides the code.
    """

    Spec = Spec
    TASK: ClassVar[Task] = "reconstruct"

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:  # noqa: ARG002 - every family takes the classes
        stride = 2 ** len(spec.widths)
        tall, wide = (-(-side // stride) for side in shape[1:])
        lowest, how = (spec.widths[-1], tall, wide), ACTIVATIONS[spec.activation]
        layers: Layers = OrderedDict()
        for level, (c_in, width) in enumerate(pairwise((shape[0], *spec.widths)), 1):
            layers |= _conv(f"down{level}", c_in, width, spec)
            layers[f"pool{level}"] = nn.MaxPool2d(2, return_indices=spec.upsample == "unpool")
        layers["flatten"] = nn.Flatten()
        layers["bottleneck"] = nn.Linear(spec.widths[-1] * tall * wide, spec.code)
        down = tuple(layers)
        layers["spread"] = nn.Linear(spec.code, spec.widths[-1] * tall * wide)
        layers["spread_act"] = how()
        layers["unflatten"] = nn.Unflatten(1, lowest)
        for level, (c_out, width) in reversed([*enumerate(pairwise((0, *spec.widths)), 1)]):
            layers[f"up{level}"] = up(spec.upsample, width, width)
            if level > 1:
                layers |= _conv(f"back{level}", width, c_out, spec)
        layers["final"] = nn.Conv2d(spec.widths[0], shape[0], 3, padding=1)
        super().__init__(layers, spec.init)
        self.stride = stride
        self.down, self.up = down, tuple(name for name in layers if name not in down)

    def encode(self, images: Tensor) -> Tensor:
        """The code of images (B, C, H, W): (B, code)."""
        return self._down(images)[0]

    def forward(self, value: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] - its places go past the code
        """As the class says."""
        height, width = value.shape[-2:]
        value, places = self._down(value)
        for name in self.up:
            layer = getattr(self, name)
            given = (places[name.removeprefix("up")],) if isinstance(layer, Unpooled) else ()
            value = layer(value, *given)
        return value[..., :height, :width]

    def loss(self, outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """The mean squared error of all values; `labels` are the images (B, C, H, W)."""
        assert isinstance(outputs, Tensor)
        return (outputs - labels).square().mean()  # mse_loss keeps one more image on its way back

    def blank(self, logits: Tensor) -> Tensor:
        """Labels are the images themselves: they take no memory of their own."""
        return torch.zeros((), dtype=logits.dtype, device=logits.device).expand_as(logits)

    def _down(self, images: Tensor) -> tuple[Tensor, Places]:
        """The code, and the places of the pools where they are wanted."""
        tall, wide = (-(-side // self.stride) * self.stride for side in images.shape[-2:])
        value, places = mirrored(images, 0, tall, wide), {}
        for name in self.down:
            value = getattr(self, name)(value)
            if isinstance(value, tuple):
                value, places[name.removeprefix("pool")] = value
        return value, places


def _conv(name: str, c_in: int, c_out: int, spec: Spec) -> Layers:
    return unit(name, c_in, c_out, 3, norm=spec.norm, activation=spec.activation)
