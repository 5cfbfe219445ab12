"""Image and mask change together: images that tell of each pixel where it came from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from images import configured
from masked import coded
from torchvision.transforms.v2 import InterpolationMode, functional

from cnnctl.data.augment import geometry, together
from cnnctl.data.augment.together import Moved, Warped, of_pairs
from cnnctl.data.draws import Draws

HEIGHT, WIDTH, STEP = 20, 24, 10
SHAPES = ("model=unet_small", "data=shapes", "augment=none")
ALL = {
    "flip": ["augment.flip=0.5"],
    "turns": ["augment.flip=0.5", "augment.flip_alternates=true"],
    "shift": ["augment.shift=5"],
    "rotate": ["augment.rotate=40"],
    "elastic": ["augment.elastic=[60,3]"],
    "deform": ["augment.deform=[3,4]"],
}


def draws(count: int, epoch: int = 0, first: int = 0) -> Draws:
    return Draws(0, epoch, np.arange(first, first + count))


def changes(*names: str) -> list[together.Change]:
    words = [word for name in names for word in ALL[name]]
    return of_pairs(configured(*SHAPES, *words).augment)


def changed(names: list[str], images, masks, drawn: Draws):
    for change in changes(*names):
        images, masks = change(images, masks, drawn)
    return images, masks


def placed(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of 10 x their columns and lines, and masks of two planes: column and line."""
    lines, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    places = torch.stack((columns, lines)).expand(count, -1, -1, -1)
    images = torch.cat((STEP * places, 0 * places[:, :1]), 1)
    return images.to(torch.uint8), places.to(torch.uint8).contiguous()


@pytest.mark.parametrize("name", ALL)
def test_a_pixel_and_its_class_come_from_one_place(name) -> None:
    images, masks = changed([name], *placed(30), draws(30))
    read = images[:, :2].float() / STEP  # between pixels, to a twentieth
    nearest = masks.float()
    assert float((read - nearest).abs().max()) <= 0.5 + 1 / STEP / 2 + 1e-3
    still = placed(30)[1]
    assert not torch.equal(masks, still)
    different = len({one.numpy().tobytes() for one in masks})
    assert different == 2 if name in ("flip", "turns") else different > 20


def test_all_of_them_after_one_another() -> None:
    """Each step reads at the nearest pixel, so the halves of a pixel may add up."""
    names = ["flip", "shift", "rotate", "elastic", "deform"]
    assert len(changes(*names)) == 4  # flip and shift are one
    images, masks = changed(names, *placed(40), draws(40))
    apart = (images[:, :2].float() / STEP - masks.float()).abs()
    assert float(apart.mean()) < 0.5
    assert float(apart.quantile(0.99)) < 1.6


@pytest.mark.parametrize("flip", [0, 0.5, 1])
@pytest.mark.parametrize("shift", [0, 1, 7])
def test_shifts_and_mirror_images_by_numpy(shift, flip) -> None:
    images, masks = coded(25, height=8, width=12)
    change = geometry.ShiftFlip(shift, flip)
    found = Moved(change)(images, masks, draws(25))
    for place, (top, left, mirrored) in enumerate(zip(*change.parameters(draws(25)), strict=True)):
        for before, after in zip((images, masks), found, strict=True):
            sides = ((0, 0), (shift, shift), (shift, shift))
            wanted = np.pad(before[place].numpy(), sides, mode="reflect")
            wanted = wanted[:, int(top) : int(top) + 8, int(left) : int(left) + 12]
            wanted = wanted[:, :, ::-1] if mirrored else wanted
            assert np.array_equal(after[place].numpy(), wanted)


def test_a_shift_by_more_than_the_image_is_mirrored_again_and_again() -> None:
    images, masks = coded(10, height=4, width=4)
    change = geometry.ShiftFlip(9, 0)
    found, _ = Moved(change)(images, masks, draws(10))
    line = np.array([0, 1, 2, 3, 2, 1])
    for place, (top, left, _) in enumerate(zip(*change.parameters(draws(10)), strict=True)):
        rows, columns = (line[(np.arange(4) + int(start) - 9) % 6] for start in (top, left))
        assert np.array_equal(found[place].numpy(), images[place].numpy()[:, rows][:, :, columns])


def test_turns_by_torchvision_on_mirrored_surroundings() -> None:
    images, masks = coded(20, height=16, width=20)
    rotate = geometry.Rotate(90)
    found, classes = Warped(together._turned(rotate))(images, masks, draws(20))
    for place, degrees in enumerate(rotate.parameters(draws(20)).tolist()):
        for before, after, how in (
            (images, found, InterpolationMode.BILINEAR),
            (masks, classes, InterpolationMode.NEAREST),
        ):
            sides = ((0, 0), (16, 16), (20, 20))
            around = torch.from_numpy(np.pad(before[place].numpy(), sides, mode="symmetric"))
            wanted = functional.rotate(around, degrees, how)[:, 16:32, 20:40]
            same = (after[place].int() - wanted.int()).abs() <= 1
            assert same.float().mean() > (0.999 if how is InterpolationMode.BILINEAR else 0.995)


@pytest.mark.parametrize("name", ALL)
def test_a_mask_gets_no_new_value(name) -> None:
    images, masks = coded(30)
    masks[masks == 3] = 255  # ignored
    assert set(changed([name], images, masks, draws(30))[1].unique().tolist()) <= {0, 1, 2, 255}


@pytest.mark.parametrize("name", ALL)
def test_what_an_image_becomes_does_not_depend_on_its_batch(name) -> None:
    images, masks = placed(12)
    whole = changed([name], images, masks, draws(12, epoch=3))
    for first, count in ((0, 5), (5, 1), (6, 6)):
        part = slice(first, first + count)
        found = changed([name], images[part], masks[part], draws(count, epoch=3, first=first))
        for one, other in zip(whole, found, strict=True):
            assert torch.equal(one[part], other)


@pytest.mark.parametrize("name", ALL)
def test_every_epoch_is_another_and_the_same_again(name) -> None:
    images, masks = placed(12)
    first, again, other = (
        changed([name], images, masks, draws(12, epoch))[1] for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_nothing_is_done_unless_it_is_asked_for() -> None:
    assert of_pairs(configured(*SHAPES).augment) == []


def test_all_planes_of_a_mask_move_alike() -> None:
    images, masks = coded(8)
    both = torch.cat((masks, 255 - masks), 1)
    for name in ALL:
        found = changed([name], images, both, draws(8))[1]
        assert torch.equal(found[:, 0], 255 - found[:, 1])
