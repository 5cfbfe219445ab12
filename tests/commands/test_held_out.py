from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cnnctl.commands.held_out import warning
from cnnctl.data.source import Images, Source, Stored

DATA = {"name": "folder", "root": "photos", "split_seed": 0, "fold": None, "size": 8}


def source(**splits: list[int]) -> Source:
    """Images by number; val and test are drawn."""
    parts: dict[str, Images] = {}
    for name, numbers in splits.items():
        labels = np.zeros(len(numbers), np.int64)
        pixels = torch.zeros(len(numbers), 1, 2, 2, dtype=torch.uint8)
        parts[name] = Stored(pixels, labels, np.array(numbers))
    return Source(("a",), parts, drawn=("val", "test"))


BEFORE = source(train=[0, 1, 2, 3], val=[4, 5], test=[6, 7, 8])
AFTER = source(train=[0, 4, 6, 7], val=[1, 5], test=[2, 3, 8])


def trained(now: dict[str, Any] | None = None, **parts: Any) -> Any:
    """What evaluate knows of a run, with the data that it is measured on."""
    given = {"folder": Path("run"), "file": Path("run/checkpoints/best.ckpt"), "saved": object()}
    given |= {"manifest": None, "config": {"data": now or DATA}}
    return SimpleNamespace(**(given | parts))


@pytest.fixture(autouse=True)
def run() -> None:
    Path("run/checkpoints").mkdir(parents=True)
    Path("run/split.json").write_text(json.dumps(BEFORE.cut()))
    Path("run/config.yaml").write_text(json.dumps({"data": DATA}))


def test_the_images_that_the_run_held_out_are_no_matter() -> None:
    assert warning(trained(), BEFORE, "test") is None
    assert warning(trained(), BEFORE, "val") is None


def test_images_that_were_in_the_train_split_are_counted() -> None:
    now = {**DATA, "split_seed": 3, "fold": 1}
    assert warning(trained(now), AFTER, "test") == (
        "2 of the 3 images of test were not held out when run was trained: it may know them by "
        "heart (data.split_seed=3, data.fold=1)"
    )
    text = "1 of the 2 images of val were not held out when run was trained: it may know them by"
    assert warning(trained(), AFTER, "val") == f"{text} heart"


def test_val_and_test_may_change_places() -> None:
    swapped = source(train=[0, 1, 2, 3], val=[6, 7], test=[4, 5, 8])
    assert warning(trained(), swapped, "test") is None


def test_the_train_split_is_known_to_be_seen() -> None:
    assert warning(trained(), AFTER, "train") is None


def test_a_split_that_came_with_the_data_was_never_trained_on() -> None:
    assert warning(trained(), replace(AFTER, drawn=("val",)), "test") is None


@pytest.mark.parametrize("change", [{"root": "other"}, {"name": "digits"}])
def test_other_data_have_other_images(change: dict[str, str]) -> None:
    assert warning(trained({**DATA, **change}), AFTER, "test") is None


@pytest.mark.parametrize(
    "parts",
    [
        {"folder": None},
        {"folder": None, "saved": None, "manifest": SimpleNamespace(run="run")},
    ],
)  # fmt: skip
def test_a_checkpoint_or_an_export_knows_its_run(parts: dict[str, Any]) -> None:
    assert "2 of the 3" in (warning(trained(**parts), AFTER, "test") or "")


@pytest.mark.parametrize(
    "parts",
    [
        {"folder": None, "saved": None},
        {"folder": Path("gone")},
        {"manifest": SimpleNamespace(run="gone")},
        {"folder": None, "file": Path("best.ckpt")},
    ],
)  # fmt: skip
def test_without_the_run_nothing_can_be_said(parts: dict[str, Any]) -> None:
    assert warning(trained(**parts), AFTER, "test") is None


@pytest.mark.parametrize(("file", "text"), [("split.json", "{"), ("config.yaml", "- a\n")])
def test_what_cannot_be_read_says_nothing(file: str, text: str) -> None:
    Path("run", file).write_text(text)
    assert warning(trained(), AFTER, "test") is None
