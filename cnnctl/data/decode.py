"""From the bytes of an image file to pixels."""

from __future__ import annotations

import io
import logging
from typing import NamedTuple

import numpy as np
import torch
import torchvision  # noqa: F401 - brings torch.ops.image
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from cnnctl.errors import DataError

logging.getLogger("PIL").addHandler(logging.NullHandler())  # its reasons are in our errors

JPEG = b"\xff\xd8"
FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive; the others are hardly used
ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a segment
SCAN, END, APP1 = 0xDA, 0xD9, 0xE1
AS_IT_IS = 0  # torchvision's mode UNCHANGED
ORIENTATION, UPRIGHT = 0x0112, 1  # of EXIF
PNG, TELLING = b"\x89PNG", (b"eXIf", b"iTXt", b"tEXt", b"zTXt")  # chunks that may hold EXIF


class Frame(NamedTuple):
    """What the head of a JPEG says of its image."""

    height: int
    width: int
    components: int


def image(data: bytes, channels: int, name: str, least: int | None = None) -> Tensor:
    """The image as uint8 (channels, H, W), upright as its EXIF says.

    What is transparent keeps the colour that is stored for it. With `least`, a JPEG whose short
    side has 2·least pixels or more is decoded at a half, a quarter or an eighth of its size, so
    that the short side keeps at least so many. Raises DataError, naming the image, if it cannot
    be decoded to the last pixel.
    """
    frame = _frame(data)
    if frame is not None and _usual(frame, channels, least):
        quick = _quick(data)
        if quick is not None:
            return quick.expand(channels, -1, -1)
    return _any(data, channels, name, least)


def turned(data: bytes) -> int:
    """How an image is stored, 1 to 8 as EXIF counts: 1 is upright, 5 to 8 have swapped sides."""
    if data.startswith(PNG) and not any(chunk in data for chunk in TELLING):
        return UPRIGHT  # PIL would decode it all to look behind the pixels
    try:
        with Image.open(io.BytesIO(data)) as opened:
            found = opened.getexif().get(ORIENTATION, UPRIGHT)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return UPRIGHT
    return found if found in range(1, 9) else UPRIGHT


def _usual(frame: Frame, channels: int, least: int | None) -> bool:
    """Whether torchvision decodes it to the same pixels as PIL would, and as safely."""
    pixels = frame.height * frame.width
    return (
        frame.components in {1, channels}
        and 0 < pixels <= (Image.MAX_IMAGE_PIXELS or 0)
        and (least is None or min(frame.height, frame.width) < 2 * least)
    )


def _quick(data: bytes) -> Tensor | None:
    """A JPEG by torchvision, with the components that it has; None if something is wrong.

    The operator and not torchvision.io, which warns since 0.29 that it will go; without it PIL
    does all. Not for PNG: on damaged pixels torchvision's decoder kills the process.
    """
    buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)  # torch wants it writable
    try:
        return torch.ops.image.decode_jpeg(buffer, AS_IT_IS, True)  # noqa: FBT003 - upright
    except (AttributeError, RuntimeError):
        return None  # PIL has the last word, and the better reasons


def _any(data: bytes, channels: int, name: str, least: int | None) -> Tensor:
    """By PIL, whatever it knows."""
    wanted = "L" if channels == 1 else "RGB"
    try:
        with Image.open(io.BytesIO(data)) as opened:
            if least is not None:
                opened.draft(None, (least, least))
            ImageOps.exif_transpose(opened, in_place=True)
            upright = _eight_bits(opened)
            pixels = np.array(upright if upright.mode == wanted else upright.convert(wanted))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as wrong:
        raise DataError(f"cannot read image {name}: {reason(data, wrong)}") from wrong
    found = torch.from_numpy(pixels)
    return found.unsqueeze(0) if channels == 1 else found.permute(2, 0, 1)


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


def _frame(data: bytes) -> Frame | None:
    """The head of a JPEG of 8 bits (ITU-T T.81, annex B); None for anything else.

    None also where the orientation stands in XMP instead of EXIF, which torchvision ignores.
    """
    if data[:2] != JPEG:
        return None
    place = 2
    while place + 10 <= len(data) and data[place] == 0xFF:  # noqa: PLR2004 - starts every marker
        marker = data[place + 1]
        if marker == 0xFF or marker in ALONE:  # noqa: PLR2004 - filler before a marker
            place += 1 if marker == 0xFF else 2  # noqa: PLR2004 - as above
            continue
        if marker in FRAMES:
            _, bits, height, width, components = (
                int.from_bytes(data[place + start : place + stop])
                for start, stop in ((2, 4), (4, 5), (5, 7), (7, 9), (9, 10))
            )
            return Frame(height, width, components) if bits == 8 else None  # noqa: PLR2004
        after = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        if marker in {SCAN, END} or after == place + 2:
            return None
        if marker == APP1 and b":Orientation" in data[place:after]:
            return None
        place = after
    return None


def reason(data: bytes, wrong: Exception) -> str:
    """Why `data` could not be decoded, in a few words."""
    if not data:
        return "the file is empty"
    if isinstance(wrong, UnidentifiedImageError):
        return "not an image"
    return str(wrong)
