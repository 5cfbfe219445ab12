"""SegNet (Badrinarayanan, Kendall, Cipolla 2017, figure 2 and section 3).

The convolutions of VGG-16 with batch normalisation, then the same convolutions the other way
around; the ways up take the indices of the pools. The layers are those of VGG up to pool5, then
up5, conv5_3_d, …, up1, conv1_2_d, conv1_1_d.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from cnnctl.config.fields import key
from cnnctl.errors import Problem
from cnnctl.nets import spec, vgg
from cnnctl.nets.blocks import Activation, Layers, Norm, unit
from cnnctl.nets.segmenter import Segmenter
from cnnctl.nets.upsample import TWICE, Unpool, Upsample, resized


@dataclass(frozen=True, kw_only=True)
class Spec(spec.Spec):
    """The encoder; the decoder follows from it."""

    body: str | None = key("torchvision/NAME: the classifier whose weights fit the encoder")
    stages: tuple[tuple[str, ...], ...] = key("layers between the pools: conv3-64, …")
    activation: Activation = key("after every convolution but the last")
    norm: Norm = key("between a convolution and its activation")
    upsample: Upsample = key("the way up")

    @property
    def published(self) -> str | None:
        """The classifier that the encoder is of."""
        return self.body

    def problems(self) -> Iterator[Problem]:
        """Words that are no layer, and stages that have none."""
        yield from vgg.unknown(self.stages)
        for number, words in enumerate(self.stages):
            if not vgg.kernels(words):
                text = f"model.stages.{number}: want at least one convolution"
                yield Problem(text, "as in [conv3-64]", "model.stages")
        if not self.stages:
            yield Problem("model.stages: want at least one, got []", key="model.stages")


class SegNet(Segmenter):
    """(B, in_channels, H, W) -> logits (B, num_classes, H, W), of any height and width.

    `upsample`: unpool, as in the paper, has nothing to learn, nor have nearest, bilinear and
    bicubic, which interpolate the same maps; transposed is a 2x2 convolution with stride 2 from
    these maps to as many. Pools round up, as in the authors' framework, and each way up is cut to
    the size that was pooled.
    """

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        layers: Layers = OrderedDict()
        c_in, unpools = shape[0], spec.upsample == "unpool"
        back: list[Layers] = []
        for number, words in enumerate(spec.stages, start=1):
            first = number == 1
            back.append(_back(number, c_in if not first else num_classes, spec))
            stage, c_in = vgg.stage(number, words, c_in, spec.norm, spec.activation)
            layers |= stage
            layers[f"pool{number}"] = nn.MaxPool2d(TWICE, ceil_mode=True, return_indices=unpools)
        body = tuple(layers)
        for stage in reversed(back):
            layers |= stage
        super().__init__(layers, spec.init)
        self.body = body
        self.stride = TWICE ** len(spec.stages)

    def side(self, length: int) -> int:
        """Images of any size, since what was pooled is known."""
        return length

    def maps(self, images: Tensor) -> Tensor:
        """Down, and up again."""
        value = images
        sizes: list[tuple[int, int]] = []
        places: list[Tensor] = []
        for name, layer in self.named_children():
            if name.startswith("pool"):
                sizes.append((value.shape[2], value.shape[3]))
                value = layer(value)
                if isinstance(value, tuple):
                    value, indices = value
                    places.append(indices)
            elif isinstance(layer, Unpool):
                value = layer(value, places.pop(), sizes.pop())
            elif name.startswith("up"):
                height, width = sizes.pop()
                value = layer(value)[..., :height, :width]
            else:
                value = layer(value)
        return value


def _back(number: int, c_out: int, spec: Spec) -> Layers:
    """The way up to the maps of a stage, and its convolutions from the last to the first."""
    found = vgg.kernels(spec.stages[number - 1])
    layers: Layers = OrderedDict()
    layers[f"up{number}"] = _up(spec.upsample, found[-1][1])
    targets = [c_out, *(channels for _, channels in found[:-1])]
    for place in range(len(found), 0, -1):
        kernel, c_in = found[place - 1]
        last = number == place == 1
        layers |= unit(
            f"conv{number}_{place}_d", c_in, targets[place - 1], kernel, bias=True,
            norm="none" if last else spec.norm, activation="none" if last else spec.activation,
        )  # fmt: skip
    return layers


def _up(kind: Upsample, channels: int) -> nn.Module:
    """(B, channels, H, W) -> (B, channels, 2H, 2W)."""
    if kind == "unpool":
        return Unpool()
    if kind == "transposed":
        return nn.ConvTranspose2d(channels, channels, TWICE, TWICE)
    return resized(kind, TWICE)
