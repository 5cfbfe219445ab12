"""The class of every pixel of image files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from cnnctl.config.masks import Masks
from cnnctl.config.schema import Train
from cnnctl.data import pictures
from cnnctl.data.pair_reading import resized
from cnnctl.data.pictures import Failed, Picture
from cnnctl.errors import DataError
from cnnctl.scoring.scorer import Scorer
from cnnctl.scoring.scores import Tell
from cnnctl.scoring.tiles import Box, Tiled
from cnnctl.tasks.segment import fitted

AT_ONCE = 8  # files whose pixels are read at a time, since each has a size of its own
BROKEN = "what the net says of it is not finite"


@dataclass(frozen=True)
class Answer:
    """An image uint8 (C, H, W), and the class of each of its pixels, uint8 (H, W)."""

    picture: Picture
    classes: Tensor


def predict(
    scorer: Scorer, files: Sequence[str], train: Train, tell: Tell
) -> Iterator[Answer | Failed]:
    """Every file in its order: the classes of its pixels, or why there are none.

    Images keep their size: what `data.resize` shrinks or enlarges for the net, its logits are
    resized back to. Images of one size that follow one another are asked about together.
    """
    data, done = train.data, 0
    count = min(data.batch_size, AT_ONCE)
    most = data.batch_size * data.size**2
    for batch in pictures.batches(files, data.channels, None, count):
        for _, alike in groupby(batch, _size):
            yield from _answers(scorer, list(alike), train, most)
        done += len(batch)
        tell("predicting", done, len(files))


def _size(one: Picture | Failed) -> torch.Size | None:
    return one.pixels.shape if isinstance(one, Picture) else None


def _answers(
    scorer: Scorer, alike: Sequence[Picture | Failed], train: Train, most: int
) -> Iterator[Answer | Failed]:
    """Of images of one size, at most so many pixels at once, unless that is one image."""
    read = [one for one in alike if isinstance(one, Picture)]
    yield from (one for one in alike if isinstance(one, Failed))
    if not read:
        return
    height, width = read[0].pixels.shape[-2:]
    short = train.data.resize if isinstance(train.data, Masks) else None
    if short is not None:
        try:
            pictures.require_room(width, height, short)
        except DataError as wrong:
            yield from (Failed(one.file, wrong.message) for one in read)
            return
    step = max(1, most // (height * width))
    for start in range(0, len(read), step):
        some = read[start : start + step]
        images = torch.stack([one.pixels for one in some])
        try:
            found, sound = classified(scorer, images, short, mirror=train.trainer.test_flip)
        except DataError as wrong:
            yield from (Failed(one.file, wrong.message) for one in some)
            continue
        for one, classes, whole in zip(some, found, sound.tolist(), strict=True):
            yield Answer(one, classes) if whole else Failed(one.file, BROKEN)


def classified(
    scorer: Scorer, images: Tensor, short: int | None, *, mirror: bool
) -> tuple[Tensor, Tensor]:
    """The class of each pixel, uint8 (B, H, W), of images uint8 (B, C, H, W).

    And of which images all logits are finite, bool (B,). `short` is what the short side is resized
    to before. With `mirror` it is the mean of the logits of an image and of its mirror image,
    mirrored back. Of tiles no more logits are held than those of one, unless they are resized.
    """
    shown = resized(images, short)
    found = torch.empty(len(images), *images.shape[-2:], dtype=torch.uint8)
    sound = torch.ones(len(images), dtype=torch.bool)
    parts = _parts(scorer, shown, mirror=mirror, whole=shown is not images)
    for (top, left, *_), part in parts:
        logits = part if shown is images else fitted(part, images)
        height, width = logits.shape[-2:]
        found[:, top : top + height, left : left + width] = logits.argmax(1)
        sound &= logits.isfinite().all((1, 2, 3))
    return found, sound


def _parts(
    scorer: Scorer, images: Tensor, *, mirror: bool, whole: bool
) -> Iterator[tuple[Box, Tensor]]:
    """Parts of the images with their logits (B, classes, H, W); `whole` asks for one part."""
    height, width = images.shape[-2:]
    turned = images.flip(-1) if mirror else None
    if whole or not isinstance(scorer, Tiled):
        logits = scorer(images)
        if turned is not None:
            logits = (logits + scorer(turned).flip(-1)) / 2
        yield Box(0, 0, height, width), logits
        return
    for box in scorer.boxes(height, width):
        logits = scorer.part(images, box)
        if turned is not None:
            other = box._replace(left=width - box.left - box.width)
            logits = (logits + scorer.part(turned, other).flip(-1)) / 2
        yield box, logits
