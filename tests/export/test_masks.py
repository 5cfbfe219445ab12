from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cnnctl.data.pairs import Held
from cnnctl.errors import ExportError
from cnnctl.export import masks
from cnnctl.export.masks import Difference2d, Shown
from cnnctl.export.parity import Proof

CLASSES = ("sky", "tree", "house")
STRICT = Proof(softmax=False, tolerance=1e-4, raw_tolerance=None)


class Says:
    """A scorer whose logits are the brightness of three channels, changed by `change`."""

    def __init__(self, change: Any = lambda logits: logits) -> None:
        self.classes = CLASSES
        self.change = change
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.seen.append(tuple(images.shape))
        return self.change(images.float() / 25.5)

    def loss(self, logits: Tensor, labels: Tensor) -> None: ...


def pairs(*sizes: tuple[int, int]) -> Held:
    """Random images; each mask is the brightest channel, but its first line is not counted."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for size in sizes:
        image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
        mask = image.float().argmax(0, keepdim=True).to(torch.uint8)
        mask[:, 0] = 255
        found.append((image, mask))
    return Held(found, [str(number) for number in range(len(found))])


def shown(*sizes: tuple[int, int], resize: int | None = None) -> Shown:
    return Shown("test", pairs(*sizes), resize)


def prove(proof: Proof, file: Says, images: Shown, eager: Says | None = None) -> dict[str, Any]:
    return masks.prove(proof, eager or Says(), file, images, (1, 3), lambda *_: None)


def test_the_same_answers_are_proven_the_same() -> None:
    file = Says()
    found = prove(STRICT, file, shown(*[(12, 10)] * 5))
    assert (found["n"], found["pixels"], found["split"]) == (5, 600, "test")
    assert (found["max_abs_error"], found["error"], found["top1_agreement"]) == (0, 0, 1)
    assert found["miou_eager"] == found["miou_export"] == 1
    assert [row["batch_size"] for row in found["batches"]] == [1, 3]
    assert {shape[0] for shape in file.seen} == {1, 2, 3}
    assert (found["raw"]["scaled"], found["raw"]["n"]) == (True, 5)
    assert found["raw"]["sizes"] == 4


def test_images_of_several_sizes_are_asked_about_in_batches_of_one_size() -> None:
    file = Says()
    sizes = [(12, 10), (12, 10), (8, 30), (12, 10)]
    found = prove(STRICT, file, shown(*sizes))
    assert found["n"] == 4
    assert found["pixels"] == 3 * 120 + 240
    assert (2, 3, 12, 10) in file.seen


def test_the_overlap_is_that_of_numpy_without_ignored_pixels() -> None:
    def fewer(logits: Tensor) -> Tensor:
        changed = logits.clone()
        changed[:, :, :, :4] = torch.tensor([9.0, 0, 0]).view(1, 3, 1, 1)
        return changed

    images = shown((12, 10))
    loose = Proof(softmax=False, tolerance=None, raw_tolerance=None)
    found = prove(loose, Says(fewer), images)
    image, mask = (one.numpy() for one in images.pairs.pair(0))
    named, counts = image.astype(float).argmax(0), mask[0] != 255
    named[:, :4] = 0
    unions = [((named == k) | (mask[0] == k))[counts].sum() for k in range(3)]
    hits = [((named == k) & (mask[0] == k))[counts].sum() for k in range(3)]
    assert found["miou_export"] == pytest.approx(np.mean(np.divide(hits, unions)))
    assert found["pixel_accuracy_export"] == pytest.approx((named == mask[0])[counts].mean())
    assert found["miou_eager"] == 1
    right = named == image.astype(float).argmax(0)
    assert found["top1_agreement"] == pytest.approx(right.mean())


def test_an_error_is_refused_and_the_tolerance_named_that_would_take_it() -> None:
    def off(logits: Tensor) -> Tensor:
        changed = logits.clone()
        changed[0, 0, 3, 3] += 0.1
        return changed

    with pytest.raises(ExportError, match=r"off by 0\.0.* of the largest logit, 0\.0001 is allo"):
        prove(STRICT, Says(off), shown((12, 10)))


def test_a_file_that_fails_in_other_sizes_alone_is_refused() -> None:
    def off(logits: Tensor) -> Tensor:
        return logits if logits.shape[-2:] == (12, 10) else logits + torch.rand(())

    with pytest.raises(ExportError, match="on images of other sizes it is off by"):
        prove(STRICT, Says(off), shown((12, 10), (12, 10)))


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ExportError, match="the file gives numbers that are not finite"):
        prove(STRICT, Says(lambda logits: logits / 0), shown((12, 10)))


def test_masks_keep_their_size_where_images_are_resized() -> None:
    file = Says()
    images = shown((20, 30), resize=10)
    found = prove(STRICT, file, images)
    assert file.seen[0] == (1, 3, 10, 15)
    assert found["pixels"] == 150
    assert 0.2 < found["miou_eager"] < 1


def test_of_probabilities_the_error_is_told() -> None:
    proof = Proof(softmax=True, tolerance=None, raw_tolerance=None)
    found = prove(proof, Says(lambda logits: logits + 5), shown((6, 6)))
    assert found["of"] == "probabilities"
    assert found["max_abs_error"] < 1e-6


def test_pixels_are_compared_one_by_one() -> None:
    difference = Difference2d(3, softmax=False)
    wanted = torch.zeros(1, 3, 2, 2)
    wanted[0, 1] = 1
    found = wanted.clone()
    found[0, 2, 0, 1] = 1.5
    difference.add(wanted, found, torch.ones(1, 1, 2, 2, dtype=torch.uint8))
    told = difference.document()
    assert (told["n"], told["pixels"], told["max_abs_error"]) == (1, 4, 1.5)
    assert told["top1_agreement"] == 0.75
    assert told["miou_export"] == pytest.approx((3 / 4 + 0) / 2)


def test_images_are_chosen_evenly_and_usually_sixteen() -> None:
    source: Any = SimpleNamespace(splits={"test": pairs(*[(4, 4)] * 40)})
    names = [masks.choose(source, "test", count, None).pairs.names for count in (None, 4, 99)]  # pyright: ignore[reportAttributeAccessIssue] - they are held
    assert len(names[0]) == 16
    assert names[1] == ["0", "10", "20", "30"]
    assert len(names[2]) == 40
