"""Random changes of whole batches, on the device: every image by its own draws."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from cnnctl.config.schema import Augment
from cnnctl.data.augment import geometry
from cnnctl.data.draws import Draws

Change = Callable[[Tensor, Draws], Tensor]  # uint8 (B, C, H, W) -> the same shape and type


def changes(augment: Augment) -> list[Change]:
    """What `augment` asks for, in the order in which it is done."""
    chosen: list[Change] = []
    if augment.shift or augment.flip:
        chosen.append(geometry.ShiftFlip(augment.shift, augment.flip))
    if augment.rotate:
        chosen.append(geometry.Rotate(augment.rotate))
    return chosen
