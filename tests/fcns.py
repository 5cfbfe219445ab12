"""Small FCNs, and what the authors' files have typed in."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from zoo import build

from cnnctl.nets.fcn import Fcn

NAMES = {"fcn32s": 0, "fcn16s": 1, "fcn8s": 2}
CROPS = {"fcn32s": [19], "fcn16s": [5, 27], "fcn8s": [5, 9, 31]}  # typed in the authors' files
STAGES = [["conv3-4", "conv3-5"], ["conv3-6"], ["conv3-7"]]
SMALL: dict[str, Any] = {
    "stages": STAGES, "hidden": [9, 8], "field": 5, "padding": 40, "init": "he",
}  # fmt: skip
CLASSES = 3


def small(skips: int = 0, channels: int = 3, **changes: Any) -> Fcn:
    """Three stages, so 8, 4 or 2 pixels up at once; its scores are not 0."""
    torch.manual_seed(skips)
    net = build("fcn32s", (channels, 32, 32), CLASSES, **SMALL | {"skips": skips} | changes)
    for name, parameter in net.named_parameters():
        if name.startswith("score_"):
            nn.init.normal_(parameter)
    assert isinstance(net, Fcn)
    return net.eval()
