"""Shifts, mirror images, turns and distortions of images and masks alike.

What comes in at an edge is the mirror image, of both: no pixel is black or without a class.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from cnnctl.config.schema import Augment
from cnnctl.data.augment import geometry, warp
from cnnctl.data.draws import Draws
from cnnctl.mirror import reflected

Grid = Callable[[Draws, int, int, torch.device], Tensor]  # where each pixel is read, (B, H, W, 2)
Both = tuple[Tensor, Tensor]


class Moved:
    """`geometry.ShiftFlip` of both: every pixel stays a pixel."""

    def __init__(self, change: geometry.ShiftFlip) -> None:
        self.change = change

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Both:
        """uint8 (B, C, H, W) and (B, planes, H, W) -> the same."""
        height, width = images.shape[-2:]
        top, left, mirrored = self.change.parameters(draws)
        shift = self.change.shift
        lines = reflected(torch.arange(height) + top[:, None] - shift, height)
        columns = torch.arange(width).expand(len(images), -1)
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        columns = reflected(columns + left[:, None] - shift, width)
        return _gathered(images, lines, columns), _gathered(masks, lines, columns)


class Warped:
    """Both read at the places of one grid: images between pixels, masks at the nearest."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Both:
        """uint8 (B, C, H, W) and (B, planes, H, W) -> the same."""
        height, width = images.shape[-2:]
        grid = self.grid(draws, height, width, images.device)
        return _sampled(images, grid, "bilinear"), _sampled(masks, grid, "nearest")


Change = Moved | Warped


def of_pairs(augment: Augment) -> list[Change]:
    """What is done to uint8 images and their masks, in this order."""
    chosen: list[Change] = []
    if augment.shift or augment.flip:
        turns = augment.flip_alternates
        chosen.append(Moved(geometry.ShiftFlip(augment.shift, augment.flip, by_turns=turns)))
    if augment.rotate:
        chosen.append(Warped(_turned(geometry.Rotate(augment.rotate))))
    if augment.elastic:
        chosen.append(Warped(geometry.Elastic(*augment.elastic).grid))
    if augment.deform:
        chosen.append(Warped(geometry.Deform(*augment.deform).grid))
    return chosen


def _turned(rotate: geometry.Rotate) -> Grid:
    def grid(draws: Draws, height: int, width: int, device: torch.device) -> Tensor:
        turns = warp.rotation(rotate.parameters(draws))
        return warp.places(turns, height, width, device)

    return grid


def _gathered(values: Tensor, lines: Tensor, columns: Tensor) -> Tensor:
    """(B, C, H, W) at `lines` (B, H) and `columns` (B, W)."""
    channels, height, width = values.shape[1:]
    down = lines.to(values.device)[:, None, :, None].expand(-1, channels, -1, width)
    across = columns.to(values.device)[:, None, None].expand(-1, channels, height, -1)
    return values.gather(2, down).gather(3, across)


def _sampled(values: Tensor, grid: Tensor, mode: str) -> Tensor:
    found = grid_sample(
        values.float(), grid, mode=mode, padding_mode="reflection", align_corners=False
    )
    return found.round().to(torch.uint8)
