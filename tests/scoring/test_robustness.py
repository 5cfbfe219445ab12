from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asked import CLASSES, flat, images, settings
from learners import CPU
from torch import Tensor

from cnnctl.cli import main
from cnnctl.commands import Call, trained
from cnnctl.config import compose, verbs
from cnnctl.data.draws import Draws
from cnnctl.data.source import Feed, Source, Stored
from cnnctl.errors import DataError
from cnnctl.scoring.changes import CHANGES
from cnnctl.scoring.intervals import wilson
from cnnctl.scoring.robustness import sweep
from cnnctl.scoring.scorer import Eager
from cnnctl.scoring.scores import score
from cnnctl.scoring.ways import Way

KINDS: Any = tuple(CHANGES)
SIZE = 10


def quiet(*_: Any) -> None: ...


def source(count: int = 30) -> Source:
    torch.manual_seed(1)
    stored = Stored(images(count, SIZE), np.arange(count) % 3)
    return Source(CLASSES, {"test": stored}, feeds={"test": Feed(kind="memory")})


def scorer() -> Eager:
    return Eager(flat(), settings(SIZE), CLASSES, CPU)


class Digits:
    """LeNet-5 on the digits, two epochs long, and all that is needed to ask it."""

    def __init__(self, outputs: Path) -> None:
        words = ["trainer.max_epochs=2", "hardware=cpu", "progress=none", f"outputs={outputs}"]
        assert main(["train", *words]) == 0
        (run,) = outputs.glob("train/*")
        ask = trained.asked(Call("evaluate", [str(run)], [], {}), verbs.Evaluate)
        with compose.opened():
            one = trained.find(str(run), "best", ask)
        self.train, self.source = one.train, trained.ready(one)
        names = trained.classes(one, self.source)
        self.scorer = trained.scorer(one, names, trained.device(one, "evaluate"))

    def swept(self, *kinds: Any, way: Way | None = None, train: Any = None) -> dict[str, Any]:
        train = train or self.train
        return sweep(self.scorer, self.source, "test", train, way or Way(), kinds, quiet)

    def top1(self, way: Way) -> float:
        found = score(self.scorer, self.source, "test", self.train, way, quiet)
        hits = int((found.logits.argmax(1) == found.labels).sum())
        return hits / len(found)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    return Digits(tmp_path_factory.mktemp("outputs"))


def figures(one: dict[str, Any]) -> list[float]:
    return [point["top1"] for point in one["points"]]


def test_the_document() -> None:
    found = sweep(scorer(), source(), "test", settings(SIZE), Way(), KINDS, quiet)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found) == ["kinds", "n"]
    assert found["n"] == 30
    assert tuple(found["kinds"]) == KINDS
    for kind, one in found["kinds"].items():
        assert list(one) == ["unit", "points"]
        assert one["unit"] == CHANGES[kind].unit
        assert [point["strength"] for point in one["points"]] == list(CHANGES[kind].strengths)
        for point in one["points"]:
            assert list(point) == ["strength", "top1", "interval"]
            assert point["interval"] == wilson(round(point["top1"] * 30), 30)
            assert point["interval"][0] <= point["top1"] <= point["interval"][1]


@pytest.mark.parametrize("flip", [False, True])
def test_without_a_change_it_is_the_accuracy_of_the_evaluation(
    digits: Digits, *, flip: bool
) -> None:
    way = Way(flip=flip)
    found = digits.swept("shift", "noise", way=way)
    for one in found["kinds"].values():
        assert figures(one)[0] == digits.top1(way)


def test_a_net_that_knows_digits_loses_them_by_degrees(digits: Digits) -> None:
    found = digits.swept("shift", "rotate", "occlusion")["kinds"]
    for one in found.values():
        top1 = figures(one)
        assert top1[0] > 0.75
        assert top1[-1] < 0.5
        assert top1[1] > top1[3] > top1[-1]


def test_images_are_changed_as_the_kind_says() -> None:
    """By hand, from the split's own numbers."""
    given, net = source(), scorer()
    stored: Any = given.splits["test"]
    found = sweep(net, given, "test", settings(SIZE), Way(), ("deform",), quiet)
    begun = CHANGES["deform"].begin(stored.pixels, Draws(0, 0, np.arange(30)))
    wanted = []
    for strength in CHANGES["deform"].strengths:
        pixels = begun(strength) if strength else stored.pixels
        wanted.append(float((net(pixels).argmax(1).numpy() == stored.labels).mean()))
    assert figures(found["kinds"]["deform"]) == pytest.approx(wanted)


@pytest.mark.parametrize("batch_size", [1, 7, 30])
def test_the_batch_changes_nothing(batch_size: int) -> None:
    train = settings(SIZE)
    train.data.batch_size = batch_size
    found = sweep(scorer(), source(), "test", train, Way(), KINDS, quiet)
    assert found == sweep(scorer(), source(), "test", settings(SIZE), Way(), KINDS, quiet)


def test_kinds_know_nothing_of_each_other() -> None:
    several = sweep(scorer(), source(), "test", settings(SIZE), Way(), ("blur", "noise"), quiet)
    alone = sweep(scorer(), source(), "test", settings(SIZE), Way(), ("noise",), quiet)
    assert several["kinds"]["noise"] == alone["kinds"]["noise"]


class Told:
    """Keeps what it is shown."""

    classes = CLASSES

    def __init__(self) -> None:
        self.shown: list[Tensor] = []

    def __call__(self, given: Tensor, /) -> Tensor:
        self.shown.append(given)
        return torch.zeros(len(given), 3)

    def loss(self, *_: Any) -> None: ...


def test_every_strength_is_asked_about_once_and_nothing_twice_unchanged() -> None:
    asked, given = Told(), source(4)
    sweep(asked, given, "test", settings(SIZE), Way(), ("shift", "blur"), quiet)
    stored: Any = given.splits["test"]
    assert len(asked.shown) == 1 + 2 * 6
    assert torch.equal(asked.shown[0], stored.pixels)
    assert all(one.dtype == torch.uint8 for one in asked.shown)


def test_the_mirror_image_is_that_of_the_changed_image() -> None:
    asked = Told()
    sweep(asked, source(4), "test", settings(SIZE), Way(flip=True), ("rotate",), quiet)
    assert len(asked.shown) == 2 * 7
    for one, mirrored in zip(asked.shown[::2], asked.shown[1::2], strict=True):
        assert torch.equal(one.flip(3), mirrored)


def test_how_far_it_is_is_told() -> None:
    told: list[Any] = []
    sweep(
        Told(), source(10), "test", settings(SIZE), Way(), ("blur",), lambda *one: told.append(one)
    )
    assert told == [("changing", 4, 10), ("changing", 8, 10), ("changing", 10, 10)]


def test_images_without_colours_have_no_hue(digits: Digits) -> None:
    text = "greyscale images have no hue to change"
    with pytest.raises(DataError, match=text):
        digits.swept("shift", "hue")


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(DataError, match="made up has no split 'val', only test"):
        sweep(Told(), source(), "val", settings(SIZE), Way(), ("blur",), quiet)
    other = Source(("cat", "dog"), source().splits)
    with pytest.raises(DataError, match="the net knows 3 classes"):
        sweep(Told(), other, "test", settings(SIZE), Way(), ("blur",), quiet)
