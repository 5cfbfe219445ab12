"""Several looks at each image, from its original: what ten crops and dense evaluation read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cnnctl import devices
from cnnctl.config.schema import Train
from cnnctl.data import feed
from cnnctl.data.reading import as_they_are, deaf
from cnnctl.data.source import Encoded, Images, Mapped
from cnnctl.errors import DataError

Looks = list[Tensor]  # of one image: uint8 (C, H, W), of any sizes
# a tensor from another process is an open file each: a few hundred would be too many
Sent = list[np.ndarray]


class Looking(Dataset[Sent | DataError]):
    """What `look` makes of each image, uint8 (C, H, W) of any size.

    The error of an image that cannot be read is given, not raised: what a loader process raises
    comes with its traceback in the text.
    """

    def __init__(self, images: Images, look: Callable[[Tensor], Looks]) -> None:
        self.images = images
        self.look = look

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitem__(self, index: int) -> Sent | DataError:
        try:
            return [one.numpy() for one in self.look(self.images[index])]
        except DataError as wrong:
            return wrong


def read(
    images: Images, train: Train, look: Callable[[Tensor], Looks], some: int
) -> Iterator[tuple[np.ndarray, list[Looks]]]:
    """Numbers of images and the looks at them, `some` images at a time, in order.

    Raises DataError if an image cannot be read.
    """
    workers = _workers(train) if isinstance(images, Encoded) else 0
    loader = DataLoader(
        Looking(images, look), batch_size=some, collate_fn=as_they_are, num_workers=workers,
        generator=torch.Generator(), worker_init_fn=deaf if workers else None,
    )  # fmt: skip
    first = 0
    for given in loader:
        looks = [_sound(one) for one in given]
        yield np.arange(first, first + len(looks)), looks
        first += len(looks)


def originals(images: Images, least: int) -> Images:
    """The images as they are stored: a cache holds them resized and cropped to the net's size.

    Large JPEG images may be decoded smaller as long as their short side keeps `least` pixels.
    """
    whole = images.encoded if isinstance(images, Mapped) else images
    return whole.at_least(least) if isinstance(whole, Encoded) else whole


def _workers(train: Train) -> int:
    wanted = feed.Wanted(
        data=train.data, augment=train.augment,
        accelerator=devices.settle(train.hardware).accelerator, local=1,
    )  # fmt: skip
    return feed.processes(wanted)


def _sound(looks: Sent | DataError) -> Looks:
    if isinstance(looks, DataError):
        raise looks
    return [torch.from_numpy(one) for one in looks]
