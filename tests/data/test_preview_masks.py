from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from images import configured
from masked import cells, held, load, mask, refusal, save

from cnnctl.config.schema import Train
from cnnctl.data import preview_masks
from cnnctl.data.order import Ticket
from cnnctl.data.pair_reading import Cut, PairReader


def train(root: Path, *words: str) -> Train:
    named = ("data=folder_masks", f"data.root={root}", "data.classes=[a,b]", "data.size=8")
    return configured("model=unet_small", "augment=none", *named, *words)


def test_first_the_whole_image_and_then_what_training_cuts(tmp_path) -> None:
    configuration = train(cells(tmp_path, 12))
    source = load(tmp_path)
    rows = preview_masks.preview(source, configuration)
    assert len(rows) == 8
    pairs = source.splits["train"]
    names = [pairs.name(index) for index in range(11)]
    samples = np.array([names.index(row.name) for row in rows])
    reader = PairReader(pairs, Cut(8, None, None), configuration.seed)  # pyright: ignore[reportArgumentType]
    for epoch in range(preview_masks.EPOCHS):
        images, masks, _ = reader.batch(Ticket(samples, epoch))
        for place, row in enumerate(rows):
            assert np.array_equal(row.images[1 + epoch], images[place])
            assert np.array_equal(row.masks[1 + epoch], masks[place, 0])
    for row in rows:
        assert row.label == Path(row.name).name
        assert np.array_equal(row.masks[0], mask(int(Path(row.name).stem)))
        assert [one.shape for one in row.images] == [(3, 9, 12), *[(3, 8, 8)] * 3]


def test_what_is_random_is_that_of_training(tmp_path) -> None:
    cells(tmp_path, 12)
    plain, mirrored = (
        preview_masks.preview(load(tmp_path), train(tmp_path, *words))
        for words in ((), ("augment.flip=1",))
    )
    for one, other in zip(plain, mirrored, strict=True):
        assert np.array_equal(one.masks[0], other.masks[0])
        for epoch in (1, 2, 3):
            assert np.array_equal(one.masks[epoch][:, ::-1], other.masks[epoch])
            assert np.array_equal(one.images[epoch][:, :, ::-1], other.images[epoch])


def test_images_are_chosen_that_show_all_classes(tmp_path) -> None:
    cells(tmp_path, 40)
    for number in range(40):
        save(tmp_path / f"masks/{number}.png", np.full((9, 12), number == 33, np.uint8))
    source = load(tmp_path, val_fraction=0.01, split_seed=1)
    rows = preview_masks.preview(source, train(tmp_path))
    assert "33.png" in [row.label for row in rows]


def test_broken_images_are_passed_over(tmp_path) -> None:
    cells(tmp_path, 4)
    (tmp_path / "masks/0.png").write_bytes(b"")
    (tmp_path / "images/1.png").write_bytes(b"")
    source = load(tmp_path, val_fraction=0.01)
    shown = {row.label for row in preview_masks.preview(source, train(tmp_path))}
    assert shown <= {"2.png", "3.png"}
    for file in (tmp_path / "masks").iterdir():
        file.write_bytes(b"")
    text = refusal(lambda: preview_masks.preview(source, train(tmp_path)))
    assert "the file is empty" in text


def test_a_mask_in_which_nothing_counts_is_no_trap() -> None:
    pairs = held((8, 8), (8, 8))
    for _, classes in pairs.found:
        classes.fill_(255)
    assert preview_masks._chosen(pairs, 2).tolist() == [0, 1]


@pytest.mark.parametrize("size", [4, 20])
def test_windows_of_any_size(tmp_path, size) -> None:
    rows = preview_masks.preview(
        load(cells(tmp_path, 4)), train(tmp_path, f"data.size={size}", "data.resize=9")
    )
    assert {row.images[1].shape for row in rows} == {(3, size, size)}
    assert torch.tensor(rows[0].masks[1]).max() <= 1
