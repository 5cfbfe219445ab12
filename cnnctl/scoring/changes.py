"""Changes of images by degrees: what a net may be asked to see through.

Each takes a batch uint8 (B, C, H, W) on any device and gives a function of the strength, uint8 of
the same shape. All that is drawn, a direction, a sign, a place, is drawn once for each image,
before: a stronger change is more of the same one, in any batch. Strength 0 is the image itself,
which no function here is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from cnnctl.config.verbs import Perturbation
from cnnctl.data.augment import warp
from cnnctl.data.augment.geometry import Elastic
from cnnctl.data.draws import Draws

Changed = Callable[[float], Tensor]
GREY, WHITE = 128, 255
SMOOTH = 1 / 8  # of the side: deviation of the Gaussian that blurs a distortion, 4 pixels of 32
REACH = 3  # deviations: how far a blur looks


class Change(NamedTuple):
    """A kind of change: what its strength counts, and the strengths of a sweep."""

    unit: str
    strengths: tuple[float, ...]
    begin: Callable[[Tensor, Draws], Changed]


def shift(images: Tensor, draws: Draws) -> Changed:
    """By a share of the side in any direction, in whole pixels; black comes in."""
    height, width = images.shape[-2:]
    angle = 2 * math.pi * draws.uniform("changed by shift")[:, 0]

    def changed(strength: float) -> Tensor:
        right = (strength / 100 * width * angle.cos()).round()
        down = (strength / 100 * height * angle.sin()).round()
        matrices = warp.rows(1, 0, -right, 0, 1, -down)
        return warp.resample(images, warp.places(matrices, *_size(images)), "nearest")

    return changed


def scale(images: Tensor, draws: Draws) -> Changed:
    """Larger, or as many times smaller, about the centre; black comes in, or the rim goes."""
    height, width = images.shape[-2:]
    signs = _signs(draws, "changed by scale")

    def changed(strength: float) -> Tensor:
        def by(some: Tensor, sign: int) -> Tensor:
            factor = (1 + strength / 100) ** sign
            size = [max(1, round(height * factor)), max(1, round(width * factor))]
            resized = functional.resize(some, size, antialias=True)
            return functional.center_crop(resized, [height, width])

        return _each(images, signs, by)

    return changed


def rotate(images: Tensor, draws: Draws) -> Changed:
    """About the centre, one way or the other; bilinear, black outside."""
    signs = _signs(draws, "changed by rotate")

    def changed(strength: float) -> Tensor:
        grid = warp.places(warp.rotation(strength * signs), *_size(images))
        return warp.resample(images, grid, "bilinear", rim=True)

    return changed


def deform(images: Tensor, draws: Draws) -> Changed:
    """Pixels move by blurred noise, their root mean square by a share of the side.

    The elastic distortion of Simard, Steinkraus, Platt 2003, section 2.
    """
    height, width = images.shape[-2:]
    moves = Elastic(1, SMOOTH * width).parameters(draws, height, width) / 2  # in sides
    length = moves.square().sum(3).mean((1, 2), dtype=torch.float64).sqrt()
    moves = (2 * moves / length[:, None, None, None]).float().to(images.device)
    still = warp.places(warp.rotation(torch.zeros(len(images))), *_size(images))

    def changed(strength: float) -> Tensor:
        return warp.resample(images, still + strength / 100 * moves, "bilinear", rim=True)

    return changed


def hue(images: Tensor, draws: Draws) -> Changed:
    """All colours turned by a share of the colour circle, one way or the other."""
    signs = _signs(draws, "changed by hue")

    def changed(strength: float) -> Tensor:
        return _each(images, signs, lambda some, sign: functional.adjust_hue(some, sign * strength))

    return changed


def noise(images: Tensor, draws: Draws) -> Changed:
    """Gaussian noise on every value, cut off at black and white."""
    values = draws.normal("changed by noise", images[0].numel()).float()
    values = values.view(images.shape).to(images.device)

    def changed(strength: float) -> Tensor:
        return (images + WHITE * strength * values).round().clamp(0, WHITE).to(torch.uint8)

    return changed


def blur(images: Tensor, draws: Draws) -> Changed:  # noqa: ARG001 - nothing is random
    """A Gaussian, reflected at the edges."""
    height, width = images.shape[-2:]

    def changed(strength: float) -> Tensor:
        sigma = strength / 100 * width
        reach = min(math.ceil(REACH * sigma), height - 1, width - 1)
        kernel = [2 * reach + 1] * 2
        return functional.gaussian_blur(images, kernel, [sigma, sigma])

    return changed


def occlusion(images: Tensor, draws: Draws) -> Changed:
    """A grey square that hides a share of the area, at any place inside the image."""
    _, _, height, width = images.shape
    down, right = draws.uniform("changed by occlusion", 2).unbind(1)
    rows, columns = torch.arange(height), torch.arange(width)

    def changed(strength: float) -> Tensor:
        side = min(round(math.sqrt(strength / 100 * height * width)), height, width)
        top = (down * (height - side + 1)).long()[:, None]
        left = (right * (width - side + 1)).long()[:, None]
        tall = (rows >= top) & (rows < top + side)
        wide = (columns >= left) & (columns < left + side)
        hidden = (tall[:, :, None] & wide[:, None, :])[:, None].to(images.device)
        return images.masked_fill(hidden, GREY)

    return changed


CHANGES: dict[Perturbation, Change] = {
    "shift": Change("% of the side", (0, 5, 10, 15, 20, 30, 40), shift),
    "scale": Change("% more or less", (0, 10, 20, 30, 50, 75, 100), scale),
    "rotate": Change("degrees", (0, 10, 20, 30, 45, 60, 90), rotate),
    "deform": Change("% of the side", (0, 1, 2, 4, 6, 8, 10), deform),
    "hue": Change("of the circle", (0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5), hue),
    "noise": Change("of white (sd)", (0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5), noise),
    "blur": Change("% of the side (sd)", (0, 1, 2, 3, 4, 6, 8), blur),
    "occlusion": Change("% of the area", (0, 5, 10, 20, 30, 40, 60), occlusion),
}


def _size(images: Tensor) -> tuple[int, int, torch.device]:
    """As `warp.places` wants it."""
    return images.shape[-2], images.shape[-1], images.device


def _signs(draws: Draws, purpose: str) -> Tensor:
    """1 or −1 for each image, float64 (B,)."""
    return torch.where(draws.uniform(purpose)[:, 0] < 1 / 2, -1.0, 1.0).double()


def _each(images: Tensor, signs: Tensor, by: Callable[[Tensor, int], Tensor]) -> Tensor:
    """The images of each sign changed together."""
    changed = torch.empty_like(images)
    for sign in (-1, 1):
        there = (signs == sign).nonzero()[:, 0].to(images.device)
        if len(there):
            changed[there] = by(images[there], sign)
    return changed
