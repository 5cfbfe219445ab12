"""Small images as files hold them, and whole configurations, for tests of the data pipeline."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from cnnctl.config import compose, preflight, schema
from cnnctl.data import feed
from cnnctl.data.feed import Wanted
from cnnctl.data.order import Ticket
from cnnctl.data.reading import Reader, Whole
from cnnctl.data.source import Encoded, Source
from cnnctl.errors import DataError

SIZE = 12  # of images once they are read, where a test does not say


def picture(number: int, height: int, width: int, mode: str = "RGB", form: str = "PNG") -> bytes:
    """A file with a smooth image, another one for every number."""
    generator = np.random.default_rng(number)
    small = Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    stream = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(stream, form)
    return stream.getvalue()


def mixed(count: int, size: int = SIZE) -> list[bytes]:
    """Files of many sizes, modes and formats."""
    modes = ("RGB", "L", "RGBA", "P")
    return [
        picture(number, size + 3 * (number % 5), size + number % 7, modes[number % 4])
        if number % 3
        else picture(number, 4 * size, 5 * size, "RGB", "JPEG")
        for number in range(count)
    ]


class Album:
    """Blobs in memory that count how often each of them is read."""

    def __init__(self, files: Sequence[bytes], missing: Sequence[int] = ()) -> None:
        self.files = list(files)
        self.missing = set(missing)
        self.reads = [0] * len(files)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int, /) -> bytes:
        self.reads[index] += 1
        if index in self.missing:
            raise DataError(f"cannot read image {self.name(index)}: Permission denied")
        return self.files[index]

    def name(self, index: int) -> str:
        return f"album/{index}.png"

    def stamp(self) -> str:
        return hashlib.sha256(b"\0".join(self.files)).hexdigest()


def encoded(files: Sequence[bytes], channels: int = 3, classes: int = 2, **more: Any) -> Encoded:
    """These files as images of alternating classes."""
    labels = np.arange(len(files), dtype=np.int64) % classes
    return Encoded(Album(files, **more), labels, channels)


def source(images: Encoded, train: int) -> Source:
    """The first `train` images to train on, the others for validation."""
    parts = np.split(np.arange(len(images.labels)), [train])
    splits = {name: images.pick(part) for name, part in zip(("train", "val"), parts, strict=True)}
    return Source(("cat", "dog"), splits)


def configured(*overrides: str) -> schema.Train:
    """A checked configuration: configured("data=folder", "augment=shift")."""
    with compose.opened():
        config, problems = compose.compose("train", ["hardware=cpu", "progress=none", *overrides])
    train, problems = preflight.check(config, problems)
    assert problems == []
    assert train is not None
    return train


def colour(*more: str, size: int = SIZE) -> schema.Train:
    """A configuration for colour images in a folder, of size x size once read."""
    return configured("data=folder", "data.root=.", f"data.size={size}", *more)


def scatter(root: Path, splits: dict[str, dict[str, Sequence[bytes]]]) -> Path:
    """Write root/<split>/<class>/<number>.png."""
    for split, classes in splits.items():
        for name, files in classes.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for number, data in enumerate(files):
                (folder / f"{number:03}.png").write_bytes(data)
    return root


def settled(found: Source, train: schema.Train, *, build: bool = True, **more: Any) -> Source:
    """As a run on one CPU would read it; what is told goes to the list `told`, if given."""
    told = more.pop("told", [])
    place = {"accelerator": "cpu", "local": 1} | more
    wanted = Wanted(data=train.data, augment=train.augment, build=build, **place)
    return feed.settle(found, wanted, lambda *done: told.append(done))


def blobs(found: Source) -> Any:
    """Where the images of training come from: an Album."""
    return found.splits["train"].blobs


def pixels(found: Source, split: str = "val") -> Tensor:
    """All images of a split as they are measured."""
    reader = Reader(found.splits[split], Whole(SIZE), seed=0)
    return reader.batch(Ticket(np.arange(len(reader)), None)).images
