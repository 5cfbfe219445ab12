"""A folder of images: root/train/<class>/*, and root/val and root/test if there are any.

Class numbers come from the sorted names under train, and every split must have the same
names, so that a number never means two classes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from cnnctl.config import schema
from cnnctl.config.near import did_you_mean
from cnnctl.data.source import Images, Source
from cnnctl.data.split import stratified
from cnnctl.errors import DataError

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
logging.getLogger("PIL").addHandler(logging.NullHandler())  # its reasons are in our errors
LAYOUT = "it must hold train/<class>/<image>"


class FileImages:
    """Images that are read from their files each time they are wanted."""

    def __init__(self, paths: Sequence[Path], labels: Sequence[int], channels: int) -> None:
        self.paths = paths
        self.labels = labels
        self.channels = channels

    def __getitem__(self, index: int, /) -> tuple[Tensor, int]:
        return read_image(self.paths[index], self.channels), self.labels[index]

    def pick(self, indices: Iterable[int]) -> FileImages:
        """The images at `indices`, in that order."""
        chosen = list(indices)
        paths = [self.paths[index] for index in chosen]
        return FileImages(paths, [self.labels[index] for index in chosen], self.channels)


def load(data: schema.Data) -> Source:
    """List, check and split the folder data.root; raises DataError, naming folder or file."""
    assert isinstance(data, schema.Folder)
    root = Path(data.root).expanduser()
    if not root.is_dir():
        raise DataError(f"data.root is not a folder: {root}", LAYOUT)
    if not (root / "train").is_dir():
        raise DataError(f"{root} has no folder 'train'", LAYOUT)
    classes = _classes(root / "train")
    if len(classes) == 1:
        raise DataError(f"{root / 'train'} has one class only: {classes[0]}", "give two or more")
    names = ["train", *(name for name in ("val", "test") if (root / name).is_dir())]
    for name in names[1:]:  # before the images are read, which can take minutes
        _same_classes(root, name, classes)
    skipped: dict[str, str] = {}
    splits = {name: _list(root / name, classes, data, skipped) for name in names}
    if "val" not in splits:
        whole = splits["train"]
        share = {"val": data.val_fraction}
        parts = stratified(whole.labels, share, data.split_seed, classes)
        splits = {**splits, **{name: whole.pick(indices) for name, indices in parts.items()}}
    ordered: dict[str, Images] = {name: splits[name] for name in sorted(splits, key=_order)}
    return Source(classes, ordered, skipped)


def read_image(path: Path, channels: int) -> Tensor:
    """The image as uint8 (channels, H, W), upright as its EXIF says.

    Raises DataError, naming the file, if it cannot be decoded to the last pixel.
    """
    try:
        with Image.open(path) as image:
            upright = _eight_bits(ImageOps.exif_transpose(image))
            upright = upright.convert("L" if channels == 1 else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as wrong:
        raise DataError(f"cannot read image {path}: {_reason(path, wrong)}") from wrong
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


def _order(split: str) -> int:
    return ("train", "val", "test").index(split)


def _classes(folder: Path) -> tuple[str, ...]:
    names = sorted(
        entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."
    )
    if not names:
        raise DataError(f"{folder} has no class folders", LAYOUT)
    return tuple(names)


def _same_classes(root: Path, split: str, classes: tuple[str, ...]) -> None:
    given = _classes(root / split)
    for name in given:
        if name not in classes:
            text = f"{root / split} has class '{name}', which {root / 'train'} lacks"
            raise DataError(text, did_you_mean(name, classes))
    for name in classes:
        if name not in given:
            text = f"{root / 'train'} has class '{name}', which {root / split} lacks"
            raise DataError(text, did_you_mean(name, given) or "every split needs every class")


def _list(
    folder: Path, classes: tuple[str, ...], data: schema.Folder, skipped: dict[str, str]
) -> FileImages:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = sorted(
            path for path in (folder / name).rglob("*") if path.suffix.lower() in SUFFIXES
        )
        if data.verify:
            broken = _broken(files, data.channels)
            if broken and data.on_error == "fail":
                hint = "mend or remove it, or leave such files out with data.on_error=skip"
                file, reason = next(iter(broken.items()))
                others = len(broken) - 1
                more = f", and {others} more in {folder / name}" if others else ""
                raise DataError(f"cannot read image {file}: {reason}{more}", hint)
            skipped.update({str(path): reason for path, reason in broken.items()})
            files = [path for path in files if path not in broken]
        if not files:
            raise DataError(
                f"{folder / name} has no images", f"known endings: {' '.join(sorted(SUFFIXES))}"
            )
        paths += files
        labels += [label] * len(files)
    return FileImages(paths, labels, data.channels)


def _broken(files: Sequence[Path], channels: int) -> dict[Path, str]:
    """The files that cannot be decoded, with the reason."""

    def reason(path: Path) -> str | None:
        try:
            read_image(path, channels)
        except DataError as wrong:
            return wrong.message.removeprefix(f"cannot read image {path}: ")
        return None

    with ThreadPoolExecutor() as pool:  # PIL decodes outside Python's lock
        reasons = dict(zip(files, pool.map(reason, files), strict=True))
    return {path: text for path, text in reasons.items() if text is not None}


def _reason(path: Path, wrong: Exception) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(wrong, UnidentifiedImageError):
        return "not an image"
    return str(wrong)
