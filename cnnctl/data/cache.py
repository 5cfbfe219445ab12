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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cnnctl.data import parts
from cnnctl.data.places import cache_dir
from cnnctl.data.reading import Whole
from cnnctl.data.source import Encoded
from cnnctl.errors import DataError

VERSION = 1  # of the stored form; another one is another fingerprint
PIXELS, ABOUT = "pixels.u8", "about.json"
PART = 256  # images that one thread decodes and writes at a time, or fewer:
LARGEST = 2**25  # bytes of them, since every thread holds its own
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
            beside = place() / f".{folder.name}"
            for rest in (folder, beside):  # cut short, or left by a process that was killed
                shutil.rmtree(rest, ignore_errors=True)
            beside.mkdir()
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
        about = None if folder.name.startswith(".") else _about(folder)
        if about is not None:
            rows.append({"cache": str(folder), **about["holds"], "bytes": about["bytes"]})
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
    about = _about(folder)
    if about is None or about["bytes"] != count * form.bytes:
        return None
    shape = (count, form.channels, form.size, form.size)
    pixels = np.memmap(folder / PIXELS, np.uint8, "c", shape=shape)  # c: torch wants it writable
    broken = {int(number): reason for number, reason in about["broken"].items()}
    return Found(folder, torch.from_numpy(pixels), broken, about["resized"])


def _about(folder: Path) -> dict[str, Any] | None:
    """What a cache says of itself, and its bytes; None if it is damaged, or another version's."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        size = (folder / PIXELS).stat().st_size
        whole = {"version", "holds", "broken", "resized"} <= about.keys()
    except (OSError, ValueError, AttributeError):
        return None
    return {**about, "bytes": size} if whole and about["version"] == VERSION else None


def _fill(folder: Path, images: Encoded, form: Form, tell: Tell) -> None:
    """Decode everything, in parallel; written by offset, because a map dies on a full disk."""
    count = len(images.blobs)
    whole = Encoded(images.blobs, np.zeros(count, np.int64), form.channels, least=images.least)
    broken: dict[int, str] = {}
    done, resized = 0, 0
    with (folder / PIXELS).open("wb") as file:
        if hasattr(os, "posix_fallocate"):  # macOS lacks it, and learns later that a disk is full
            os.posix_fallocate(file.fileno(), 0, count * form.bytes)
        step = max(1, min(PART, LARGEST // form.bytes))

        def part(start: int) -> tuple[int, dict[int, str], int]:
            numbers = range(start, min(start + step, count))
            pixels, faults, others = _decoded(whole, numbers, form)
            _write(file.fileno(), pixels, start * form.bytes)
            return len(numbers), faults, others  # not the pixels: they would wait for the slowest

        for read, faults, others in parts.run(part, range(0, count, step)):
            broken |= faults
            resized += others
            done += read
            tell(done, count)
        os.fsync(file.fileno())
    example = images.blobs.name(0)
    holds = {"images": count, "size": form.size, "channels": form.channels, "first": example}
    about = {"version": VERSION, "holds": holds, "broken": broken, "resized": resized}
    (folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")


def _write(file: int, pixels: Tensor, place: int) -> None:
    """All bytes: one call may write fewer, where the disk is almost full."""
    rest = pixels.numpy().data.cast("B")
    while rest:
        written = os.pwrite(file, rest, place)
        rest, place = rest[written:], place + written


def _decoded(
    images: Encoded, numbers: range, form: Form
) -> tuple[Tensor, dict[int, str], int]:  # fmt: skip
    """Pixels of these images, black where one cannot be read; why it cannot; how many resized."""
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
    return pixels, broken, resized


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While another process builds the same cache, wait."""
    import fcntl

    with (folder.parent / f".{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
