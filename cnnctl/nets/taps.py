"""Auxiliary classifiers: branches that only training has (Szegedy et al. 2015, section 5)."""

from __future__ import annotations

from torch import Tensor, nn

from cnnctl.nets.blocks import Layers
from cnnctl.nets.net import Net
from cnnctl.nets.spec import Init


class Tap(nn.Sequential):
    """A classifier on the output of the layer that stands before it; the next one skips it."""


class TappedNet(Net):
    """A Net some of whose layers are a Tap: (B, C, H, W) -> logits (B, num_classes).

    In training it gives (logits, logits of the first tap, …). The weight of the taps in the
    loss is `tap_weight`.
    """

    def __init__(self, layers: Layers, init: Init, tap_weight: float) -> None:
        super().__init__(layers, init)
        self.tap_weight = tap_weight

    def forward(self, value: Tensor) -> Tensor | tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride] - Sequential promises a Tensor
        """The layers in a row; taps work in training alone."""
        tapped = []
        for layer in self:
            if not isinstance(layer, Tap):
                value = layer(value)
            elif self.training:
                tapped.append(layer(value))
        return (value, *tapped) if tapped else value

    def loss(self, outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """Cross-entropy of the logits, plus `tap_weight` times that of every tap."""
        main = super().loss(outputs, labels)
        taps = outputs[1:] if isinstance(outputs, tuple) else ()
        return main + sum(self.tap_weight * self.cross_entropy(tap, labels) for tap in taps)
