"""Shifts, mirror images, rotations and elastic distortions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from cnnctl.data.augment import warp
from cnnctl.data.draws import Draws


class ShiftFlip:
    """A crop of the image with a black border, and its mirror image: one gather for both.

    As torchvision's RandomCrop(size, padding=shift) and RandomHorizontalFlip(flip). `by_turns`
    spreads the mirror images of each image evenly over the epochs: with a flip of 0.5 it is
    mirrored in every second epoch, and chance decides in which (Jordan 2024, 94% on CIFAR-10 in
    3.29 seconds on a single GPU, section 3.6).
    """

    def __init__(self, shift: int, flip: float, *, by_turns: bool = False) -> None:
        self.shift = shift
        self.flip = flip
        self.by_turns = by_turns

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """uint8 (B, C, H, W) -> the same."""
        batch, channels, height, width = images.shape
        top, left, mirrored = self.parameters(draws)
        columns = torch.arange(width).expand(batch, -1)
        columns = torch.where(mirrored[:, None], columns.flip(1), columns) + left[:, None]
        lines = torch.arange(height) + top[:, None]
        if self.shift:
            images = pad(images, (self.shift,) * 4)
            tall = torch.arange(batch * channels).view(batch, channels, 1) * images.shape[2]
            lines = (lines[:, None] + tall).flatten().to(images.device)
            images = images.flatten(0, 2).index_select(0, lines)
            images = images.view(batch, channels, height, -1)
        columns = columns.to(images.device)[:, None, None].expand(-1, channels, height, -1)
        return images.gather(3, columns)

    def parameters(self, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """Top and left of the crop in the bordered image, and whether it is mirrored; (B,)."""
        top, left, mirrored = draws.uniform("shift_flip", 3).unbind(1)
        steps = 2 * self.shift + 1
        if self.by_turns:  # as far from an image's own first place as the epochs go
            first = Draws(draws.seed, 0, draws.samples).uniform("turns")[:, 0]
            mirrored = (first + draws.epoch * self.flip) % 1
        return (top * steps).long(), (left * steps).long(), mirrored < self.flip


class Rotate:
    """A rotation about the centre by up to `degrees` both ways, bilinear, black outside.

    As torchvision's RandomRotation(degrees, BILINEAR).
    """

    def __init__(self, degrees: float) -> None:
        self.degrees = degrees

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """uint8 (B, C, H, W) -> the same."""
        height, width = images.shape[-2:]
        turns = warp.rotation(self.parameters(draws))
        grid = warp.places(turns, height, width, images.device)
        return warp.resample(images, grid, "bilinear", rim=True)

    def parameters(self, draws: Draws) -> Tensor:
        """Degrees, counter-clockwise, float64 (B,)."""
        return (2 * draws.uniform("rotate")[:, 0] - 1) * self.degrees


class Elastic:
    """Pixels move by blurred noise: Simard, Steinkraus, Platt 2003, section 2.

    As torchvision's ElasticTransform(alpha, sigma): alpha is the strength, sigma the
    deviation of the Gaussian in pixels, which reaches 4 sigma and is reflected at the edges.
    """

    def __init__(self, alpha: float, sigma: float) -> None:
        self.alpha = alpha
        self.sigma = sigma

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """uint8 (B, C, H, W) -> the same."""
        height, width = images.shape[-2:]
        grid = self.grid(draws, height, width, images.device)
        return warp.resample(images, grid, "bilinear", rim=True)

    def grid(self, draws: Draws, height: int, width: int, device: torch.device) -> Tensor:
        """Where each pixel is read, for grid_sample; float32 (B, H, W, 2)."""
        moves = self.parameters(draws, height, width).to(device)
        return warp.still(height, width).to(device) + moves

    def parameters(self, draws: Draws, height: int, width: int) -> Tensor:
        """How far each pixel is read from its place, x and y; 2 is an image; float32 (B, H, W, 2).

        Blurred in float64: what is left after rounding does not depend on the batch.
        """
        noise = self.noise(draws, height, width)
        blurred = _blur(height, self.sigma) @ noise @ _blur(width, self.sigma).T
        size = torch.tensor([width, height]).view(2, 1, 1)
        return (blurred * self.alpha / size).permute(0, 2, 3, 1).float()

    def noise(self, draws: Draws, height: int, width: int) -> Tensor:
        """Float64 (B, 2, H, W) in [-1, 1), for x and y."""
        flat = draws.uniform("elastic", 2 * height * width)
        return 2 * flat.view(-1, 2, height, width) - 1


class Deform:
    """Pixels move by a few random vectors and what lies smoothly between them.

    Ronneberger et al. 2015, section 3.1: displacements on a coarse grid of 3x3, drawn from a
    Gaussian with a deviation of 10 pixels, interpolated bicubically. The corners of the grid are
    those of the image. Black outside.
    """

    def __init__(self, points: int, deviation: float) -> None:
        self.points = points
        self.deviation = deviation

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """uint8 (B, C, H, W) -> the same."""
        height, width = images.shape[-2:]
        grid = self.grid(draws, height, width, images.device)
        return warp.resample(images, grid, "bilinear", rim=True)

    def grid(self, draws: Draws, height: int, width: int, device: torch.device) -> Tensor:
        """Where each pixel is read, for grid_sample; float32 (B, H, W, 2)."""
        moves = self.parameters(draws)
        between = interpolate(moves, (height, width), mode="bicubic", align_corners=True)
        size = torch.tensor([width, height]).view(2, 1, 1)
        moved = (2 * between / size).permute(0, 2, 3, 1).float()
        return warp.still(height, width).to(device) + moved.to(device)

    def parameters(self, draws: Draws) -> Tensor:
        """How far the points move, in pixels; float64 (B, 2, points, points), x and y."""
        flat = draws.normal("deform", 2 * self.points**2) * self.deviation
        return flat.view(-1, 2, self.points, self.points)


def _blur(size: int, sigma: float) -> Tensor:
    """Float64 (size, size): the matrix that blurs a line, reflected at both ends."""
    reach = int(8 * sigma + 1) // 2
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.softmax(-((offsets / sigma) ** 2).double() / 2, 0)
    found = (torch.arange(size)[:, None] + offsets).abs()
    found = torch.where(found < size, found, 2 * (size - 1) - found)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(
        1, found, weights.expand(size, -1)
    )
