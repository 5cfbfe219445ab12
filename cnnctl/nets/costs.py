"""What a net costs: parameters, and multiply-adds for one image."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from cnnctl.nets import build
from cnnctl.nets.spec import Spec


class Cost(NamedTuple):
    """`params` trainable values, `macs` multiply-adds of convolutions and dense layers."""

    params: int
    macs: int


def cost(spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> Cost:
    """Count on the meta device: nothing is allocated. Raises NetError as `build` does."""
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        net = build(spec, num_classes=num_classes, shape=shape).eval()
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            net(torch.empty(1, *shape))
    params = sum(parameter.numel() for parameter in net.parameters())
    return Cost(params, counter.get_total_flops() // 2)
