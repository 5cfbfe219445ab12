"""One forward pass of a net in evaluation mode, written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from cnnctl.audit.depth import Paths
from cnnctl.audit.geometry import tensors
from cnnctl.audit.ghost import ghost
from cnnctl.audit.live import Live
from cnnctl.audit.places import Field
from cnnctl.audit.trace import Trace, Walk
from cnnctl.nets import build, meta
from cnnctl.nets.segmenter import Segmenter
from cnnctl.nets.spec import Spec


class Cost(NamedTuple):
    """`params` trainable values, `macs` multiply-adds of convolutions and dense layers."""

    params: int
    macs: int


@dataclass(frozen=True)
class Forward:
    """The rows of a pass on one image.

    `output` is the shape of what the net gives, `field` what that sees. `peak` is the most bytes of
    activations alive at one time, `depth` the weight layers on the longest path.
    """

    walk: Walk
    output: tuple[int, ...]
    field: Field | None
    peak: int
    depth: int


def forward(net: nn.Module, shape: tuple[int, ...]) -> Forward:
    """What `net` makes of one image of `shape` (C, H, W), layer by layer; allocates nothing."""
    with ghost(net, "eval") as double, torch.no_grad():
        reach, live = Paths(double), Live()
        trace = Trace(double, live, reach)
        for value in (*double.parameters.values(), *double.buffers.values()):
            live.add(value, "weights")
        weights = live.bytes
        image = double.images((1, *shape))
        live.add(image, "activations")
        reach.begin(image)
        with trace.open() as walk:
            out = next(tensors((double(image),)), None)
        field = None if out is None else reach.of(out)
    given = () if out is None else tuple(out.shape[1:])
    return Forward(walk, given, field, live.peak.bytes - weights, reach.deepest)


def cost(spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> Cost:
    """What the net of `spec` costs for one image. Raises NetError as `nets.build` does."""
    with meta.device():
        net = build(spec, num_classes=num_classes, shape=shape)
    if isinstance(net, Segmenter):
        net.framed = False  # the net of the paper alone
    params = sum(parameter.numel() for parameter in net.parameters())
    return Cost(params, sum(forward(net, shape).walk.macs.values()))
