"""Rectangles that are erased."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cnnctl.data.draws import Draws

AREA = (0.02, 0.33)  # of the image
RATIOS = (0.3, 3.3)  # height / width
TRIES = 10  # until a rectangle fits into the image; then it is left alone


class Erase:
    """A rectangle set to the mean, with a probability (Zhong et al. 2020, section 3).

    As torchvision's RandomErasing(probability) on normalised images.
    """

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Float32 (B, C, H, W) -> the same, in place."""
        height, width = images.shape[-2:]
        boxes = self.parameters(draws, height, width)
        top, left, tall, wide = boxes.to(images.device)[..., None].unbind(1)
        y, x = (torch.arange(size, device=images.device) for size in (height, width))
        down, across = (y >= top) & (y < top + tall), (x >= left) & (x < left + wide)
        return images.masked_fill_((down[:, :, None] & across[:, None])[:, None], 0)

    def parameters(self, draws: Draws, height: int, width: int) -> Tensor:
        """Top, left, height and width of what is erased, int64 (B, 4); height 0 for nothing."""
        happens = draws.uniform("erase") < self.probability
        area, ratio, down, right = (
            draws.uniform("rectangle", 4 * TRIES).view(-1, 4, TRIES).unbind(1)
        )
        area = height * width * (AREA[0] + area * (AREA[1] - AREA[0]))
        low, high = (math.log(number) for number in RATIOS)
        ratio = (low + ratio * (high - low)).exp()
        tall, wide = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        top, left = (down * (height - tall + 1)).floor(), (right * (width - wide + 1)).floor()
        fits = happens & (tall < height) & (wide < width)
        first = fits.int().argmax(1)  # where none fits, its sides become 0
        boxes = torch.stack((top, left, tall * fits, wide * fits), 1)
        return boxes[torch.arange(len(boxes)), :, first].long()
