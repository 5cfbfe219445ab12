from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from exports import pixels
from torch import Tensor

from cnnctl.data.source import Source, Stored
from cnnctl.errors import ExportError
from cnnctl.export.parity import BATCHES, USUAL, USUAL_RAW, Proof, prove, prove_raw
from cnnctl.export.shown import Shown, choose

PROOF = Proof(softmax=True, tolerance=1e-4, raw_tolerance=1e-2)
CLASSES = 4


class Linear:
    """A scorer: the mean of every quarter of an image, plus what `change` makes of it."""

    classes = tuple("abcd")

    def __init__(self, change: Callable[[Tensor], Tensor] = lambda logits: logits) -> None:
        self.change = change
        self.batches: list[int] = []

    def __call__(self, images: Tensor, /) -> Tensor:
        self.batches.append(len(images))
        quarters = images.float().flatten(2).mean(1).tensor_split(CLASSES, 1)
        return self.change(torch.stack([part.mean(1) / 50 for part in quarters], 1))

    def loss(self, _logits: Tensor, _labels: Tensor, /) -> Tensor | None:
        return None


def shown(count: int = 100, size: int = 16) -> Shown:
    images = pixels(count, 3, size, size)
    labels = Linear()(images).argmax(1).numpy()
    labels[: count // 4] = (labels[: count // 4] + 1) % CLASSES
    return choose(Source(tuple("abcd"), {"test": Stored(images, labels)}), "test", count, 16)


def proven(change: Callable[[Tensor], Tensor], proof: Proof = PROOF, **more: Any) -> dict[str, Any]:
    return prove(proof, Linear(), Linear(change), shown(**more), BATCHES, lambda *_: None)


def test_the_same_net_agrees_in_everything() -> None:
    found = proven(lambda logits: logits)
    assert (found["n"], found["split"], found["of"]) == (100, "test", "probabilities")
    assert found["max_abs_error"] < 1e-6
    assert found["top1_agreement"] == 1
    assert found["top1_eager"] == found["top1_export"] == 0.75
    assert [row["batch_size"] for row in found["batches"]] == [1, 3, 32]


def test_the_file_is_asked_in_every_batch_size_and_the_net_once() -> None:
    eager, file = Linear(), Linear()
    told: list[tuple[str, int, int]] = []
    prove(PROOF, eager, file, shown(100), BATCHES, lambda *words: told.append(words))
    assert eager.batches == [96, 4]
    wanted = {1: 100, 3: 33, 32: 3}
    for size, times in wanted.items():
        assert file.batches.count(size) - (size == 1) in (times, times - (size == 1))
    assert told == [("comparing", 96, 100), ("comparing", 100, 100)]


def test_few_images_make_no_large_batch() -> None:
    found = proven(lambda logits: logits, count=8)
    assert [row["batch_size"] for row in found["batches"]] == [1, 3, 8]


def test_an_error_above_the_tolerance_is_refused() -> None:
    with pytest.raises(ExportError, match="does not compute what the net computes") as caught:
        proven(lambda logits: logits * 1.01)
    assert "0.0001 is allowed" in caught.value.message
    assert (caught.value.hint or "").startswith("nothing was kept; tolerance=")
    assert caught.value.exit_code == 1


def test_a_larger_tolerance_takes_it_and_says_how_large_it_is() -> None:
    proof = Proof(softmax=True, tolerance=0.5, raw_tolerance=None)
    found = proven(lambda logits: logits * 1.01, proof)
    assert 1e-4 < found["max_abs_error"] < 0.5
    assert (found["tolerance"], found["error"]) == (0.5, found["max_abs_error"])


def test_logits_are_compared_by_their_largest() -> None:
    proof = Proof(softmax=False, tolerance=0.02, raw_tolerance=None)
    found = proven(lambda logits: logits * 1.01, proof)
    assert found["error"] == pytest.approx(0.01, rel=1e-3)
    ((images, _), *_) = shown().chunks()
    largest = float(Linear()(images).max())
    assert found["max_abs_error"] == pytest.approx(0.01 * largest, rel=0.05)
    assert found["of"] == "logits"


def test_an_error_in_one_batch_size_alone_is_seen() -> None:
    def wrong(logits: Tensor) -> Tensor:
        return logits + (torch.eye(CLASSES)[0] if len(logits) == 3 else 0)

    with pytest.raises(ExportError, match="on batches of 3 it is off"):
        proven(wrong)
    proof = Proof(softmax=True, tolerance=None, raw_tolerance=None)
    found = proven(wrong, proof)
    assert found["top1_agreement"] == min(row["top1_agreement"] for row in found["batches"]) < 1
    assert found["max_abs_error"] == max(row["max_abs_error"] for row in found["batches"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused_whatever_the_tolerance(value: float) -> None:
    proof = Proof(softmax=False, tolerance=None, raw_tolerance=None)
    with pytest.raises(ExportError, match="not finite"):
        proven(lambda logits: logits * value, proof)


def test_a_net_that_is_broken_itself_is_told_so() -> None:
    broken = Linear(lambda logits: logits * float("nan"))
    with pytest.raises(ExportError, match="the net itself gives"):
        prove(PROOF, broken, Linear(), shown(4), BATCHES, lambda *_: None)


def test_within_the_tolerance_only_ties_can_differ() -> None:
    """A property: whatever the noise, a differing class was within twice the tolerance."""
    generator = torch.Generator().manual_seed(0)
    wanted = torch.rand(20_000, 3, generator=generator).softmax(1)
    allowed = 1e-3
    found = wanted + allowed * (2 * torch.rand(wanted.shape, generator=generator) - 1)
    differs = wanted.argmax(1) != found.argmax(1)
    first, second = wanted.topk(2).values.unbind(1)
    assert differs.any()
    assert (first - second)[differs].max() <= 2 * allowed


def test_images_of_other_sizes_are_compared_one_by_one() -> None:
    file = Linear()
    images = Stored(pixels(12, 3, 16, 24), np.zeros(12, np.int64))
    some = choose(Source(tuple("abcd"), {"test": images}), "test", 12, 16)
    found = prove_raw(
        Proof(softmax=True, tolerance=1e-4, raw_tolerance=1.0),
        Linear(),
        file,
        some,
        lambda *_: None,
    )
    assert set(file.batches) == {1}
    assert (found["n"], found["sizes"], found["scaled"]) == (12, 1, False)
    assert found["tolerance"] == 1


def test_a_file_that_resizes_wrongly_is_refused() -> None:
    def squint(logits: Tensor) -> Tensor:
        return logits.flip(1)

    with pytest.raises(ExportError, match="on images of other sizes it is off"):
        prove_raw(PROOF, Linear(), Linear(squint), shown(12), lambda *_: None)


def test_half_may_be_off_by_more_and_raw_images_by_more_still() -> None:
    assert USUAL["fp32"] < USUAL["fp16"]
    assert all(USUAL[name] < USUAL_RAW[name] for name in USUAL)
