"""The shapes that borders and ways up give on the meta device; see cnnctl.nets.shapes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cnnctl.nets.sliding import IMAGES, Sides, like, shaped


def reflect(image: Tensor, padding: Sides) -> Tensor | None:
    """(B, C, H, W) with mirrored edges: left, right, top, bottom."""
    if image.dim() != IMAGES or len(padding) != IMAGES or min(padding) < 0:
        return None
    left, right, top, bottom = padding
    high, wide = image.shape[2:]
    if max(left, right) >= wide or max(top, bottom) >= high or 0 in image.shape:
        return None
    return shaped(image, (*image.shape[:2], high + top + bottom, wide + left + right))


def reflect_backward(_gradient: Tensor, image: Tensor, _padding: Sides) -> Tensor | None:
    """Of an image, laid out as it is."""
    return like(image) if image.dim() == IMAGES else None


def resize(image: Tensor, size: Sides, *_: Any) -> Tensor | None:
    """(B, C, H, W) -> (B, C, *size)."""
    if image.dim() != IMAGES or not image.is_floating_point() or min(size) < 1 or 0 in image.shape:
        return None
    return shaped(image, (*image.shape[:2], *size))


def resize_backward(gradient: Tensor, _size: Sides, given: Sides, *_: Any) -> Tensor | None:
    """The gradient of the image of the shape `given`."""
    return shaped(gradient, given) if gradient.is_floating_point() else None


def bicubic_backward(gradient: Tensor, _size: Sides, given: Sides, *_: Any) -> Tensor | None:
    """The same; its kernel knows no channels_last."""
    return gradient.new_empty(given) if gradient.is_floating_point() else None


def unpool(value: Tensor, places: Tensor, size: Sides) -> Tensor | None:
    """(B, C, H, W) and the places of a max pool -> (B, C, *size)."""
    if value.dim() != IMAGES or places.shape != value.shape or min(size) < 1 or 0 in value.shape:
        return None
    return shaped(value, (*value.shape[:2], *size))
