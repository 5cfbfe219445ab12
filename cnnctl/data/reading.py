"""From the numbers of images to batches of pixels; what a loader process does."""

from __future__ import annotations

import math
import signal
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional

from cnnctl.data.draws import Draws
from cnnctl.data.order import Ticket
from cnnctl.data.source import Images, Stored

T = TypeVar("T")
TRIES = 10  # of torchvision's RandomResizedCrop, before it takes the centre
RATIOS = (3 / 4, 4 / 3)


class Pixels(NamedTuple):
    """A batch as it was read: uint8 (B, C, size, size), labels int64 (B,), and its ticket.

    Labels may be masks, uint8 (B, planes, H, W); of these, images to be measured have any size.
    """

    images: Tensor
    labels: Tensor
    ticket: Ticket


class View(Protocol):
    """How images of any size become one of size x size."""

    draws: int  # random numbers that it wants for each image

    def __call__(self, image: Tensor, draws: Tensor) -> Tensor:
        """uint8 (…, H, W) -> uint8 (…, size, size); `draws` are this image's, in [0, 1)."""
        ...


class Whole:
    """The short side is resized to `size` and the centre kept; whole batches, too."""

    draws = 0

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Tensor, draws: Tensor | None = None) -> Tensor:  # noqa: ARG002 - nothing is random
        """As `View` says."""
        if tuple(image.shape[-2:]) == (self.size, self.size):
            return image
        resized = functional.resize(image, [self.size], antialias=True)
        return functional.center_crop(resized, [self.size, self.size])


class Window:
    """A crop of a random area and shape, resized (torchvision's RandomResizedCrop)."""

    draws = 4 * TRIES

    def __init__(self, size: int, area: tuple[float, float]) -> None:
        self.size = size
        self.area = area

    def __call__(self, image: Tensor, draws: Tensor) -> Tensor:
        """As `View` says."""
        top, left, tall, wide = self.box(image.shape[-2], image.shape[-1], draws)
        part = image[:, top : top + tall, left : left + wide]
        return interpolate(part[None], (self.size, self.size), mode="bilinear", antialias=True)[0]

    def box(self, height: int, width: int, draws: Tensor) -> tuple[int, int, int, int]:
        """Top, left, height and width of the crop: the first of ten tries that fits."""
        low, high = (math.log(ratio) for ratio in RATIOS)
        for area, shape, down, right in draws.view(TRIES, 4).tolist():
            target = height * width * (self.area[0] + area * (self.area[1] - self.area[0]))
            ratio = math.exp(low + shape * (high - low))
            wide, tall = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
            if 0 < wide <= width and 0 < tall <= height:
                top, left = int(down * (height - tall + 1)), int(right * (width - wide + 1))
                return top, left, tall, wide
        tall, wide = height, width
        if width / height < RATIOS[0]:
            tall = round(width / RATIOS[0])
        elif width / height > RATIOS[1]:
            wide = round(height * RATIOS[1])
        return (height - tall) // 2, (width - wide) // 2, tall, wide


class Reader(Dataset[list[Pixels]]):
    """Reads whole batches, so that images in memory are one slice; torch calls `__getitems__`."""

    def __init__(self, images: Images, view: View, seed: int) -> None:
        self.images = images
        self.view = view
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitems__(self, tickets: list[Ticket]) -> list[Pixels]:
        """The batches of these tickets."""
        return [self.batch(ticket) for ticket in tickets]

    def batch(self, ticket: Ticket) -> Pixels:
        """One batch."""
        samples, images = ticket.samples % len(self), self.images
        labels = torch.from_numpy(images.labels[samples])
        if isinstance(images, Stored) and isinstance(self.view, Whole):
            return Pixels(self.view(images.batch(samples)), labels, ticket)
        rows = torch.empty(len(samples), 0)
        if ticket.epoch is not None:
            rows = Draws(self.seed, ticket.epoch, ticket.samples).uniform("crop", self.view.draws)
        found = [
            self.view(images[sample], row)
            for sample, row in zip(samples.tolist(), rows, strict=True)
        ]
        return Pixels(torch.stack(found), labels, ticket)


def deaf(_: int) -> None:
    """What a loader process starts with: Ctrl-C reaches it too, but it is needed to the end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def as_they_are(batches: T) -> T:
    """For a loader: they are batches already; a lambda could not be sent to another process."""
    return batches
