"""The base of every family: named layers in the order of the forward pass."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cnnctl.config.tasks import Task
from cnnctl.nets import spec
from cnnctl.nets.blocks import Layers
from cnnctl.nets.init import initialise
from cnnctl.nets.sizes import walk


class Net(nn.Sequential):
    """Images (B, C, H, W) -> logits (B, num_classes).

    A family calls this with its layers, then `init` fills them. In training a net may give a
    tuple, whose first entry are the logits and whose others only `loss` understands.
    `class_weights` (num_classes,), if set, is how much an image of each class counts in training.
    `body` are the first layers, if they are those of a classifier whose weights may be taken.
    `label_smoothing` is the share of each label that training gives to all classes alike.
    """

    Spec: ClassVar[type[spec.Spec]]
    TASK: ClassVar[Task] = "classify"
    SAMPLE: ClassVar[int] = 0  # training images that `prepare` wants to see
    body: tuple[str, ...] = ()
    class_weights: Tensor | None
    label_smoothing: float

    def __init__(self, layers: Layers, init: spec.Init) -> None:
        super().__init__(layers)
        initialise(self, init)
        self.register_buffer("class_weights", None, persistent=False)
        self.label_smoothing = 0.0

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

    def prepare(self, images: Tensor) -> None:
        """Set what follows from training images (N, C, H, W), before the first step."""

    def blank(self, logits: Tensor) -> Tensor:
        """Labels that go with `logits`: what is known of them before there are any."""
        return torch.zeros(len(logits), dtype=torch.int64, device=logits.device)

    def weight(self, labels: Tensor) -> Tensor | float:
        """How much the mean over a batch counts beside that over another: as its images do."""
        if self.class_weights is None or labels.ndim > 1:
            return float(len(labels))
        return self.class_weights[labels].sum()

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Over labels (B,), or over shares of the classes (B, num_classes).

        Training smooths them: (1 − ε)·share + ε / num_classes (Szegedy et al. 2016, section 7).
        """
        if not self.training:
            return cross_entropy(logits, labels)
        return cross_entropy(
            logits, labels, self.class_weights, label_smoothing=self.label_smoothing
        )
