from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from masked import cells, folder, load, mask, names, refusal, save, section

from cnnctl import data
from cnnctl.data import pair_feed
from cnnctl.data.pair_feed import Machine
from cnnctl.data.pairs import Held, Pairs
from cnnctl.data.source import Source

ALONE = Machine(workers=2, local=1)
BYTES = 9 * 12 * 4  # of a pair: three channels and a mask


def settled(
    root: Path, *, machine: Machine = ALONE, build: bool = True, **changes: Any
) -> Source:  # fmt: skip
    numbers = folder(root, **changes)
    return pair_feed.settle(data.load(numbers), numbers, machine, lambda *_: None, build=build)


def memory(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A machine with so many bytes."""
    sizes = {"SC_PHYS_PAGES": size, "SC_PAGE_SIZE": 1}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)


def test_what_fits_is_held(tmp_path) -> None:
    source = settled(cells(tmp_path, 10))
    loaded = load(tmp_path)
    for split, count in (("train", 9), ("val", 1)):
        found = source.splits[split]
        assert isinstance(found, Held)
        assert (source.feeds[split].kind, source.feeds[split].bytes) == ("memory", count * BYTES)
        assert source.feeds[split].workers == 0
        assert names(source, split) == names(loaded, split)
        for index in range(count):
            number = int(Path(found.name(index)).stem)
            assert found.pair(index)[1].tolist() == [mask(number).tolist()]


def test_images_are_held_resized_and_masks_are_not(tmp_path) -> None:
    found = settled(cells(tmp_path, 4), resize=3).splits["train"]
    assert isinstance(found, Held)
    assert found.pair(0)[0].shape == (3, 3, 4)
    assert found.pair(0)[1].shape == (1, 9, 12)


@pytest.mark.parametrize(("local", "kind"), [(1, "memory"), (2, "decode")])
def test_several_processes_share_the_memory(tmp_path, monkeypatch, local, kind) -> None:
    cells(tmp_path, 10)
    memory(monkeypatch, 4 * 10 * BYTES)
    source = settled(tmp_path, machine=Machine(2, local))
    assert source.feeds["train"].kind == kind


def test_what_does_not_fit_is_read_anew(tmp_path, monkeypatch) -> None:
    cells(tmp_path, 10)
    memory(monkeypatch, 4 * 10 * BYTES - 1)
    source = settled(tmp_path, batch_size=3)
    feed = source.feeds["train"]
    assert (feed.kind, feed.workers, feed.bytes) == ("decode", 2, 2 * 3 * 8 * 8 * 4)
    assert type(source.splits["train"]) is Pairs
    assert settled(tmp_path, machine=Machine(0, 1)).feeds["train"].bytes == 0


def test_nothing_is_held_where_that_is_not_wanted(tmp_path) -> None:
    source = settled(cells(tmp_path, 4), cache="never")
    assert source.feeds["val"].kind == "decode"
    assert type(source.splits["val"]) is Pairs


def harm(root: Path) -> dict[str, str]:
    """Three of ten pairs cannot be used: their images, and why."""
    save(root / "masks/2.png", np.full((9, 12), 7, np.uint8))
    save(root / "masks/5.png", mask(5, height=8))
    (root / "images/7.png").write_bytes(b"")
    return {
        str(root / "images/2.png"): f"mask {root}/masks/2.png has the unknown value 7 in 108 "
        "pixels, first in row 0, column 0, counted from 0",
        str(root / "images/5.png"): f"mask {root}/masks/5.png has 12x8 pixels, "
        f"but image {root}/images/5.png has 12x9",
        str(root / "images/7.png"): "the file is empty",
    }


@pytest.mark.parametrize("cache", ["auto", "never"])
def test_a_pair_that_cannot_be_used_stops_it(tmp_path, cache) -> None:
    cells(tmp_path, 10)
    (tmp_path / "images/7.png").write_bytes(b"")
    text = f"cannot read image {tmp_path}/images/7.png: the file is empty"
    hint = "(mend or remove it, or leave such images out with data.on_error=skip)"
    assert refusal(lambda: settled(tmp_path, cache=cache)) == f"{text} {hint}"
    harm(tmp_path)
    text = refusal(lambda: settled(tmp_path, cache=cache))
    assert "; 2 more cannot be used (" in text


def test_the_hint_of_the_fault_itself_comes_first(tmp_path) -> None:
    cells(tmp_path, 4, scale=255)
    text = refusal(lambda: settled(tmp_path))
    assert "has the unknown value 255" in text
    assert text.endswith("; 3 more cannot be used (data.values=[0, 255])")


@pytest.mark.parametrize("cache", ["auto", "never"])
def test_pairs_that_cannot_be_used_are_left_out_with_reasons(tmp_path, cache) -> None:
    cells(tmp_path, 10)
    reasons = harm(tmp_path)
    (tmp_path / "masks/9.png").unlink()
    source = settled(tmp_path, on_error="skip", cache=cache)
    none = "has no mask: there is no masks/9.png"
    assert source.skipped == {**reasons, str(tmp_path / "images/9.png"): none}
    left = [name for split in source.splits for name in names(source, split)]
    assert sorted(left) == [f"{number}.png" for number in (0, 1, 3, 4, 6, 8)]
    for found in source.splits.values():
        assert isinstance(found, Pairs)
        for index in range(len(found.labels)):
            number = int(Path(found.name(index)).stem)
            assert found.pair(index)[1].tolist() == [mask(number).tolist()]


def test_a_split_of_which_nothing_is_left(tmp_path) -> None:
    for split in ("train", "val"):
        cells(tmp_path, 3, split)
    for file in (tmp_path / "val/masks").iterdir():
        file.write_bytes(b"")
    text = f"no image of val can be used (cannot read mask {tmp_path}/val/masks/0.png: the file is"
    assert refusal(lambda: settled(tmp_path, on_error="skip")).startswith(text)


def test_unless_it_is_held_nothing_is_looked_at_without_verify(tmp_path) -> None:
    cells(tmp_path, 10)
    harm(tmp_path)
    source = settled(tmp_path, cache="never", verify=False)
    assert source.sizes == {"train": 9, "val": 1}
    assert source.skipped == {}
    assert "cannot be used" in refusal(lambda: settled(tmp_path, verify=False))


def test_a_plan_reads_only_what_tells_the_sizes(tmp_path, monkeypatch) -> None:
    cells(tmp_path, 10)
    monkeypatch.setattr(pair_feed, "_read", lambda *_, **__: pytest.fail("all were read"))
    source = settled(tmp_path, build=False)
    assert (source.feeds["train"].kind, source.feeds["train"].bytes) == ("memory", 9 * BYTES)
    assert type(source.splits["train"]) is Pairs


def test_it_is_told_how_far_it_is(tmp_path) -> None:
    cells(tmp_path, 21)
    told: list[Any] = []
    numbers = folder(tmp_path, val_fraction=0.05)
    pair_feed.settle(
        data.load(numbers), numbers, Machine(0, 1), lambda *done: told.append(done)
    )  # fmt: skip
    assert told == [
        ("reading", 8, 20), ("reading", 16, 20), ("reading", 20, 20), ("reading", 1, 1)
    ]  # fmt: skip


def test_shapes_are_in_memory_already(monkeypatch) -> None:
    numbers = section("shapes", images=10, size=8)
    loaded = data.load(numbers)
    memory(monkeypatch, 100)
    source = pair_feed.settle(loaded, numbers, Machine(2, 1), lambda *_: None)
    assert source.splits == loaded.splits
    assert {feed.kind for feed in source.feeds.values()} == {"memory"}
    assert sum(feed.bytes for feed in source.feeds.values()) == 10 * 8 * 8 * 4
