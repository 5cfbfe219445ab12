"""Shifts, mirror images and rotations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from cnnctl.data.draws import Draws


class ShiftFlip:
    """A crop of the image with a black border, and its mirror image: one gather for both.

    As torchvision's RandomCrop(size, padding=shift) and RandomHorizontalFlip(flip).
    """

    def __init__(self, shift: int, flip: float) -> None:
        self.shift = shift
        self.flip = flip

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """uint8 (B, C, H, W) -> the same."""
        height, width = images.shape[-2:]
        device = images.device
        top, left = (draws.uniform("shift", 2) * (2 * self.shift + 1)).long().unbind(1)
        mirrored = draws.uniform("flip") < self.flip
        columns = torch.arange(width).expand(len(images), -1)
        columns = torch.where(mirrored, columns.flip(1), columns) + left[:, None]
        rows = torch.arange(height) + top[:, None]
        framed = pad(images, (self.shift,) * 4) if self.shift else images
        which = torch.arange(len(images), device=device)[:, None, None]
        rows, columns = rows.to(device)[:, :, None], columns.to(device)[:, None, :]
        return framed[which, :, rows, columns].permute(0, 3, 1, 2)


class Rotate:
    """A rotation about the centre by up to `degrees` both ways, bilinear, black outside."""

    def __init__(self, degrees: float) -> None:
        self.degrees = degrees

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """uint8 (B, C, H, W) -> the same."""
        height, width = images.shape[-2:]
        angle = torch.deg2rad((2 * draws.uniform("rotate")[:, 0] - 1) * self.degrees)
        cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        rows = (cosine, sine * height / width, zero, -sine * width / height, cosine, zero)
        theta = torch.stack(rows, 1).view(-1, 2, 3).to(images.device, torch.float32)
        grid = affine_grid(theta, list(images.shape), align_corners=False)
        turned = grid_sample(images.float(), grid, align_corners=False)
        return turned.round().to(torch.uint8)
