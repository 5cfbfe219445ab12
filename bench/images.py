"""Folders of images for the comparisons: a part of CIFAR-10's files, and photos made here."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

CIFAR = Path("~/.cache/cnnctl-trial/cifar10")
PHOTO = (391, 472)  # height and width: the mean of ImageNet's photos
QUALITY = 96  # of JPEG: about 100 KiB each, as ImageNet's


def add_argument(parser: argparse.ArgumentParser) -> None:
    """`--cifar`, which is $CNNCTL_TRIAL if that is set."""
    given = Path(os.environ.get("CNNCTL_TRIAL", CIFAR))
    text = "CIFAR-10 as train/<class>/*.jpg and test/<class>/*.jpg (%(default)s)"
    parser.add_argument("--cifar", type=Path, default=given, help=text)


def found(folder: Path) -> Path | None:
    """The folder of CIFAR-10, or None, with a line about it, where there is none."""
    folder = folder.expanduser()
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        return folder
    print(f"left out: no CIFAR-10 in {folder}; give it with --cifar or CNNCTL_TRIAL")
    return None


def part(cifar: Path, place: Path, sizes: Mapping[str, int]) -> Path:
    """Links to the first images of every class: train, val (behind those of train) and test."""
    start = 0
    for split, images in sizes.items():
        source = cifar / ("test" if split == "test" else "train")
        classes = sorted(folder for folder in source.iterdir() if folder.is_dir())
        share = images // len(classes)
        start = 0 if split == "test" else start
        for folder in classes:
            (place / split / folder.name).mkdir(parents=True)
            for file in sorted(folder.iterdir())[start : start + share]:
                (place / split / folder.name / file.name).symlink_to(file)
        start += share
    return place


def photos(place: Path, sizes: Mapping[str, int]) -> Path:
    """JPEGs with the size in pixels and in bytes of photos, in two classes: noise at all scales."""
    import torch
    from torch.nn.functional import interpolate
    from torchvision.io import write_jpeg

    generator = torch.Generator().manual_seed(0)
    for split, images in sizes.items():
        for number in range(images):
            image = torch.zeros(1, 3, *PHOTO)
            for scale in (4, 16, 64, 256):
                size = tuple(-(-side // (256 // scale)) for side in PHOTO)
                noise = torch.randn(1, 3, *size, generator=generator) / scale**0.5
                image += interpolate(noise, PHOTO, mode="bilinear")
            pixels = (image[0] * 90 + 128).clamp(0, 255).to(torch.uint8)
            folder = place / split / f"class{number % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            write_jpeg(pixels, str(folder / f"{number:04}.jpg"), QUALITY)
    return place
