"""The base of nets that give a class for every pixel, and the borders that they want."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from cnnctl.config.masks import IGNORE
from cnnctl.config.tasks import Task
from cnnctl.mirror import mirrored
from cnnctl.nets.blocks import Layers
from cnnctl.nets.net import Net
from cnnctl.nets.spec import Init

AUX = 0.5  # what the loss of an auxiliary classifier counts (torchvision's references)
Criterion = Callable[[Tensor, Tensor], Tensor]  # logits and masks, as `Segmenter.loss` has them


class Segmenter(Net):
    """Images (B, C, H, W) -> a score of each class for each pixel, (B, num_classes, H, W).

    A family gives `maps`, which is the net of its paper: of images whose sides are those of
    `side` it makes maps that lack `margin` pixels at each edge. As long as `framed` is true, as it
    is unless an audit wants the paper's net alone, images of any size are completed by their
    mirror images at the edges (Ronneberger et al. 2015, section 2), and what is more is cut off.

    `criterion`, if set, is the loss of training; without it the mean cross-entropy of the pixels.
    `planes` is how many a mask has: one more than the classes for a criterion of borders.
    """

    TASK: ClassVar[Task] = "segment"
    margin: int = 0
    stride: int = 1
    framed: bool = True
    criterion: Criterion | None = None
    planes: int = 1

    def __init__(self, layers: Layers, init: Init) -> None:
        super().__init__(layers, init)

    def maps(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The paper's net; in training with auxiliary classifiers a tuple, theirs last."""
        return super().forward(images)

    def side(self, length: int) -> int:
        """The least side of an image for `maps` whose maps cover `length` pixels."""
        return -(-length // self.stride) * self.stride

    def forward(self, value: Tensor) -> Tensor | tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride] - Sequential promises a Tensor
        """Images of any size, if framed."""
        if not self.framed:
            return self.maps(value)
        height, width = value.shape[-2:]
        outputs = self.maps(mirrored(value, self.margin, self.side(height), self.side(width)))
        if isinstance(outputs, tuple):
            return tuple(one[..., :height, :width] for one in outputs)
        return outputs[..., :height, :width]

    def loss(self, outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """What training makes small.

        `labels` are masks, uint8 (B, planes, H, W): the class of each pixel or IGNORE, then, if
        the criterion wants it, what a pixel counts for lying at a border. Measuring takes the mean
        cross-entropy of the pixels; 0 where there are none.
        """
        criterion = self.criterion if self.training else None
        if not isinstance(outputs, tuple):
            return (criterion or self.cross_entropy)(outputs, labels)
        main, *others = ((criterion or self.cross_entropy)(one, labels) for one in outputs)
        return main + sum(AUX * one for one in others)

    def blank(self, logits: Tensor) -> Tensor:
        """Masks that go with `logits`."""
        size = (logits.shape[0], self.planes, *logits.shape[2:])
        return torch.zeros(size, dtype=torch.uint8, device=logits.device)

    def weight(self, labels: Tensor) -> Tensor | float:
        """How much the mean over some images counts beside that over others: as its pixels do."""
        found = labels[:, 0]
        if self.class_weights is None:
            return (found != IGNORE).sum().clamp(min=1)  # a share of no pixels is no number
        return self._weights(found.long()).sum().clamp(min=torch.finfo().tiny)

    def _weights(self, wanted: Tensor) -> Tensor:
        """What each pixel counts by its class."""
        assert self.class_weights is not None
        none = self.class_weights.new_zeros(IGNORE + 1 - len(self.class_weights))
        return torch.cat((self.class_weights, none))[wanted]

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over the pixels that count; training weighs classes and smooths labels."""
        wanted = labels[:, 0].long()
        weights, smooth = (
            (self.class_weights, self.label_smoothing) if self.training else (None, 0.0)
        )
        if weights is not None:  # pixels of classes that all count nothing have no mean either
            wanted = wanted.where(self._weights(wanted).any(), IGNORE)
        loss = cross_entropy(logits, wanted, weights, ignore_index=IGNORE, label_smoothing=smooth)
        return torch.where((wanted != IGNORE).any(), loss, logits.sum() * 0)
