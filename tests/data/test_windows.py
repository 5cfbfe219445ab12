"""Several windows of each image in an epoch: numbers beyond the last are the first again."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
from images import configured

from cnnctl.data.module import DataModule
from cnnctl.data.pairs import Held
from cnnctl.data.source import Feed, Source

SIDE, COUNT, WINDOWS = 12, 5, 3


def held() -> Held:
    """Images that tell their number, line and column, with masks that tell the place."""
    lines, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    found = [
        (torch.stack((torch.full_like(lines, number), lines, columns)).to(torch.uint8),
         (lines * SIDE + columns)[None].to(torch.uint8))
        for number in range(COUNT)
    ]  # fmt: skip
    return Held(found, [f"image {number}" for number in range(COUNT)])


def module(*words: str, rank: int = 0, world: int = 1, **options: Any) -> DataModule:
    train = configured(
        "data=shapes", "model=unet_small", "augment=none", "data.size=4", "data.batch_size=4",
        f"data.windows={WINDOWS}", *words,
    )  # fmt: skip
    pairs = held()
    source = Source(("a", "b", "c", "d"), {"train": pairs, "val": pairs}, feeds={
        "train": Feed(kind="memory"), "val": Feed(kind="memory"),
    })  # fmt: skip
    made: Any = DataModule(source, train, **options)
    if world > 1:
        made._place = lambda: (world, rank)
    return made


def epoch(made: DataModule, number: int = 0) -> list[Any]:
    """Batches of bytes as they are read."""
    loader: Any = made.train_dataloader()
    loader.batch_sampler.set_epoch(number)
    return [pixels for several in loader for pixels in several]


def seen(batches: list[Any]) -> list[tuple[int, int, int]]:
    """Image, line and column of each window."""
    return [tuple(image[:, 0, 0].tolist()) for pixels in batches for image in pixels.images]


def test_an_epoch_has_so_many_windows_of_every_image_each_another() -> None:
    batches = epoch(module())
    assert [len(pixels.images) for pixels in batches] == [4, 4, 4, 3]
    numbers = np.concatenate([pixels.ticket.samples for pixels in batches]).tolist()
    assert sorted(numbers) == list(range(COUNT * WINDOWS))
    windows = seen(batches)
    assert Counter(image for image, *_ in windows) == dict.fromkeys(range(COUNT), WINDOWS)
    assert [image for image, *_ in windows] == [number % COUNT for number in numbers]
    assert len(set(windows)) > 0.9 * len(windows)  # of 81 places
    for pixels in batches:
        assert torch.equal(pixels.labels[:, 0], pixels.images[:, 1] * SIDE + pixels.images[:, 2])
    assert seen(epoch(module(), 1)) != windows


def test_what_a_window_is_depends_on_its_number_alone() -> None:
    whole = module()
    for pixels in epoch(whole):
        again = whole.again(pixels.ticket)
        assert torch.equal(again.labels, pixels.labels)
    places = {}
    for size in ("2", "15"):
        batches = epoch(module(f"data.batch_size={size}"))
        numbers = np.concatenate([pixels.ticket.samples for pixels in batches]).tolist()
        places[size] = dict(zip(numbers, seen(batches), strict=True))
    assert places["2"] == places["15"]


def test_processes_share_the_windows() -> None:
    shares = [seen(epoch(module(rank=rank, world=2))) for rank in range(2)]
    assert [len(share) for share in shares] == [8, 8]  # of 15: the first comes twice
    alone = seen(epoch(module()))
    assert set(shares[0]) | set(shares[1]) == set(alone)


def test_steps_of_several_batches_and_a_run_that_goes_on() -> None:
    words = ("trainer.accumulate=3",)
    whole = epoch(module(*words), 2)
    assert [pixels.ticket.images for pixels in whole] == [12, 12, 12, 3]
    assert [pixels.ticket.last for pixels in whole] == [False, False, True, True]
    later: Any = module(*words)
    later.begun = (2, 1)
    assert seen(epoch(later, 2)) == seen(whole[3:])


def test_measuring_sees_every_image_once() -> None:
    loader: Any = module().val_dataloader()
    found = [pixels for several in loader for pixels in several]
    numbers = np.concatenate([pixels.ticket.samples for pixels in found]).tolist()
    assert numbers == list(range(COUNT))
    assert {tuple(pixels.images.shape[2:]) for pixels in found} == {(SIDE, SIDE)}


def test_mirror_images_by_turns_change_from_epoch_to_epoch() -> None:
    """Of each window of an image by itself."""
    words = ("augment=flip_crop", "augment.flip=0.5", "augment.flip_alternates=true")
    made, turned = module(*words, "augment.shift=0"), []
    for number in (0, 1):
        mirrored = {}
        for pixels in epoch(made, number):
            masks = made.prepare(pixels).labels[:, 0].int()
            for sample, mask in zip(pixels.ticket.samples.tolist(), masks, strict=True):
                mirrored[sample] = bool(mask[0, 0] > mask[0, 1])
        turned.append(mirrored)
    first, second = turned
    assert all(first[one] != second[one] for one in first)
    assert len({first[one] for one in first if one % COUNT == 0}) == 2
