"""An epoch of masks: all its pixels together, of images of any size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from segmented import by_hand, masks, net
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

from cnnctl.config.masks import IGNORE
from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.errors import CnnctlError
from cnnctl.nets.segmenter import Segmenter
from cnnctl.tasks import segment
from cnnctl.tasks.gradient import Measured
from cnnctl.tasks.segment import Overlap, Segment, fitted

CPU = torch.device("cpu")


def seen(batches: list[Batch], *, mirror: bool = False, made: Segmenter | None = None) -> Any:
    """A task that has measured these batches as an epoch of val."""
    task: Any = Segment(made or net(), 3, mirror=mirror)
    task.tallies["val"] = task.tally()
    with torch.no_grad():
        task.validation_step(batches, 0)
    return task.means(task.tallies["val"].sums)


def batch(images: Tensor, labels: Tensor) -> Batch:
    return Batch(images, labels, Ticket(np.arange(len(images)), None))


SIZES = [(6, 6), (5, 9), (12, 3), (6, 6), (5, 9)]


def test_an_epoch_of_several_sizes_is_one_set_of_pixels() -> None:
    """Not a mean of images: large ones have more pixels."""
    torch.manual_seed(1)
    images = [torch.randn(1, 1, *size) for size in SIZES]
    labels = [masks((1, 1, *size), 3, 7 + place, 0.2) for place, size in enumerate(SIZES)]
    made = net()
    with torch.no_grad():
        logits = [made(one) for one in images]
    predicted = torch.cat([one.argmax(1).flatten() for one in logits])
    wanted = torch.cat([one.flatten() for one in labels])
    scores = torch.cat([one.permute(0, 2, 3, 1).flatten(0, 2) for one in logits])
    expected = by_hand(predicted, wanted, 3)
    expected["loss"] = cross_entropy(scores, wanted.long(), ignore_index=IGNORE).item()
    alone = [batch(*pair) for pair in zip(images, labels, strict=True)]
    together = [
        batch(torch.cat([images[a], images[b]]), torch.cat([labels[a], labels[b]]))
        for a, b in ((0, 3), (1, 4))
    ]
    for batches in (alone, alone[::-1], [*together, alone[2]], [alone[2], *together]):
        assert seen(batches) == pytest.approx(expected, rel=1e-6)
    means = [by_hand(one.argmax(1), mask[:, 0], 3)["miou"]
             for one, mask in zip(logits, labels, strict=True)]  # fmt: skip
    assert np.mean(means) != pytest.approx(expected["miou"], rel=1e-3)


def test_an_image_and_its_mirror_image_are_measured_as_one() -> None:
    made = net()
    torch.manual_seed(2)
    images, labels = torch.randn(3, 1, 5, 6), masks((3, 1, 5, 6), 3, 11)
    with torch.no_grad():
        logits = (made(images) + made(images.flip(-1)).flip(-1)) / 2
        plain = made(images)
    for mirror, wanted in ((True, logits), (False, plain)):
        found = seen([batch(images, labels)], mirror=mirror, made=made)
        expected = by_hand(wanted.argmax(1), labels[:, 0], 3)
        expected["loss"] = cross_entropy(wanted, labels[:, 0].long()).item()
        assert found == pytest.approx(expected, rel=1e-6)
    other = seen([batch(images.flip(3), labels.flip(3))], mirror=True, made=made)
    assert other == pytest.approx(seen([batch(images, labels)], mirror=True, made=made))
    assert not torch.equal(plain.argmax(1), logits.argmax(1))


def test_a_mask_of_another_size_is_measured_at_its_own() -> None:
    made, images = net(), torch.randn(2, 1, 4, 5)
    labels = masks((2, 1, 8, 10), 3, 13)
    with torch.no_grad():
        logits = interpolate(made(images), (8, 10), mode="bilinear", align_corners=False)
    found = seen([batch(images, labels)], made=made)
    assert found == pytest.approx(
        {**by_hand(logits.argmax(1), labels[:, 0], 3),
         "loss": cross_entropy(logits, labels[:, 0].long()).item()}, rel=1e-6,
    )  # fmt: skip
    assert fitted(logits, labels) is logits
    assert fitted(logits, labels[..., :7, :]).shape == (2, 3, 7, 10)


def test_scores_stay_where_they_are_when_they_are_made_larger() -> None:
    """Corners are not aligned: the middle of the pixels is, as of the images that were resized."""
    logits = torch.zeros(1, 2, 2, 2)
    logits[0, 0], logits[0, 1] = torch.tensor([[1.0, 0], [0, 0]]), 0.4
    found = fitted(logits, torch.zeros(1, 1, 8, 8)).argmax(1)[0]
    wanted = torch.ones(8, 8, dtype=torch.int64)
    weights = torch.tensor([1, 1, 7 / 8, 5 / 8, 3 / 8, 1 / 8, 0, 0])
    wanted[torch.outer(weights, weights) > 0.4] = 0
    assert torch.equal(found, wanted)


def test_sums_go_on_where_they_were_and_are_exact_where_the_net_reckons_coarsely() -> None:
    logits, labels = torch.randn(4, 3, 6, 6).bfloat16(), masks((4, 1, 6, 6), 3, 17)
    whole, first, rest = (Overlap(3, CPU) for _ in range(3))
    loss = torch.tensor(1.5, dtype=torch.bfloat16)
    for start in (0, 2):
        part = Measured(loss, logits[start : start + 2], labels[start : start + 2])
        whole.add(part)
        (rest if start else first).add(part)
        if not start:
            rest.restore(torch.tensor(first.sums.tolist(), dtype=torch.float64))
    assert torch.equal(whole.sums, rest.sums)
    assert whole.sums.dtype == torch.float64
    assert whole.sums[:-2].sum() == 144
    assert whole.sums[-2:].tolist() == [1.5 * 144, 4]


def test_where_there_is_no_float64_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apple's GPU: sums are made in float32, and become float64 once they are on the CPU."""
    zeros, calls = torch.zeros, []

    def noted(*sizes: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
        calls.append((dtype, device.type))
        return zeros(*sizes, dtype=dtype)

    monkeypatch.setattr(segment.torch, "zeros", noted)
    overlap = Overlap(3, torch.device("mps"))
    monkeypatch.undo()
    assert calls == [(torch.float32, "mps")]
    logits, labels = torch.randn(2, 3, 4, 4), masks((2, 1, 4, 4), 3, 19)
    overlap.add(Measured(torch.tensor(0.5), logits, labels))
    assert overlap.sums.dtype == torch.float32
    order = []

    class OnGpu:
        """Sums that are on a device without float64."""

        def cpu(self) -> Tensor:
            order.append("cpu")
            return overlap.sums

    found = Segment(net(), 3).means(OnGpu())  # pyright: ignore[reportArgumentType]
    assert order == ["cpu"]
    assert found["loss"] == pytest.approx(0.5)
    assert found["miou"] == pytest.approx(by_hand(logits.argmax(1), labels[:, 0], 3)["miou"])


def test_a_loss_that_is_no_number_is_one_of_the_epoch() -> None:
    overlap = Overlap(3, CPU)
    labels = masks((1, 1, 4, 4), 3, 23)
    overlap.add(Measured(torch.tensor(math.nan), torch.randn(1, 3, 4, 4), labels))
    found = Segment(net(), 3).means(overlap.sums)
    assert math.isnan(found["loss"])
    assert 0 <= found["miou"] <= 1


@pytest.mark.parametrize(("count", "few"), [(1, "an image"), (3, "3 images")])
def test_images_that_are_too_large_are_told(count, few) -> None:
    """They are larger than what training sees; a step is not to blame."""
    made: Any = net()
    made.maps = failing(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(CnnctlError) as caught:
        seen([batch(torch.randn(count, 1, 6, 8), masks((count, 1, 6, 8), 3, 1))], made=made)
    text = f"out of memory: {few} of 8x6 pixels, which are measured whole"
    assert str(caught.value) == f"{text} (make them smaller: data.resize=…)"
    made.maps = failing(RuntimeError("another"))
    with pytest.raises(RuntimeError, match="another"):
        seen([batch(torch.randn(1, 1, 6, 8), masks((1, 1, 6, 8), 3, 1))], made=made)


def failing(error: Exception) -> Any:
    def fail(_: Tensor) -> Tensor:
        raise error

    return fail
