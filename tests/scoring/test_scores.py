from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from asked import CLASSES, flat, images, settings
from learners import CPU
from torch import Tensor
from torch.nn.functional import cross_entropy

from cnnctl.data.source import Feed, Source, Stored
from cnnctl.errors import DataError
from cnnctl.scoring.scorer import Eager
from cnnctl.scoring.scores import Scores, same_classes, score
from cnnctl.scoring.ways import Way

SIZE = 10  # images, in batches of four


class Told:
    """Gives logits that are known, and keeps what it was shown."""

    classes = CLASSES

    def __init__(self, loss: float | None = 0.5) -> None:
        self.shown: list[Tensor] = []
        self.told = loss

    def __call__(self, given: Tensor, /) -> Tensor:
        self.shown.append(given)
        return torch.stack([given[:, one, 0, 0].float() / 100 for one in range(3)], 1)

    def loss(self, _: Tensor, labels: Tensor, /) -> Tensor | None:
        return None if self.told is None else torch.tensor(self.told + len(labels))


def source(count: int = SIZE, classes: tuple[str, ...] = CLASSES) -> Source:
    torch.manual_seed(1)
    labels = np.arange(count) % len(classes)
    return Source(
        classes, {"test": Stored(images(count), labels)}, feeds={"test": Feed(kind="memory")}
    )


def measured(scorer: Any, way: Way | None = None, given: Source | None = None) -> Scores:
    told: list[tuple[str, int, int]] = []
    found = score(
        scorer, given or source(), "test", settings(), way or Way(), lambda *one: told.append(one)
    )  # fmt: skip
    assert told[-1][1:] == (len(found), len(found))
    return found


def test_every_image_is_asked_about_once_in_order() -> None:
    scorer, given = Told(), source()
    found = measured(scorer, given=given)
    assert [len(one) for one in scorer.shown] == [4, 4, 2]
    assert torch.equal(torch.cat(scorer.shown), given.splits["test"].pixels)
    assert found.labels.tolist() == [0, 1, 2] * 3 + [0]
    assert found.names == tuple(f"image {number}" for number in range(SIZE))
    assert torch.equal(found.logits, Told()(given.splits["test"].pixels))
    assert len(found) == SIZE
    assert found.classes == CLASSES
    assert 0 < found.seconds < 60


def test_the_loss_is_the_mean_over_images_not_batches() -> None:
    wanted = (4 * 4.5 + 4 * 4.5 + 2 * 2.5) / SIZE
    assert measured(Told()).loss == pytest.approx(wanted)


def test_a_loss_that_nobody_knows_is_none() -> None:
    assert measured(Told(loss=None)).loss is None


def test_probabilities_are_those_of_the_logits() -> None:
    found = measured(Told())
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(SIZE))
    torch.testing.assert_close(found.probabilities, found.logits.softmax(1))


def test_a_net_in_torch_has_the_cross_entropy_of_its_logits() -> None:
    scorer = Eager(flat(), settings(), CLASSES, CPU)
    found = measured(scorer)
    assert found.loss == pytest.approx(float(cross_entropy(found.logits, found.labels)))
    torch.testing.assert_close(found.logits, scorer(source().splits["test"].pixels))


def test_a_mirrored_image_counts_as_much_as_the_image() -> None:
    scorer = Eager(flat(), settings(), CLASSES, CPU)
    pixels = source().splits["test"].pixels
    wanted = (scorer(pixels) + scorer(pixels.flip(3))) / 2
    torch.testing.assert_close(measured(scorer, Way(flip=True)).logits, wanted)


def test_other_classes_are_refused() -> None:
    text = r"the net knows 3 classes \(cat, dog, owl\), the data has 2 \(cat, owl\)"
    with pytest.raises(DataError, match=text):
        measured(Told(), given=source(classes=("cat", "owl")))


def test_the_same_classes_in_another_order_are_refused() -> None:
    with pytest.raises(DataError, match="the net knows 3 classes") as wrong:
        measured(Told(), given=source(classes=("dog", "cat", "owl")))
    assert wrong.value.hint == "evaluate on data with the same classes, in the same order"


def test_of_many_classes_the_first_are_named() -> None:
    known, given = tuple("abcde"), tuple("abcdef")
    text = r"knows 5 classes \(a, b, c, d, e\), the data has 6 \(a, b, c, d, e, …\)"
    with pytest.raises(DataError, match=text) as wrong:
        same_classes(known, given)
    assert wrong.value.hint == "evaluate on data with the same classes"


def test_a_split_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match="made up has no split 'val', only test"):
        score(Told(), source(), "val", settings(), Way(), lambda *_: None)
