"""Masks as they are stored: from the values in a file to the class of each pixel."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from cnnctl.config.legend import MOST, Legend
from cnnctl.config.masks import IGNORE
from cnnctl.data.decode import reason, turned
from cnnctl.data.source import Blobs
from cnnctl.errors import DataError

KEEPING = {  # formats that keep every value, and their endings
    "PNG": (".png",), "BMP": (".bmp",), "PPM": (".pgm", ".ppm"), "TIFF": (".tif", ".tiff"),
}  # fmt: skip
LOSSY = "it mixes the values of neighbours; save masks as PNG"
GIF = "whoever saves it numbers its colours anew; save masks as PNG"
NAMED = 5  # unknown values of a mask
UNKNOWN = -1


class MaskImages:
    """Masks in files, whose values a legend explains."""

    def __init__(self, blobs: Blobs, legend: Legend, indices: np.ndarray | None = None) -> None:
        self.blobs = blobs
        self.legend = legend
        self.indices = np.arange(len(blobs)) if indices is None else indices

    def __getitem__(self, index: int, /) -> Tensor:
        """uint8 (H, W): the class of each pixel, or IGNORE. Raises DataError, naming the file."""
        place = int(self.indices[index])
        name = self.blobs.name(place)
        return classes(values(self._bytes(place), self.legend.coloured, name), self.legend, name)

    def turned(self, index: int) -> int:
        """The orientation that the file states (EXIF), 1 if it is upright or states none."""
        return turned(self._bytes(int(self.indices[index])))

    def name(self, index: int) -> str:
        """The file's path."""
        return self.blobs.name(int(self.indices[index]))

    def pick(self, indices: np.ndarray) -> MaskImages:
        """Of the same blobs."""
        return MaskImages(self.blobs, self.legend, self.indices[indices])

    def _bytes(self, place: int) -> bytes:
        try:
            return self.blobs[place]
        except DataError as wrong:
            raise DataError(wrong.message.replace("read image", "read mask", 1)) from wrong


def values(data: bytes, coloured: bool, name: str) -> np.ndarray:  # noqa: FBT001 - of a legend
    """What stands in a file of a mask: int32 (H, W), upright as its EXIF says.

    Grey levels, or indices where there is a palette; 0xrrggbb where the legend is `coloured`.
    What is transparent keeps the colour that is stored for it. Raises DataError, naming the file,
    if it cannot be read to the last pixel, is lossy, or has other pixels than the legend.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            if opened.format not in KEEPING or "jpeg" in str(opened.info.get("compression")):
                text = f"mask {name} is stored as {opened.format}"
                raise DataError(text, GIF if opened.format == "GIF" else LOSSY)
            if getattr(opened, "n_frames", 1) > 1:
                raise DataError(f"mask {name} has several pictures", "save each as a file")
            ImageOps.exif_transpose(opened, in_place=True)
            return _colours(opened, name) if coloured else _numbers(opened, name)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as wrong:
        raise DataError(f"cannot read mask {name}: {reason(data, wrong)}") from wrong


def classes(found: np.ndarray, legend: Legend, name: str) -> Tensor:
    """The class of each pixel, or IGNORE, uint8 (H, W), of the values in a mask.

    Raises DataError, naming the file, for a value that the legend does not have.
    """
    known = np.array([*legend.values, *legend.ignored])
    numbers = np.array([*range(len(legend.values)), *[IGNORE] * len(legend.ignored)], np.int16)
    if legend.coloured:
        order = np.argsort(known)
        places = np.searchsorted(known[order], found).clip(max=len(known) - 1)
        told = np.where(known[order][places] == found, numbers[order][places], UNKNOWN)
    else:
        table = np.full(MOST + 1, UNKNOWN, np.int16)
        table[known] = numbers
        told = table[found]
    if told.min(initial=0) == UNKNOWN:
        raise _unknown(found, told == UNKNOWN, legend, name)
    return torch.from_numpy(told.astype(np.uint8))


def _numbers(opened: Image.Image, name: str) -> np.ndarray:
    """Colour whose channels are equal is grey."""
    if opened.mode == "P" or opened.mode.startswith("I"):
        found = np.asarray(opened).astype(np.int32)
        if wrong := found[(found < 0) | (found > MOST)][:1].tolist():  # of 32 bits
            raise DataError(f"mask {name} has the value {wrong[0]}", f"save masks with 0 to {MOST}")
        return found
    if opened.mode == "1":  # white is 255, as in a file of 8 bits
        return np.asarray(opened.convert("L")).astype(np.int32)
    bands = np.atleast_3d(np.asarray(opened))[..., : len(opened.getbands()) - _alpha(opened)]
    if opened.mode not in ("L", "LA", "RGB", "RGBA"):
        raise ValueError(f"pixels of mode {opened.mode} are no classes")
    if (bands != bands[..., :1]).any():
        text = f"mask {name} is in colour, but the values of the classes are numbers"
        raise DataError(text, "give the colour of each class: data.values=['#000000', …]")
    return bands[..., 0].astype(np.int32)


def _colours(opened: Image.Image, name: str) -> np.ndarray:
    if opened.mode.startswith(("I", "F")):
        text = f"mask {name} has levels of grey, but the values of the classes are colours"
        raise DataError(text, "give the level of each class: data.values=[0, …]")
    if opened.mode == "P":
        opened = opened.convert("RGBA")  # PIL warns of palettes with transparent entries
    red, green, blue = np.moveaxis(np.asarray(opened.convert("RGB")).astype(np.int32), 2, 0)
    return red << 16 | green << 8 | blue


def _alpha(opened: Image.Image) -> int:
    return int(opened.mode in ("LA", "RGBA"))


def _unknown(found: np.ndarray, where: np.ndarray, legend: Legend, name: str) -> DataError:
    """The first unknown value, how often and where it stands, and what may be meant."""
    row, column = np.argwhere(where)[0].tolist()
    value = int(found[row, column])
    pixels, others = int((found == value).sum()), np.unique(found[where]).tolist()
    others.remove(value)
    text = f"mask {name} has the unknown value {legend.show([value])} in {pixels:,} pixel"
    text += f"{'s' * (pixels > 1)}, first in row {row}, column {column}, counted from 0"
    if others:
        text += f"; and {legend.show(others[:NAMED])}{', …' * (len(others) > NAMED)}"
    present = np.unique(found).tolist()
    if len(present) == len(legend.classes):
        return DataError(text, legend.with_values(present))
    known = legend.show(legend.values)
    return DataError(text, f"known are {known}; to leave it out: {legend.with_ignored(value)}")
