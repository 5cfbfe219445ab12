"""Images decoded once: a file of uint8 pixels in the cache folder, served by slicing.

A folder per cache, named by a fingerprint of the files and of the form that is stored, so that
a file that has changed, a new size or a new version of cnnctl is another cache. It is built
beside its place and renamed, so that a reader never sees half of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cnnctl.data.places import cache_dir
from cnnctl.data.reading import Whole
from cnnctl.data.source import Encoded
from cnnctl.errors import DataError

VERSION = 1  # of the stored form; another one is another fingerprint
PIXELS, ABOUT = "pixels.u8", "about.json"
PART = 256  # images that one thread decodes and writes at a time
Tell = Callable[[int, int], None]  # images done, images in all


class Form(NamedTuple):
    """What is stored: images of channels x size x size."""

    size: int
    channels: int

    @property
    def bytes(self) -> int:
        """Of one image."""
        return self.channels * self.size * self.size


class Found(NamedTuple):
    """A cache: pixels uint8 (N, C, size, size).

    `broken` are the images that could not be read, with the reasons; `resized` is how many had
    another size.
    """

    folder: Path
    pixels: Tensor
    broken: dict[int, str]
    resized: int


def place() -> Path:
    """The folder of all caches."""
    return cache_dir() / "pixels"


def folder_of(images: Encoded, form: Form) -> Path:
    """Where the cache of all blobs behind `images` is, or would be.

    Its name changes with every file, with the form and with the version of what is stored.
    """
    text = f"{VERSION} {images.blobs.stamp()} {len(images.blobs)} {form} {images.least}"
    return place() / hashlib.sha256(text.encode()).hexdigest()[:32]


def find(folder: Path, images: Encoded, form: Form) -> Found | None:
    """The cache in `folder`; None where there is none that is whole."""
    return _open(folder, len(images.blobs), form)


def build(folder: Path, images: Encoded, form: Form, tell: Tell) -> Found:
    """The cache in `folder`, made unless it is there: of two that build it at once one waits.

    Raises OSError if there is no space, or the folder cannot be written.
    """
    count = len(images.blobs)
    place().mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        found = _open(folder, count, form)
        if found is None:
            shutil.rmtree(folder, ignore_errors=True)  # cut short, or not ours
            beside = Path(tempfile.mkdtemp(prefix=".", dir=place()))
            try:
                _fill(beside, images, form, tell)
                beside.rename(folder)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
            found = _open(folder, count, form)
    assert found is not None
    return found


def listed() -> list[dict[str, Any]]:
    """Every cache: its folder, what it holds, its bytes."""
    if not place().is_dir():
        return []
    rows = []
    for folder in sorted(place().iterdir()):
        if (folder / ABOUT).is_file() and not folder.name.startswith("."):
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            size = (folder / PIXELS).stat().st_size
            rows.append({"cache": str(folder), **about["holds"], "bytes": size})
    return rows


def clear() -> int:
    """Remove every cache, also what was left half built; returns the bytes that are free now."""
    if not place().is_dir():
        return 0
    freed = sum(file.stat().st_size for file in place().rglob("*") if file.is_file())
    shutil.rmtree(place())
    return freed


def _open(folder: Path, count: int, form: Form) -> Found | None:
    """A cache that says what is expected and has all its bytes."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        size = (folder / PIXELS).stat().st_size
    except (OSError, ValueError):
        return None
    if about.get("version") != VERSION or size != count * form.bytes:
        return None
    shape = (count, form.channels, form.size, form.size)
    pixels = np.memmap(folder / PIXELS, np.uint8, "c", shape=shape)  # c: torch wants it writable
    broken = {int(number): reason for number, reason in about["broken"].items()}
    return Found(folder, torch.from_numpy(pixels), broken, about["resized"])


def _fill(folder: Path, images: Encoded, form: Form, tell: Tell) -> None:
    """Decode everything, in parallel; written by offset, because a map dies on a full disk."""
    count = len(images.blobs)
    whole = Encoded(images.blobs, np.zeros(count, np.int64), form.channels, least=images.least)
    broken: dict[int, str] = {}
    done, resized = 0, 0
    with (folder / PIXELS).open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        os.posix_fallocate(file.fileno(), 0, max(1, count * form.bytes))
        os.ftruncate(file.fileno(), count * form.bytes)

        def part(start: int) -> _Part:
            found = _decoded(whole, range(start, min(start + PART, count)), form)
            os.pwrite(file.fileno(), found.pixels.numpy().tobytes(), start * form.bytes)
            return found

        for found in pool.map(part, range(0, count, PART)):
            broken |= found.broken
            resized += found.resized
            done += len(found.pixels)
            tell(done, count)
        os.fsync(file.fileno())
    example = images.blobs.name(0)
    holds = {"images": count, "size": form.size, "channels": form.channels, "first": example}
    about = {"version": VERSION, "holds": holds, "broken": broken, "resized": resized}
    (folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")


class _Part(NamedTuple):
    pixels: Tensor
    broken: dict[int, str]
    resized: int


def _decoded(images: Encoded, numbers: range, form: Form) -> _Part:
    """Pixels of these images, black where one cannot be read, and why it cannot."""
    pixels = torch.zeros(len(numbers), form.channels, form.size, form.size, dtype=torch.uint8)
    view, broken, resized = Whole(form.size), {}, 0
    for row, number in enumerate(numbers):
        try:
            image = images[number]
        except DataError as wrong:
            broken[number] = wrong.message
            continue
        resized += tuple(image.shape[1:]) != (form.size, form.size)
        pixels[row] = view(image)
    return _Part(pixels, broken, resized)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While another process builds the same cache, wait."""
    import fcntl

    with (folder.parent / f".{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
