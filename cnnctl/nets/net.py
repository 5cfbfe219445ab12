"""The base of every family: named layers in the order of the forward pass."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cnnctl.nets import spec
from cnnctl.nets.blocks import Layers
from cnnctl.nets.init import initialise
from cnnctl.nets.sizes import walk


class Net(nn.Sequential):
    """Images (B, C, H, W) -> logits (B, num_classes).

    A family calls this with its layers, then `init` fills them. In training a net may give a
    tuple, whose first entry are the logits and whose others only `loss` understands.
    `class_weights` (num_classes,), if set, is how much an image of each class counts in training.
    """

    Spec: ClassVar[type[spec.Spec]]
    class_weights: Tensor | None

    def __init__(self, layers: Layers, init: spec.Init) -> None:
        super().__init__(layers)
        initialise(self, init)
        self.register_buffer("class_weights", None, persistent=False)

    def __getitem__(self, index: slice | int) -> nn.Module:  # pyright: ignore[reportIncompatibleMethodOverride] - a part of a net is no Net
        """A layer, or several as a Sequential under their own names."""
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self.named_children())[index]))
        return super().__getitem__(index)

    def check(self, shape: tuple[int, int, int], *, strict: bool = False) -> None:
        """Raises what `sizes.walk` raises for images of `shape` (C, H, W)."""
        walk(self, shape, strict=strict)

    def loss(self, outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """What training makes small: mean cross-entropy over the labels (B,)."""
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        return self.cross_entropy(logits, labels)

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Over labels (B,), or over shares of the classes (B, num_classes)."""
        return cross_entropy(logits, labels, self.class_weights if self.training else None)
