from __future__ import annotations

from pathlib import Path

import pytest
import torch
from images import colour, picture
from torch import Tensor

from cnnctl.config.schema import Train
from cnnctl.data.pictures import Failed
from cnnctl.scoring import pictures
from cnnctl.scoring.ways import Way

NAMES = ("red", "green", "blue")


class Brightest:
    """Its logits are the mean levels of red, green and blue; it keeps what it was shown."""

    classes: tuple[str, ...] = NAMES

    def __init__(self) -> None:
        self.shown: list[Tensor] = []

    def __call__(self, images: Tensor, /) -> Tensor:
        self.shown.append(images)
        return images.float().mean((2, 3)) / 50

    def loss(self, logits: Tensor, labels: Tensor, /) -> None:
        pass


@pytest.fixture
def train() -> Train:
    return colour("data.batch_size=4")


@pytest.fixture
def files() -> list[str]:
    """Ten of different colours; the fourth is none."""
    for number in range(10):
        Path(f"{number}.png").write_bytes(picture(number, 12 + number, 15))
    Path("3.png").write_text("text")
    return [f"{number}.png" for number in range(10)]


def nothing(_: str, done: int, images: int) -> None:
    pass


def test_every_file_has_its_classes_and_what_cannot_be_read_its_reason(
    train: Train, files: list[str]
) -> None:
    net, told = Brightest(), list[tuple[str, int, int]]()
    found, failed = pictures.predict(net, files, train, Way(), 2, lambda *all: told.append(all))
    assert failed == [Failed("3.png", "not an image")]
    assert [row["file"] for row in found] == [file for file in files if file != "3.png"]
    assert [len(images) for images in net.shown] == [3, 4, 2]
    assert told == [("predicting", done, 10) for done in (4, 8, 10)]
    logits = torch.cat([images.float().mean((2, 3)) / 50 for images in net.shown])
    for row, one in zip(found, logits, strict=True):
        assert list(row) == ["file", "top", "note"]
        first, second = row["top"]
        assert first["class"] == NAMES[int(one.argmax())]
        assert first["probability"] == pytest.approx(float(one.softmax(0).max()))
        assert first["probability"] >= second["probability"] > 0


def test_the_mirror_image_is_asked_too_where_the_run_says_so(
    train: Train, files: list[str]
) -> None:
    net = Brightest()
    pictures.predict(net, files[:2], train, Way(flip=True), 1, nothing)
    plain, mirrored = net.shown
    assert torch.equal(plain.flip(-1), mirrored)


def test_a_batch_without_a_picture_asks_nothing(train: Train) -> None:
    Path("a.png").touch()
    net = Brightest()
    failed = [Failed("a.png", "the file is empty"), Failed("b.png", "no such file")]
    assert pictures.predict(net, ["a.png", "b.png"], train, Way(), 1, nothing) == ([], failed)
    assert net.shown == []


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_an_answer_that_is_no_number_is_a_failure(
    train: Train, files: list[str], wrong: float
) -> None:
    class Broken(Brightest):
        def __call__(self, images: Tensor, /) -> Tensor:
            logits = super().__call__(images)
            logits[1, 2] = wrong
            return logits

    found, failed = pictures.predict(Broken(), files[:3], train, Way(), 1, nothing)
    assert [row["file"] for row in found] == ["0.png", "2.png"]
    assert failed == [Failed("1.png", "what the net says of it is not finite")]


def test_of_equal_classes_the_first_comes_first_as_argmax_has_it() -> None:
    logits = torch.tensor([0.0, 900.0, 900.0, 300.0])
    found = pictures.ranked(logits, "abcd", 4)
    assert [one["class"] for one in found] == ["b", "c", "d", "a"]
    assert [one["probability"] for one in found] == [0.5, 0.5, 0.0, 0.0]
    assert int(logits.argmax()) == 1
