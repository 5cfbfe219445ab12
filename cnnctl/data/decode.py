"""From the bytes of an image file to pixels."""

from __future__ import annotations

import io
import logging

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from cnnctl.errors import DataError

logging.getLogger("PIL").addHandler(logging.NullHandler())  # its reasons are in our errors


def image(data: bytes, channels: int, name: str, least: int | None = None) -> Tensor:  # noqa: ARG001
    """The image as uint8 (channels, H, W), upright as its EXIF says.

    Raises DataError, naming the image, if it cannot be decoded to the last pixel.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            upright = _eight_bits(ImageOps.exif_transpose(opened))
            upright = upright.convert("L" if channels == 1 else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as wrong:
        raise DataError(f"cannot read image {name}: {_reason(data, wrong)}") from wrong
    pixels = torch.from_numpy(np.array(upright))
    return pixels.unsqueeze(0) if channels == 1 else pixels.permute(2, 0, 1)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image in a mode that PIL converts without loss of what is seen, and in silence.

    PIL would cut 16-bit grey off at 255, which leaves it white, and warns of palettes with
    transparent entries.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no scale; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        levels = np.asarray(image).clip(0, 65535) / 257
        return Image.fromarray(levels.round().astype(np.uint8))
    return image.convert("RGBA") if image.mode == "P" else image


def _reason(data: bytes, wrong: Exception) -> str:
    if not data:
        return "the file is empty"
    if isinstance(wrong, UnidentifiedImageError):
        return "not an image"
    return str(wrong)
