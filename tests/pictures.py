"""Image files that tests write and read."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def half_bright(mode: str = "RGB") -> Image.Image:
    """8 wide, 16 high, white above and black below."""
    pixels = np.zeros((16, 8, 3), np.uint8)
    pixels[:8] = 255
    return Image.fromarray(pixels).convert(mode)


def scene(width: int = 48, height: int = 32, mode: str = "RGB") -> Image.Image:
    """Smooth patches of many colours."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def by_pil(data: bytes, mode: str = "RGB") -> torch.Tensor:
    """What PIL alone makes of it: (C, H, W)."""
    with Image.open(io.BytesIO(data)) as opened:
        pixels = np.array(ImageOps.exif_transpose(opened).convert(mode))
    return torch.from_numpy(pixels).reshape(*pixels.shape[:2], -1).permute(2, 0, 1)
