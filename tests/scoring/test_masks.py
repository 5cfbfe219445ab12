from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from judged import CLASSES, SIZES, asked, noisy, pairs, right
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate
from torchmetrics.functional.classification import multiclass_confusion_matrix

from cnnctl.config.masks import IGNORE
from cnnctl.data.pairs import Held
from cnnctl.errors import CnnctlError, DataError
from cnnctl.scoring import boundary, masks
from cnnctl.scoring.masks import Judging, MaskScores

TEST = Judging("test", worst=2)


def quiet(*_: Any) -> None:
    """Nobody looks."""


def scored(*nets: Any, judging: Judging = TEST) -> list[MaskScores]:
    return masks.score(nets, judging, quiet)


def test_what_is_counted_is_what_each_image_alone_gives() -> None:
    """Against torchmetrics and torch, image by image, of several sizes."""
    held = pairs()
    (found,) = scored(asked(noisy(1), held))
    assert (found.classes, found.names) == (CLASSES, tuple(held.names))
    assert len(found) == len(SIZES)
    for number, (image, mask) in enumerate(held.found):
        logits = noisy(1)(image[None])
        wanted = multiclass_confusion_matrix(
            logits.argmax(1), mask.long(), len(CLASSES), ignore_index=IGNORE
        )
        assert found.counts[number].tolist() == wanted.tolist()
        loss = cross_entropy(logits, mask.long(), ignore_index=IGNORE, reduction="sum")
        assert found.losses[number] == pytest.approx(float(loss))
        edge = boundary.f1(logits[0].argmax(0).numpy(), mask[0].numpy(), 3, boundary.TOLERANCE)
        np.testing.assert_equal(found.boundary[number], edge)
    assert found.counts.dtype == np.int32
    assert not found.counts[3].any()  # all ignored


def test_the_tolerance_of_outlines_is_asked_for() -> None:
    strict, loose = (
        scored(asked(noisy(1)), judging=Judging("test", boundary=share))[0]
        for share in (0.0075, 0.3)
    )
    assert np.nanmean(loose.boundary) > np.nanmean(strict.boundary)


def test_the_worst_images_are_kept_with_what_was_said() -> None:
    held = pairs()
    (found,) = scored(asked(noisy(2), held), judging=Judging("test", worst=3))
    shares = []
    for number, (image, mask) in enumerate(held.found):
        predicted, wanted = noisy(2)(image[None])[0].argmax(0), mask[0]
        hits = [
            ((predicted == c) & (wanted == c)).sum()
            / ((predicted == c) | (wanted == c))[wanted != IGNORE].sum()
            for c in range(3)
        ]
        if number != 3:
            shares.append((float(torch.stack(hits).mean()), number))
    assert [(one.miou, one.number) for one in found.worst] == [
        (pytest.approx(share), number) for share, number in sorted(shares)[:3]
    ]
    for one in found.worst:
        said = noisy(2)(held.found[one.number][0][None])[0].argmax(0)
        assert (one.predicted == said.numpy()).all()
    assert scored(asked(right), judging=Judging("test"))[0].worst == ()


def half(images: Tensor) -> Tensor:
    """Scores of half as many lines and columns."""
    return interpolate(right(images), scale_factor=0.5, mode="nearest")


def test_answers_are_made_as_large_as_the_masks() -> None:
    held = pairs([(8, 8)] * 2, ignored=0)
    (found,) = scored(asked(half, held))
    image, mask = held.found[0]
    logits = interpolate(half(image[None]), (8, 8), mode="bilinear", align_corners=False)
    wanted = multiclass_confusion_matrix(logits.argmax(1), mask.long(), 3)
    assert found.counts[0].tolist() == wanted.tolist()


def leaning(images: Tensor) -> Tensor:
    """Says the first class on the left and the second on the right."""
    logits = torch.zeros(len(images), 3, *images.shape[2:])
    middle = images.shape[3] // 2
    logits[:, 0, :, :middle] = 2.0
    logits[:, 1, :, middle:] = 1.0
    return logits


def test_a_mirror_image_is_mirrored_back() -> None:
    """Left: 2 from the image and 1 of the other class from its mirror image; the first wins."""
    held = pairs([(4, 6)], ignored=0)
    once, twice = (scored(asked(leaning, held, flip=flip))[0] for flip in (False, True))
    assert once.counts[0].sum(0).tolist() == [12, 12, 0]
    assert twice.counts[0].sum(0).tolist() == [24, 0, 0]
    logits = (leaning(held.found[0][0][None]) + leaning(held.found[0][0][None]).flip(-1)) / 2
    loss = cross_entropy(logits, held.found[0][1].long(), reduction="sum")
    assert twice.losses[0] == pytest.approx(float(loss))


def test_several_nets_say_the_mean_of_their_probabilities_last() -> None:
    """Whatever the batches that each of them reads: images of one size come together."""
    held = pairs()
    nets = [
        asked(noisy(seed, skill=seed), held, batch_size=size)
        for seed, size in ((1, 4), (2, 1), (3, 6))
    ]
    *members, together = scored(*nets)
    for one, alone in zip(nets, members, strict=True):
        wanted = scored(one)[0]
        np.testing.assert_array_equal(alone.counts, wanted.counts)
        np.testing.assert_allclose(alone.losses, wanted.losses)
    for number, (image, mask) in enumerate(held.found):
        chances = torch.stack([noisy(s, skill=s)(image[None]).softmax(1) for s in (1, 2, 3)])
        logits = chances.mean(0).log()
        counts = multiclass_confusion_matrix(logits.argmax(1), mask.long(), 3, ignore_index=IGNORE)
        assert together.counts[number].tolist() == counts.tolist()
        loss = cross_entropy(logits, mask.long(), ignore_index=IGNORE, reduction="sum")
        assert together.losses[number] == pytest.approx(float(loss), rel=1e-5)


def broken(images: Tensor) -> Tensor:
    logits = right(images)
    logits[:, 1, 0, 0] = torch.where(images[:, 0, 0, 0] == 160, torch.nan, 0.0)
    return logits


def test_answers_that_are_no_numbers_are_an_error() -> None:
    held = pairs()
    count = sum(int(image[0, 0, 0] == 160) for image, _ in held.found)
    assert 0 < count < len(SIZES)
    with pytest.raises(CnnctlError, match=f"no numbers for {count} of {len(SIZES)} images"):
        scored(asked(broken, held))


def test_images_that_are_too_large_are_told() -> None:
    def fail(_: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(CnnctlError, match=r"2 images of 5x9 pixels.*tile=512"):
        scored(asked(fail, pairs([(9, 5)] * 2)))


def test_other_images_classes_and_splits_are_refused() -> None:
    with pytest.raises(DataError, match="no split 'val', only test"):
        scored(asked(right), judging=Judging("val"))
    other = pairs()
    other.names[1] = "else.png"
    with pytest.raises(DataError, match=r"image 2 of one is 1\.png, of two else\.png"):
        scored(asked(right, name="one"), asked(right, other, name="two"))
    with pytest.raises(DataError, match="know other classes: sky and land"):
        scored(asked(right), asked(right, classes=("land", "sea", "sand")))


def changed() -> Held:
    held = pairs()
    image, mask = held.found[2]
    held.found[2] = image, (mask + 1) % 3
    return held


def test_other_masks_of_the_same_images_are_refused() -> None:
    with pytest.raises(DataError, match=r"mask of 2\.png is not the same for all nets"):
        scored(asked(right), asked(right, changed()))
    one, other = (scored(asked(right, held))[0] for held in (pairs(), changed()))
    masks.same(one, one, ("a", "b"))
    with pytest.raises(DataError, match=r"mask of 2\.png is another for a than for b"):
        masks.same(one, other, ("a", "b"))
    few = scored(asked(right, pairs(SIZES[:2])))[0]
    with pytest.raises(DataError, match="not measured on the same images"):
        masks.same(one, few, ("a", "b"))


def test_every_image_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    masks.score([asked(right)], TEST, lambda *words: told.append(words))
    assert told == [("measuring", done, 6) for done in range(1, 7)]
