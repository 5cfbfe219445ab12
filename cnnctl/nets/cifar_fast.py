"""The small net of the CIFAR-10 speed records (Jordan 2024, section 3).

Six convolutions of 3x3 behind one of 2x2 that whitens patches of the images and does not learn.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnctl.config.schema import key
from cnnctl.nets import spec
from cnnctl.nets.blocks import ACTIVATIONS, Activation, Layers, Norm, flat_features, normalisation
from cnnctl.nets.net import Net

EPS = 5e-4  # added to the variance of a direction in which patches hardly differ
TOGETHER = 250  # images whose patches are in memory at a time


@dataclass(frozen=True, kw_only=True)
class Spec(spec.Spec):
    """A group of two convolutions, the first of them pooled, for each width."""

    whiten: int = key("side of the patches that the first layer whitens", min=1)
    widths: tuple[int, ...] = key("maps of each group", min=1)
    identity: bool = key("convolutions start with as many maps as they are given unchanged")
    norm: Norm = key("after every convolution but the first; that of a pooled one after the pool")
    momentum: float = key("share of a new batch in the running statistics", above=0, max=1)
    activation: Activation = key("after every norm, and after the first layer")
    last_pool: int = key("side of the maps that the last pool takes the largest value of", min=1)
    scale: float = key("factor on the logits", above=0)


class Whiten(nn.Conv2d):
    """Patches -> uncorrelated values of variance 1, and the same with the sign turned.

    The directions are what `learn` last saw, or, before that, the pixels themselves. They are a
    buffer: only the bias learns (Jordan 2024, section 3.2).
    """

    weight: Tensor  # pyright: ignore[reportIncompatibleVariableOverride] - a Parameter in torch

    def __init__(self, c_in: int, kernel: int) -> None:
        self.values = c_in * kernel**2
        super().__init__(c_in, 2 * self.values, kernel)
        weight = torch.empty_like(self.weight)
        del self.weight
        self.register_buffer("weight", weight)

    @torch.no_grad()
    def reset(self) -> None:
        """Whiten patches that are white already."""
        self._point(torch.eye(self.values, device=self.weight.device))
        nn.init.zeros_(self.bias)  # pyright: ignore[reportArgumentType] - there is one

    @torch.no_grad()
    def learn(self, images: Tensor) -> None:
        """Whiten the patches of `images`, float (N, C, H, W) with a mean near 0."""
        moments = torch.zeros(self.values, self.values, dtype=torch.float64, device=images.device)
        count = 0
        for some in images.split(TOGETHER):
            patches = nn.functional.unfold(some.double(), self.kernel_size)  # pyright: ignore[reportArgumentType] - two numbers
            moments += torch.einsum("nip,njp->ij", patches, patches)
            count += patches.shape[0] * patches.shape[2]
        variances, directions = torch.linalg.eigh(moments / count)
        self._point((directions / (variances.clamp(min=0) + EPS).sqrt()).flip(1).T)

    def _point(self, rows: Tensor) -> None:
        self.weight.copy_(torch.cat((rows, -rows)).view_as(self.weight))


class Scale(nn.Module):
    """The values times `factor`."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, value: Tensor) -> Tensor:
        """(…) -> (…)."""
        return value * self.factor


class CifarFast(Net):
    """(B, in_channels, 32, 32) -> logits (B, num_classes); other sizes work too."""

    Spec = Spec
    whiten: Whiten
    SAMPLE = 5000  # training images that `prepare` wants to see

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        c_in = shape[0]
        layers: Layers = OrderedDict(whiten=Whiten(c_in, spec.whiten))
        layers["whiten_act"] = ACTIVATIONS[spec.activation]()
        c_in = 2 * c_in * spec.whiten**2
        for number, width in enumerate(spec.widths, 1):
            layers |= _group(spec, number, c_in, width)
            c_in = width
        layers |= {"last_pool": nn.MaxPool2d(spec.last_pool), "flatten": nn.Flatten()}
        layers["fc"] = nn.Linear(flat_features(layers, shape), num_classes, bias=False)
        super().__init__(layers | {"scale": Scale(spec.scale)}, spec.init)
        self.whiten.reset()
        if spec.identity:
            for layer in self._learning():
                _start_as_identity(layer)

    def prepare(self, images: Tensor) -> None:
        """Whiten as training images (N, C, H, W), as the net sees them, ask for."""
        self.whiten.learn(images)

    def _learning(self) -> Iterator[nn.Conv2d]:
        return (one for one in self if isinstance(one, nn.Conv2d) and one is not self.whiten)


def _group(spec: Spec, number: int, c_in: int, c_out: int) -> Layers:
    layers: Layers = OrderedDict()
    for place, maps in enumerate((c_in, c_out), 1):
        name = f"conv{number}_{place}"
        layers[name] = nn.Conv2d(maps, c_out, 3, padding=1, bias=spec.norm == "none")
        if place == 1:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
        if spec.norm != "none":
            layers[f"{name}_norm"] = normalisation(spec.norm, c_out, momentum=spec.momentum)
        layers[f"{name}_act"] = ACTIVATIONS[spec.activation]()
    return layers


@torch.no_grad()
def _start_as_identity(layer: nn.Conv2d) -> None:
    """The first maps are those that come in (Jordan 2024, section 3.3)."""
    if not layer.weight.is_meta:
        nn.init.dirac_(layer.weight[: layer.in_channels])
