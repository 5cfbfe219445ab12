"""The perceptron (Rosenblatt 1958): weighted sums, a step, and a rule that learns from mistakes."""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import Tensor, nn
from torch.nn.functional import one_hot

from cnnctl.nets import spec
from cnnctl.nets.blocks import Layers
from cnnctl.nets.net import Net


class Perceptron(Net):
    """(B, in_channels, H, W) -> weighted sums w·x + b (B, num_classes); the largest one answers."""

    Spec = spec.Spec

    def __init__(self, spec: spec.Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        output = nn.Linear(math.prod(shape), num_classes)
        layers: Layers = OrderedDict(flatten=nn.Flatten(), output=output)
        super().__init__(layers, spec.init)

    @staticmethod
    def fire(sums: Tensor) -> Tensor:
        """The step: 1 where a sum is above 0, else 0; shape and number format stay."""
        return (sums > 0).to(sums.dtype)

    def loss(self, outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """The perceptron criterion: what the sums of wrong units are on the wrong side of 0.

        That is the sum over the units of max(0, −(2d − 1)·sum), d being 1 for the label's
        unit and 0 for the others, averaged over the batch. With y = fire(sum) it equals
        (y − d)·sum, and y has no gradient: so the gradient is −(d − y), at 0 too, and a step
        of plain SGD on one image is Rosenblatt's rule w += lr·(d − y)·x.
        """
        assert isinstance(outputs, Tensor)
        wanted = one_hot(labels, outputs.shape[1]).to(outputs.dtype)
        return ((self.fire(outputs) - wanted) * outputs).sum(1).mean()
