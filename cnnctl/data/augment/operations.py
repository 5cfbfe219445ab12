"""The operations of the policies, each on the images of a batch that it is drawn for.

They are those of torchvision's _apply_image_or_video_transform on uint8, with a magnitude
for every image: the same bytes, because sums and products are rounded at the same places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from cnnctl.data.augment import warp

WHITE = 255


class Step(NamedTuple):
    """One operation for every image: its place in NAMES, int64, and its magnitude, float64 (B,)."""

    which: Tensor
    magnitudes: Tensor


def apply(images: Tensor, step: Step, mode: str) -> Tensor:
    """uint8 (B, C, H, W) -> the same; `mode` of sampling is nearest or bilinear."""
    changed = images.clone()
    height, width = images.shape[-2:]
    moved = (step.which >= FIRST_AFFINE) & (step.which < FIRST_COLOUR)
    if moved.any():
        there = moved.nonzero()[:, 0]
        matrices = _matrices(step.which[there], step.magnitudes[there], height, width)
        grid = warp.places(matrices, height, width, images.device)
        there = there.to(images.device)
        changed[there] = warp.resample(images[there], grid, mode)
    for name, operation in COLOUR.items():
        rows = (step.which == NAMES.index(name)).nonzero()[:, 0]
        if len(rows):
            there, magnitudes = rows.to(images.device), step.magnitudes[rows].view(-1, 1, 1, 1)
            changed[there] = operation(images[there], magnitudes)
    return changed


def _matrices(which: Tensor, magnitudes: Tensor, height: int, width: int) -> Tensor:
    """Float64 (B, 2, 3), for `warp.places`."""
    matrices = torch.empty(len(which), 2, 3, dtype=torch.float64)
    for name, matrix in AFFINE.items():
        rows = which == NAMES.index(name)
        matrices[rows] = matrix(magnitudes[rows], height, width)
    return matrices


def _brightness(images: Tensor, magnitudes: Tensor) -> Tensor:
    return _bytes(images * _each(1 + magnitudes, images))


def _colour(images: Tensor, magnitudes: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    return _blend(images, functional.rgb_to_grayscale(images).float(), magnitudes)


def _contrast(images: Tensor, magnitudes: Tensor) -> Tensor:
    grey = functional.rgb_to_grayscale(images)
    total = grey.sum((1, 2, 3), dtype=torch.int64).view(-1, 1, 1, 1)
    return _blend(images, total / grey[0].numel(), magnitudes)


def _sharpness(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Blend with a blur that has weight 5 in the middle and 1 around it; the edges stay."""
    sharp = images.float()
    inner = sharp[..., 1:-1, 1:-1]
    lines = sharp[..., :-2, :] + sharp[..., 1:-1, :] + sharp[..., 2:, :]
    total = lines[..., :-2] + lines[..., 1:-1] + lines[..., 2:] + 4 * inner
    rest = _each(-magnitudes, images)
    inner.copy_(torch.addcmul(inner, (total / 13).round_() - inner, rest))
    return _bytes(sharp)


def _posterize(images: Tensor, magnitudes: Tensor) -> Tensor:
    masks = 256 - 2 ** (8 - magnitudes.long())
    return images & masks.to(images.device, torch.uint8)


def _solarize(images: Tensor, magnitudes: Tensor) -> Tensor:
    return torch.where(images >= _each(WHITE * magnitudes, images), WHITE - images, images)


def _blend(images: Tensor, other: Tensor, magnitudes: Tensor) -> Tensor:
    """Away from `other` by the magnitude, or towards it where that is negative."""
    factor = 1 + magnitudes
    near = images * _each(factor, images)
    return _bytes(torch.addcmul(near, other, _each(1 - factor, images)))


def _each(numbers: Tensor, images: Tensor) -> Tensor:
    return numbers.to(images.device, torch.float32)


def _bytes(floats: Tensor) -> Tensor:
    return floats.clamp_(0, WHITE).to(torch.uint8)


AFFINE: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "ShearX": lambda m, height, _: warp.rows(1, m, m * height / 2, 0, 1, 0),
    "ShearY": lambda m, _, width: warp.rows(1, 0, 0, m, 1, m * width / 2),
    "TranslateX": lambda m, *_: warp.rows(1, 0, -m.trunc(), 0, 1, 0),
    "TranslateY": lambda m, *_: warp.rows(1, 0, 0, 0, 1, -m.trunc()),
    "Rotate": lambda m, *_: warp.rotation(m),
}
COLOUR: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Brightness": _brightness,
    "Color": _colour,
    "Contrast": _contrast,
    "Sharpness": _sharpness,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "AutoContrast": lambda images, _: functional.autocontrast(images),
    "Equalize": lambda images, _: functional.equalize(images),
    "Invert": lambda images, _: functional.invert(images),
}
NAMES = ("Identity", *AFFINE, *COLOUR)
FIRST_AFFINE, FIRST_COLOUR = 1, 1 + len(AFFINE)
SIGNED = (*AFFINE, "Brightness", "Color", "Contrast", "Sharpness")
