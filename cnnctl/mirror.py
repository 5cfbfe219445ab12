"""Images completed by their mirror images (Ronneberger et al. 2015, section 2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def mirrored(images: Tensor, margin: int, tall: int, wide: int) -> Tensor:
    """Images (B, C, H, W) with mirrored edges: `margin` before, and so many more that they fill it.

    The result is (B, C, tall, wide); the pixels at the edge are not doubled.
    """
    height, width = images.shape[-2:]
    if (height, width) == (tall, wide) and not margin:
        return images
    below, right = tall - margin - height, wide - margin - width
    if max(margin, below) < height and max(margin, right) < width:
        return pad(images, (margin, right, margin, below), mode="reflect")
    lines = reflected(torch.arange(tall, device=images.device) - margin, height)
    columns = reflected(torch.arange(wide, device=images.device) - margin, width)
    return images.index_select(2, lines).index_select(3, columns)


def reflected(places: Tensor, length: int) -> Tensor:
    """Places on an endless line of mirror images, as places in 0..length − 1."""
    if length == 1:
        return torch.zeros_like(places)
    period = 2 * (length - 1)
    found = places.remainder(period)
    return torch.minimum(found, period - found)
