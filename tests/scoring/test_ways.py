from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from asked import CLASSES, images, settings
from slides import SIZE, measured, pixels, stored, vgg
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from cnnctl.config.verbs import Evaluate
from cnnctl.data.reading import Whole
from cnnctl.data.source import Source, Stored
from cnnctl.scoring.ways import Way, chosen


def corners(image: Tensor, size: int) -> list[Tensor]:
    """Four corners and the centre, and their mirror images."""
    height, width = image.shape[-2:]
    middle = round((height - size) / 2), round((width - size) / 2)
    places = [*product((0, height - size), (0, width - size)), middle]
    five = [image[:, top : top + size, left : left + size] for top, left in places]
    return [*five, *(one.flip(-1) for one in five)]


def test_the_centre_is_seen_as_training_measures_it() -> None:
    view = Way().view(SIZE)
    assert isinstance(view, Whole)
    assert view.size == SIZE
    source, scorer = stored(), vgg()
    assert torch.equal(Way()(scorer, pixels(source)), scorer(pixels(source)))


def test_with_its_mirror_image_the_logits_are_averaged() -> None:
    source, scorer = stored(), vgg()
    wanted = (scorer(pixels(source)) + scorer(pixels(source).flip(3))) / 2
    torch.testing.assert_close(Way(flip=True)(scorer, pixels(source)), wanted)


@pytest.mark.parametrize(("crops", "plain"), [("center", True), ("ten", False), ("dense", False)])
def test_the_loss_of_the_net_is_that_of_one_answer(crops: Any, *, plain: bool) -> None:
    assert Way(crops).plain is plain


@pytest.mark.parametrize(
    ("way", "size", "sides"),
    [
        (Way("ten"), 224, (256,)),
        (Way("ten"), 227, (259,)),
        (Way("ten"), 32, (37,)),
        (Way("ten", (256, 384)), 224, (256, 384)),
        (Way("dense"), 224, (224,)),
        (Way("dense", (192, 256)), 224, (192, 256)),
    ],
)
def test_short_sides(way: Way, size: int, sides: tuple[int, ...]) -> None:
    assert way.sides(size) == sides


def equal(found: list[Tensor], wanted: Sequence[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("side", [10, 11])
def test_ten_crops_are_corners_and_centre_and_their_mirror_images(side: int) -> None:
    image = images(1, 21)[0, :, :17]  # 17 x 21
    resized = functional.resize(image, [side], antialias=True)
    assert equal(Way("ten", (side,)).look(image, SIZE), corners(resized, SIZE))


def test_ten_crops_are_those_of_torchvision() -> None:
    """Where the centre is in the middle; if not, torchvision's mirror image is a pixel off."""
    image = images(1, 30)[0, :, :24]
    resized = functional.resize(image, [12], antialias=True)
    assert tuple(resized.shape[1:]) == (12, 15)
    square = resized[:, :, 1:]
    found = Way("ten", (12,)).look(square, SIZE)
    assert equal(found[:5], v2.FiveCrop(SIZE)(square))
    for wanted in v2.TenCrop(SIZE)(square):
        assert sum(torch.equal(one, wanted) for one in found) == 1


def test_ten_crops_at_each_of_several_scales() -> None:
    image = images(1, 20)[0]
    both = Way("ten", (9, 12)).look(image, SIZE)
    first, second = (Way("ten", (side,)).look(image, SIZE) for side in (9, 12))
    assert equal(both, [*first[:5], *second[:5], *first[5:], *second[5:]])


def test_the_answer_to_ten_crops_is_the_mean_of_the_probabilities() -> None:
    source, scorer = stored(size=12), vgg()
    found = measured(scorer, Way("ten", (10,)), source)
    for image, logits in zip(pixels(source), found.logits, strict=True):
        ten = corners(functional.resize(image, [10], antialias=True), SIZE)
        wanted = torch.stack([scorer(one[None])[0].softmax(0) for one in ten]).mean(0)
        torch.testing.assert_close(logits.softmax(0), wanted)
        torch.testing.assert_close(logits.exp(), wanted)
    labels = torch.from_numpy(source.splits["test"].labels)
    assert found.loss == pytest.approx(float(cross_entropy(found.logits, labels)))


def test_ten_crops_have_their_mirror_images_anyway() -> None:
    source, scorer = stored(), vgg()
    once = measured(scorer, Way("ten", (10,)), source).logits
    assert torch.equal(measured(scorer, Way("ten", (10,), flip=True), source).logits, once)
    mirrored = Source(CLASSES, {"test": Stored(pixels(source).flip(3), np.arange(10) % 3)})
    torch.testing.assert_close(measured(scorer, Way("ten", (10,)), mirrored).logits, once)


def test_images_in_memory_are_resized_up_for_ten_crops() -> None:
    found = Way("ten").look(images(1, SIZE)[0], SIZE)
    assert {one.shape for one in found} == {(3, SIZE, SIZE)}
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize(
    ("way", "some"),
    [
        (Way("ten"), 25),
        (Way("ten", (256, 384)), 12),
        (Way("dense"), 256),
        (Way("dense", (448,)), 64),
        (Way("dense", (224, 448)), 51),
        (Way("dense", (9999,)), 1),
    ],
)
def test_as_many_pixels_at_once_as_a_batch_of_training(way: Way, some: int) -> None:
    data: Any = SimpleNamespace(size=224, batch_size=256)
    assert way.some(data) == some


def test_how_many_images_are_asked_about_at_once_changes_nothing() -> None:
    scorer = vgg()
    pictures = [images(1, 24)[0, :, :tall] for tall in (24, 15, 20, 15)]
    for way in (Way("ten"), Way("dense", (9, 14), flip=True)):
        ready = way.prepare(scorer, settings().data)
        looks = [way.look(one, SIZE) for one in pictures]
        alone = torch.cat([way(ready, [one]) for one in looks])
        torch.testing.assert_close(way(ready, looks), alone)


def test_a_class_of_no_probability_at_all_has_a_logit() -> None:
    class Sure:
        classes = CLASSES

        def __call__(self, given: Tensor, /) -> Tensor:
            return torch.tensor([500.0, 0, -500]).expand(len(given), 3)

    way: Any = Way("ten")
    found = way(Sure(), [way.look(images(1)[0], SIZE)])
    assert found.isfinite().all()
    assert found.softmax(1)[0].tolist() == pytest.approx([1, 0, 0], abs=1e-30)


@pytest.mark.parametrize(
    ("crops", "flip", "of_run", "wanted"),
    [
        ("center", None, True, True),
        ("center", None, False, False),
        ("center", False, True, False),
        ("dense", None, True, True),
        ("dense", True, False, True),
        ("ten", None, True, False),
    ],
)
def test_the_keys_say_which_way(
    crops: Any, *, flip: bool | None, of_run: bool, wanted: bool
) -> None:
    typed = Evaluate(
        split="test", checkpoint="best", crops=crops, scales=(9,), flip=flip, robustness=None,
        tile=None, boundary=None, predictions="csv", mistakes=0,
    )  # fmt: skip
    train: Any = SimpleNamespace(
        trainer=SimpleNamespace(test_flip=of_run), data=SimpleNamespace(size=7)
    )
    assert chosen(typed, train) == Way(crops, (9,), wanted)
    unscaled = chosen(dataclasses.replace(typed, scales=None), train)
    sides = {"center": (), "ten": (8,), "dense": (7,)}
    assert unscaled == Way(crops, sides[crops], wanted)
