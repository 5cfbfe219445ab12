"""Which pixels a value depends on: those whose gradient is not zero."""

from __future__ import annotations

import copy

import torch
from oracle import field
from torch import nn

from cnnctl.audit.places import Field


def seen(net: nn.Module, side: int) -> Field | None:
    return field(copy.deepcopy(net).to("meta").eval(), 1, 1, side, side)


def felt(net: nn.Module, side: int, place: tuple[int, int] | None = None) -> tuple:
    """A place of the output, and the rows and columns of the image that change its value.

    All weights are 1, so that nothing cancels out.
    """
    net = copy.deepcopy(net).double().eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.fill_(1)
    image = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    out = net(image).sum(1)[0]
    row, column = place or (out.shape[0] // 2, out.shape[1] // 2)
    out[row, column].backward()
    assert image.grad is not None
    reached = (image.grad[0, 0] / image.grad.abs().max()).abs() > 1e-12
    lines = [torch.nonzero(reached.any(1 - axis)).flatten().tolist() for axis in (0, 1)]
    return (row, column), tuple((line[0], line[-1]) for line in lines)
