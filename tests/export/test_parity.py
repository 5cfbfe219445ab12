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
    assert found["tolerance"] == 0.5
    assert found["max_abs_error"] < found["error"] < 0.1


def test_logits_are_compared_by_their_largest() -> None:
    proof = Proof(softmax=False, tolerance=0.02, raw_tolerance=None)
    net, file = (Linear(lambda logits, k=k: k * close(0.5)(logits) + 3) for k in (1, 1.01))
    found = prove(proof, net, file, shown(), BATCHES, lambda *_: None)
    assert found["error"] == pytest.approx(0.01, rel=1e-3)  # of 1, not of 4
    assert found["max_abs_error"] == pytest.approx(0.01, rel=1e-3)
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


def swapped(logits: Tensor) -> Tensor:
    """The two best classes of every image, each with the logit of the other."""
    values, places = logits.topk(2, 1)
    return logits.scatter(1, places, values.flip(1))


def close(gap: float) -> Callable[[Tensor], Tensor]:
    """Logits from -1 to 1, in the order of the classes; the best two are `gap` apart."""
    levels = torch.tensor([-1, gap - 1, 1 - gap, 1])
    return lambda logits: logits.scatter(1, logits.argsort(1), levels.expand(len(logits), -1))


@pytest.mark.parametrize("softmax", [True, False])
def test_another_class_is_a_tie_or_it_is_refused(*, softmax: bool) -> None:
    proof = Proof(softmax=softmax, tolerance=1e-2, raw_tolerance=None)
    nearly = 0.008
    net, file = Linear(close(nearly)), Linear(lambda logits: swapped(close(nearly)(logits)))
    found = prove(proof, net, file, shown(), BATCHES, lambda *_: None)
    assert found["top1_agreement"] == 0
    assert found["error"] == pytest.approx(nearly, rel=1e-3)
    apart = 0.03
    net = Linear(close(apart))
    file = Linear(lambda logits: swapped(close(apart)(logits)))
    with pytest.raises(ExportError, match=r"off by 0\.\d+ of the largest logit, 0\.01 is allowed"):
        prove(proof, net, file, shown(), BATCHES, lambda *_: None)


def test_a_class_that_is_no_tie_is_refused_although_each_logit_is_near() -> None:
    """Both move by less than the tolerance, towards each other, and past."""

    def moved(logits: Tensor) -> Tensor:
        made = close(0.015)(logits)
        values, places = made.topk(2, 1)
        return made.scatter(1, places, values + torch.tensor([[-0.009, 0.009]]))

    proof = Proof(softmax=False, tolerance=1e-2, raw_tolerance=None)
    with pytest.raises(
        ExportError, match="names other classes than the net: on batches of"
    ) as caught:
        prove(proof, Linear(close(0.015)), Linear(moved), shown(), BATCHES, lambda *_: None)
    assert "0.015 of the largest logit apart, 0.01 would be a tie" in caught.value.message


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 100.0])
def test_two_different_nets_of_a_thousand_classes_are_told_apart(scale: float) -> None:
    """Though all of their probabilities are near 0.001, or as near 0."""
    generator = torch.Generator().manual_seed(0)
    weights = scale * torch.randn(2, CLASSES, 1000, generator=generator)
    one, other = (Linear(lambda logits, w=weight: logits @ w) for weight in weights)
    probabilities = [net(pixels(9, 3, 16, 16)).softmax(1) for net in (one, other)]
    if scale < 1e-3:
        assert (probabilities[0] - probabilities[1]).abs().max() < 1e-5
    for name in USUAL:
        proof = Proof(softmax=True, tolerance=USUAL[name], raw_tolerance=None)
        with pytest.raises(ExportError, match="it is off by"):
            prove(proof, one, other, shown(9), BATCHES, lambda *_: None)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3])
def test_what_float32_rounds_is_no_error(scale: float) -> None:
    """A softmax of float32, and its logarithm: of many equal classes, and of those that are 0."""

    def rounded(logits: Tensor) -> Tensor:
        return (scale * logits).softmax(1).clamp(min=torch.finfo(torch.float32).tiny).log()

    net = Linear(lambda logits: scale * logits)
    found = prove(PROOF, net, Linear(rounded), shown(), BATCHES, lambda *_: None)
    assert found["error"] < 1e-4
    assert found["top1_agreement"] == 1 or scale < 1


def test_images_that_one_alone_has_right_are_counted() -> None:
    proof = Proof(softmax=True, tolerance=None, raw_tolerance=None)
    found = proven(lambda logits: logits.roll(1, 1), proof)
    lost = found["only_eager_right"] - found["only_export_right"]
    assert lost / 100 == pytest.approx(found["top1_eager"] - found["top1_export"])
    assert found["only_export_right"] > 0


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


def test_the_hint_names_the_key_that_is_meant() -> None:
    some = shown(12)
    with pytest.raises(ExportError) as caught:
        prove_raw(PROOF, Linear(), Linear(lambda one: one * 1.5), some, lambda *_: None)
    assert (caught.value.hint or "").startswith("nothing was kept; raw_tolerance=")
