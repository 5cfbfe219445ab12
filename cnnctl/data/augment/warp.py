"""Images resampled at other places, each image at its own, rounded as torchvision rounds.

Every number is computed by itself, none by a product of matrices over the batch: what an
image becomes cannot depend on the images beside it. `addcmul` rounds once, as the products
of matrices do with which torchvision makes its grids.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample


def rotation(degrees: Tensor) -> Tensor:
    """Float64 (B, 2, 3): the turn about the centre, counter-clockwise, by `degrees` (B,)."""
    turn = torch.deg2rad(-degrees.remainder(360))
    cosine, sine, zero = turn.cos(), turn.sin(), torch.zeros_like(turn)
    return rows(cosine, sine, zero, -sine, cosine, zero)


def rows(*numbers: Tensor | float) -> Tensor:
    """Float64 (B, 2, 3) of six numbers, each (B,) or the same for all."""
    wide = torch.broadcast_tensors(*(torch.as_tensor(n, dtype=torch.float64) for n in numbers))
    return torch.stack(wide, 1).view(-1, 2, 3)


def places(matrices: Tensor, height: int, width: int, device: torch.device) -> Tensor:
    """Float32 (B, H, W, 2): where each pixel is read, for grid_sample.

    `matrices` (B, 2, 3) map a pixel of the result to one of the image, in pixels from the centre.
    """
    half = torch.tensor([width / 2, height / 2]).view(2, 1)
    x, y, one = (matrices.float() / half).to(device)[:, :, None, None].unbind(-1)
    across = torch.arange(width, device=device) - (width - 1) / 2
    down = torch.arange(height, device=device)[:, None] - (height - 1) / 2
    return (torch.addcmul(across * x, down, y) + one).permute(0, 2, 3, 1)


def still(height: int, width: int) -> Tensor:
    """Float32 (H, W, 2): the places of the pixels themselves, for grid_sample."""
    x = torch.linspace((1 - width) / width, (width - 1) / width, width)
    y = torch.linspace((1 - height) / height, (height - 1) / height, height)
    return torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)), 2)


def resample(images: Tensor, grid: Tensor, mode: str, *, rim: bool = False) -> Tensor:
    """uint8 (B, C, H, W) read at `grid` (B, H, W, 2); black outside.

    With `rim` the pixels that lie half outside are darkened once more: torchvision's bilinear
    sampling with fill=0, the default of some of its classes, does that; fill=None does not.
    """
    floats = images.to(torch.float32, memory_format=torch.contiguous_format)
    if rim:
        floats = torch.cat((floats, torch.ones_like(floats[:, :1])), 1)
    found = grid_sample(floats, grid, mode=mode, align_corners=False)
    if rim:
        found = found[:, :-1] * found[:, -1:]
    return found.round().to(torch.uint8)
