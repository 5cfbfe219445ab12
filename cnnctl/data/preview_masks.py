"""A few training images with their masks, as they are and as a net would see them."""

from __future__ import annotations

from pathlib import PurePath
from typing import NamedTuple, cast

import numpy as np

from cnnctl.config.schema import Train
from cnnctl.data.order import Ticket
from cnnctl.data.pair_reading import Cut, Entire, PairReader
from cnnctl.data.pairs import Pairs
from cnnctl.data.prepare import Prepare
from cnnctl.data.preview import ROWS, intensities
from cnnctl.data.source import Source
from cnnctl.errors import DataError

EPOCHS = 3
LOOKED = 64  # masks from which those are chosen that show most of the classes


class PairRow(NamedTuple):
    """One image: first whole and unchanged, then epoch after epoch.

    Images uint8 (C, H, W), and masks uint8 (H, W) of the same sizes.
    """

    name: str
    label: str
    images: list[np.ndarray]
    masks: list[np.ndarray]


def preview(source: Source, train: Train) -> list[PairRow]:
    """At most ROWS images of train, which have as many classes as possible.

    They are cut and changed by the draws that training makes in its first epochs. Raises DataError
    if none can be read.
    """
    pairs = cast("Pairs", source.splits["train"])
    samples = _chosen(pairs, len(source.classes))
    whole = Entire(None)
    rows = [
        PairRow(pairs.name(sample), PurePath(pairs.name(sample)).name, [], [])
        for sample in samples.tolist()
    ]
    for row, sample in zip(rows, samples.tolist(), strict=True):
        image, mask = whole(*pairs.pair(sample))
        row.images.append(image.numpy())
        row.masks.append(mask[0].numpy())
    view = Cut(train.data.size, getattr(train.data, "resize", None), train.augment.crop)
    reader, prepare = PairReader(pairs, view, train.seed), Prepare(train, len(source.classes))
    for epoch in range(EPOCHS):
        images, masks, _ = prepare(reader.batch(Ticket(samples, epoch)))
        for row, image, mask in zip(rows, intensities(images, train), masks, strict=True):
            row.images.append(image.numpy())
            row.masks.append(mask[0].numpy())
    return rows


def _chosen(pairs: Pairs, classes: int) -> np.ndarray:
    """Images that can be read, each with as many classes as possible that those before lack."""
    count = len(pairs.labels)
    held: dict[int, set[int]] = {}
    wrong: DataError | None = None
    for place in np.unique(np.linspace(0, count - 1, LOOKED).astype(np.int64)).tolist():
        try:
            _, mask = pairs.pair(place)
        except DataError as error:
            wrong = error
        else:
            held[place] = {one for one in np.unique(mask[0].numpy()).tolist() if one < classes}
    if not held:
        raise wrong or DataError("there is no image to train on")
    chosen: list[int] = []
    shown = set[int]()
    while held and len(chosen) < ROWS:
        best = max(held, key=lambda place: len(held[place] - shown))
        if not held[best] - shown and shown:
            shown = set()  # all that can be shown has been: once more
            continue
        shown |= held.pop(best)
        chosen.append(best)
    return np.array(sorted(chosen), np.int64)
