"""A few training images as they are, and as a net would see them in several epochs."""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cnnctl.config.schema import Train
from cnnctl.data.order import Ticket
from cnnctl.data.prepare import WHITE, Prepare
from cnnctl.data.reading import Reader, Whole, Window
from cnnctl.data.source import Images, Source
from cnnctl.errors import DataError

ROWS = 8  # images
EPOCHS = 7


class Row(NamedTuple):
    """One image: uint8 (1 + EPOCHS, C, size, size), first unchanged, then epoch after epoch."""

    name: str
    label: str
    versions: Tensor


def preview(source: Source, train: Train) -> list[Row]:
    """At most ROWS images of train, of as many classes as there are.

    They are changed by the draws that training makes in its first epochs; where it mixes images,
    these are mixed with each other. Raises DataError if none can be read.
    """
    images, size = source.splits["train"], train.data.size
    samples = _chosen(images, len(source.classes))
    crop = train.augment.crop
    whole = Whole(size)
    view = whole if crop is None else Window(size, crop)
    prepare = Prepare(train, len(source.classes))
    seen = [Reader(images, whole, train.seed).batch(Ticket(samples, None)).images]
    for epoch in range(EPOCHS):
        batch = Reader(images, view, train.seed).batch(Ticket(samples, epoch))
        seen.append(intensities(prepare(batch)[0], train))
    versions = torch.stack(seen, 1)
    return [
        Row(images.name(sample), source.classes[images.labels[sample]], versions[row])
        for row, sample in enumerate(samples.tolist())
    ]


def intensities(images: Tensor, train: Train) -> Tensor:
    """What was normalised as uint8 again; what is beyond black and white is cut off."""
    mean, std = (torch.tensor(one).view(-1, 1, 1) for one in (train.data.mean, train.data.std))
    return ((images * std + mean) * WHITE).round().clamp(0, WHITE).to(torch.uint8)


def _chosen(images: Images, classes: int) -> np.ndarray:
    """Images that can be read: the first of every class, then the second, until there are ROWS."""
    members = [
        np.flatnonzero(images.labels == label)[: 2 * ROWS].tolist() for label in range(classes)
    ]
    chosen: list[int] = []
    wrong: DataError | None = None
    for turn in zip_longest(*members):
        for index in turn:
            if index is None or len(chosen) == ROWS:
                continue
            try:
                _ = images[index]
            except DataError as error:
                wrong = error
            else:
                chosen.append(index)
    if not chosen:
        raise wrong or DataError("there is no image to train on")
    return np.array(sorted(chosen, key=lambda index: (images.labels[index], index)), np.int64)
