"""From the numbers of images to batches of images and masks; what a loader process does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional
from torchvision.transforms.v2.functional import InterpolationMode

from cnnctl.data.draws import Draws
from cnnctl.data.order import Ticket
from cnnctl.data.pairs import Pairs
from cnnctl.data.reading import TRIES, Pixels, Window
from cnnctl.mirror import reflected


class Seen(NamedTuple):
    """An image uint8 (C, H, W), and a mask uint8 (planes, H', W')."""

    image: Tensor
    mask: Tensor


class PairView(Protocol):
    """What is taken of an image and of its mask, the same part of both."""

    draws: int  # random numbers that it wants for each image

    def __call__(self, image: Tensor, mask: Tensor, draws: Tensor) -> Seen:
        """`draws` are this image's, in [0, 1)."""
        ...


class Entire:
    """The whole image, with its short side resized if that is wanted; the whole mask as it is."""

    draws = 0

    def __init__(self, resize: int | None) -> None:
        self.resize = resize

    def __call__(self, image: Tensor, mask: Tensor, draws: Tensor | None = None) -> Seen:  # noqa: ARG002 - nothing is random
        """As `PairView` says."""
        return Seen(resized(image, self.resize), mask)


class Cut:
    """A window of size x size at a random place; what it lacks of a small image is mirrored.

    With `area` a crop of a random area and shape, resized (torchvision's RandomResizedCrop).
    """

    def __init__(self, size: int, resize: int | None, area: tuple[float, float] | None) -> None:
        self.size = size
        self.resize = resize
        self.window = None if area is None else Window(size, area)
        self.draws = 2 if area is None else 4 * TRIES

    def __call__(self, image: Tensor, mask: Tensor, draws: Tensor) -> Seen:
        """As `PairView` says; image and mask are then of one size."""
        image, mask = resized(image, self.resize), resized(mask, self.resize, exact=True)
        height, width = image.shape[-2:]
        if self.window is not None:
            top, left, tall, wide = self.window.box(height, width, draws)
            image, mask = (one[:, top : top + tall, left : left + wide] for one in (image, mask))
            size = (self.size, self.size)
            found = interpolate(image[None], size, mode="bilinear", antialias=True)[0]
            return Seen(found, interpolate(mask[None], size, mode="nearest-exact")[0])
        lines, columns = (
            _window(length, self.size, float(draw))
            for length, draw in zip((height, width), draws, strict=True)
        )
        return Seen(*(one.index_select(1, lines).index_select(2, columns) for one in (image, mask)))


class PairReader(Dataset[list[Pixels]]):
    """Reads whole batches of pairs; those of several sizes become a batch for each size."""

    def __init__(self, pairs: Pairs, view: PairView, seed: int, most: int | None = None) -> None:
        self.pairs = pairs
        self.view = view
        self.seed = seed
        self.most = most  # pixels of a batch, unless it is one image

    def __len__(self) -> int:
        return len(self.pairs.labels)

    def __getitems__(self, tickets: list[Ticket]) -> list[Pixels]:
        """The batches of these tickets, in order."""
        return [pixels for ticket in tickets for pixels in self.batches(ticket)]

    def batch(self, ticket: Ticket) -> Pixels:
        """One batch of images of one size."""
        (found,) = self.batches(ticket)
        return found

    def batches(self, ticket: Ticket) -> Iterator[Pixels]:
        """The batches of a ticket; measuring has as many as there are sizes, training one."""
        samples = ticket.samples % len(self)
        rows = torch.empty(len(samples), 0)
        if ticket.epoch is not None:
            rows = Draws(self.seed, ticket.epoch, ticket.samples).uniform("crop", self.view.draws)
        alike: dict[tuple[torch.Size, torch.Size], list[tuple[int, Seen]]] = {}
        for place, (sample, row) in enumerate(zip(samples.tolist(), rows, strict=True)):
            seen = self.view(*self.pairs.pair(sample), row)
            alike.setdefault((seen.image.shape, seen.mask.shape), []).append((place, seen))
        for group in alike.values():
            step = len(group)
            if self.most is not None:
                seen = group[0][1]  # logits are made as large as the mask
                step = max(1, self.most // max(seen.image[0].numel(), seen.mask[0].numel()))
            for start in range(0, len(group), step):
                places, seen = zip(*group[start : start + step], strict=True)
                images, masks = (torch.stack(parts) for parts in zip(*seen, strict=True))
                own = ticket._replace(samples=ticket.samples[np.array(places)])
                yield Pixels(images, masks, own)


def resized(value: Tensor, short: int | None, *, exact: bool = False) -> Tensor:
    """uint8 (…, H, W) with its short side of `short` pixels; `exact` mixes no values."""
    if short is None or min(value.shape[-2:]) == short:
        return value
    how = InterpolationMode.NEAREST_EXACT if exact else InterpolationMode.BILINEAR
    return functional.resize(value, [short], how, antialias=not exact)


def _window(length: int, size: int, draw: float) -> Tensor:
    """The places of `size` neighbours in a line, from a random one on; mirrored beyond the ends."""
    room = length - size
    start = int(draw * (room + 1)) if room >= 0 else -(-room // 2)
    return reflected(torch.arange(start, start + size), length)
