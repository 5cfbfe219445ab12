"""How the images of each split get to the net: from memory, from a cache, or decoded anew."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cnnctl.config.images import Augment, Data, Folder
from cnnctl.config.masks import Masks
from cnnctl.data import cache, pair_feed, verify
from cnnctl.data.cache import Form, Found
from cnnctl.data.source import Encoded, Feed, Images, Mapped, Source, Stored
from cnnctl.errors import DataError

Tell = Callable[[str, int, int], None]  # what is done, images so far, images in all
SHARE = 0.5  # of the free space, and of the memory, that a cache may take unasked
MOST_WORKERS = 16
WHOLE = "random crops want the whole images"
NOT_YET = "it will be made before training"
AHEAD = 2  # batches that a worker has ready, as torch's loader asks for
SAMPLE = 64  # images that are looked at before all are decoded for a cache


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the configuration says, and the machine: `local` devices, of one `accelerator`.

    Without `build` nothing is written; a cache that is there is used.
    """

    data: Data
    augment: Augment
    accelerator: str
    local: int
    build: bool = True


def settle(source: Source, wanted: Wanted, tell: Tell) -> Source:
    """The source with its images where they are read from, and how that is, in `feeds`.

    Raises DataError for images that cannot be read, or leaves them out (data.on_error=skip),
    and for data.cache=always where there can be none.
    """
    if isinstance(wanted.data, Masks):
        machine = pair_feed.Machine(processes(wanted), wanted.local)
        return pair_feed.settle(source, wanted.data, machine, tell, build=wanted.build)
    splits, feeds = dict(source.splits), dict[str, Feed]()
    broken: dict[str, str] = {}
    for name, images in source.splits.items():
        if isinstance(images, Stored):
            feeds[name] = Feed(kind="memory", bytes=images.pixels.untyped_storage().nbytes())
            continue
        assert isinstance(images, Encoded)
        cropped = name == "train" and wanted.augment.crop is not None
        encoded = images if cropped else images.at_least(wanted.data.size)
        splits[name], feeds[name], faults = _served(encoded, wanted, tell, cropped=cropped)
        broken |= {images.blobs.name(number): reason for number, reason in faults.items()}
    _judge(broken, wanted.data)
    _complete(splits["train"], source.classes)
    reasons = {
        name: text.removeprefix(f"cannot read image {name}: ") for name, text in broken.items()
    }
    return replace(source, splits=splits, skipped={**source.skipped, **reasons}, feeds=feeds)


def _served(
    images: Encoded, wanted: Wanted, tell: Tell, *, cropped: bool
) -> tuple[Images, Feed, dict[int, str]]:
    """Images without the broken ones, how they are read, and the broken ones with reasons."""
    data = wanted.data
    form = Form(data.size, data.channels)
    found, why = None, None
    if data.cache != "never":
        found, why = _cached(images, form, wanted, tell, cropped=cropped)
    if data.cache == "always" and found is None and why != NOT_YET:
        raise DataError(f"data.cache=always is not possible: {why}", "data.cache=auto")
    if found is not None:
        mine = np.intersect1d(list(found.broken), images.indices).tolist()
        faults = {number: found.broken[number] for number in mine}
        size = len(images.labels) * form.bytes
        feed = Feed(kind="map", bytes=size, file=str(found.folder))
        return Mapped(found.pixels, images).pick(_sound(images, faults)), feed, faults
    if why == NOT_YET:
        feed = Feed(kind="map", bytes=len(images.labels) * form.bytes, why=why)
        return images, feed, {}
    faults = dict[int, str]()
    if isinstance(data, Folder) and data.verify:
        told = verify.known(images)
        if told is None and wanted.build:
            told = verify.broken(images, lambda *done: tell("checking", *done))
        faults = told or {}
    workers = processes(wanted)
    ahead = AHEAD * data.batch_size * form.bytes if workers else 0
    feed = Feed(kind="decode", bytes=ahead, workers=workers, why=why)
    return images.pick(_sound(images, faults)), feed, faults


def _cached(
    images: Encoded, form: Form, wanted: Wanted, tell: Tell, *, cropped: bool
) -> tuple[Found | None, str | None]:
    """The cache, or why there is none."""
    if cropped and not _native(images, form):
        return None, WHOLE
    need, asked = len(images.blobs) * form.bytes, wanted.data.cache == "always"
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if need > SHARE * memory and not asked:  # told first: of a million files each is looked at
        return None, f"{need / 1e9:.1f} GB do not fit in {memory / 1e9:.1f} GB of memory"
    images = images.at_least(form.size)  # one cache, whether or not train is cropped
    folder = cache.folder_of(images, form)
    found = cache.find(folder, images, form)
    if found is None:
        try:
            why = _too_large(need, asked=asked)
            if why is not None or not wanted.build:
                return None, why or NOT_YET
            found = cache.build(folder, images, form, lambda *done: tell("decoding", *done))
        except OSError as wrong:
            return None, f"cannot write {cache.place()}: {wrong.strerror}"
    if cropped and found.resized:
        return None, WHOLE
    return found, None


def _too_large(need: int, *, asked: bool) -> str | None:
    """Why `need` bytes are too many for the disk; None if they fit."""
    there = next(path for path in (cache.place(), *cache.place().parents) if path.exists())
    free = shutil.disk_usage(there).free
    share = 1 if asked else SHARE
    if need > share * free:
        return f"{need / 1e9:.1f} GB do not fit beside {free / 1e9:.1f} GB free in {there}"
    return None


def _native(images: Encoded, form: Form) -> bool:
    """Whether the images that are looked at have the stored size already."""
    for index in range(0, len(images.labels), max(1, len(images.labels) // SAMPLE)):
        with contextlib.suppress(DataError):  # a broken one is told later
            if tuple(images[index].shape[1:]) != (form.size, form.size):
                return False
    return True


def _sound(images: Encoded, faults: dict[int, str]) -> np.ndarray:
    """The images without those whose blobs are broken."""
    return np.flatnonzero(~np.isin(images.indices, list(faults)))


def _judge(broken: dict[str, str], data: Data) -> None:
    if broken and data.on_error == "fail":
        first, *others = broken.values()
        more = f", and {len(others)} more" if others else ""
        hint = "mend or remove it, or leave such files out with data.on_error=skip"
        raise DataError(f"{first}{more}", hint)


def _complete(train: Images, classes: tuple[str, ...]) -> None:
    counts = np.bincount(train.labels, minlength=len(classes))
    if not counts.all():
        empty = classes[int(counts.argmin())]
        raise DataError(f"no image of class '{empty}' is left to train on", "mend its images")


def processes(wanted: Wanted) -> int:
    """That decode: on a GPU all cores do; on a CPU they would take the cores from the net."""
    if wanted.data.workers != "auto":
        return wanted.data.workers
    cores = os.cpu_count() or 1
    if wanted.accelerator == "cpu":
        return cores // 4 // wanted.local
    return min(MOST_WORKERS, cores // wanted.local)
