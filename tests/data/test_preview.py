from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cnnctl import data
from cnnctl.config import compose, preflight
from cnnctl.config.schema import Train
from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Prepare
from cnnctl.data.preview import EPOCHS, ROWS, preview
from cnnctl.data.reading import Reader, Whole
from cnnctl.data.source import Images
from cnnctl.errors import DataError


def configured(*words: str) -> Train:
    with compose.opened():
        train, problems = preflight.check(*compose.compose("train", list(words)))
    assert not problems
    assert train is not None
    return train


def place(images: Images, name: str) -> int:
    return [images.name(index) for index in range(len(images.labels))].index(name)


def test_a_row_for_each_class_first_as_it_is(photos) -> None:
    train = configured("data=digits", "augment=none")
    source = data.load(train.data)
    rows = preview(source, train)
    assert [row.label for row in rows] == list("01234567")
    images = source.splits["train"]
    for row in rows:
        assert row.versions.shape == (1 + EPOCHS, 1, 32, 32)
        assert row.versions.dtype == torch.uint8
        index = place(images, row.name)
        for version in row.versions:  # nothing is changed, normalising is undone
            assert torch.equal(version, images[index])


def test_the_epochs_are_those_of_training() -> None:
    train = configured("data=digits", "augment=shift_rotate", "seed=3")
    source = data.load(train.data)
    rows = preview(source, train)
    sample = place(source.splits["train"], rows[2].name)
    reader, prepare = Reader(source.splits["train"], Whole(32), 3), Prepare(train, 10)
    others = torch.tensor([5, sample, 9]).numpy()  # whatever else is in the batch
    for epoch in range(EPOCHS):
        images = prepare(reader.batch(Ticket(others, epoch))).images
        seen = images[1] * train.data.std[0] + train.data.mean[0]
        assert rows[2].versions[1 + epoch].float() == pytest.approx(255 * seen, abs=1)
    assert not torch.equal(rows[2].versions[1], rows[2].versions[2])


@pytest.mark.parametrize("words", [("augment=resized_crop",), ("augment.mixup=0.4",),
                                   ("augment.erase=1", "augment.policy=trivial")])  # fmt: skip
def test_every_kind_of_change_can_be_shown(photos, words: tuple[str, ...]) -> None:
    root = photos({"train": {"cat": 3, "dog": 9}})
    train = configured("data=folder", f"data.root={root}", "data.size=24", *words)
    rows = preview(data.load(train.data), train)
    assert len(rows) == ROWS
    assert {row.versions.shape for row in rows} == {(1 + EPOCHS, 3, 24, 24)}
    assert [row.label for row in rows] == ["cat"] * 2 + ["dog"] * 6


def test_broken_images_are_passed_over(photos) -> None:
    root = photos({"train": {"cat": 4, "dog": 4}})
    train = configured("data=folder", f"data.root={root}", "data.size=32")
    source = data.load(train.data)
    images = source.splits["train"]
    Path(images.name(0)).write_bytes(b"")
    rows = preview(source, train)
    assert len(rows) == len(images.labels) - 1
    assert images.name(0) not in [row.name for row in rows]
    for index in range(len(images.labels)):
        Path(images.name(index)).write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty"):
        preview(source, train)
