from __future__ import annotations

import pytest

from cnnctl import runs
from cnnctl.config import paths, schema
from cnnctl.config.masks import IGNORE, LOSSES, MASKS, FolderMasks, Masks
from cnnctl.config.read import read

RED, BLACK = "#ff0000", "#000000"


def section(name: str, **changes: object) -> tuple[Masks | None, list[str]]:
    """conf/data/NAME.yaml with changes, and what is wrong with it."""
    numbers = runs.read_config(paths.conf_dir() / "data" / f"{name}.yaml")
    root = {"root": "cells"} if name == "folder_masks" else {}
    found, problems = read(MASKS[name], numbers | root | changes, "data")
    return found, [str(problem) for problem in problems]


@pytest.mark.parametrize("name", MASKS)
def test_every_data_set_with_masks_has_its_file(name) -> None:
    found, problems = section(name)
    assert problems == []
    assert isinstance(found, Masks)
    assert found.name == name
    assert schema.DATA[name] is MASKS[name]
    assert len(found.mean) == len(found.std) == found.channels


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_its_file(name) -> None:
    numbers = runs.read_config(paths.conf_dir() / "loss" / f"{name}.yaml")
    found, problems = read(LOSSES[name], numbers, "loss")
    assert problems == []
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    ("key", "value", "read_as"),
    [
        ("classes", ["a", "b"], ("a", "b")), ("classes", None, None),
        ("values", [0, 255], (0, 255)), ("values", [BLACK, RED], (BLACK, RED)),
        ("ignore", 255, 255), ("ignore", RED, RED), ("ignore", [3, 4], (3, 4)),
        ("ignore", [RED, BLACK], (RED, BLACK)), ("ignore", None, None),
        ("resize", 64, 64), ("resize", None, None),
    ],
)  # fmt: skip
def test_what_a_folder_of_masks_takes(key, value, read_as) -> None:
    found, problems = section("folder_masks", **{key: value})
    assert problems == []
    assert isinstance(found, FolderMasks)
    assert getattr(found, key) == read_as


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("classes", [1, 2], "data.classes must be a list of texts or null, got [1, 2]"),
        ("classes", "cell", "data.classes must be a list of texts or null, got 'cell'"),
        ("values", 3, "data.values must be a list of numbers or texts or null, got 3"),
        ("values", [0.5], "data.values must be a list of numbers or texts or null, got [0.5]"),
        ("resize", 0, "data.resize must be at least 1, got 0"),
        ("test_fraction", 1, "data.test_fraction must be below 1, got 1"),
        ("verify", "yes", "data.verify must be true or false, got 'yes'"),
    ],
)  # fmt: skip
def test_what_it_does_not_take(key, value, text) -> None:
    found, problems = section("folder_masks", **{key: value})
    assert (found, problems) == (None, [text])


def test_a_wrong_ignore_says_what_is_allowed() -> None:
    _, problems = section("folder_masks", ignore=True)
    wanted = "a whole number or text or a list of numbers or texts or null"
    assert problems == [f"data.ignore must be {wanted}, got true"]


def test_the_root_of_a_folder_must_be_given_and_that_of_a_published_set_not() -> None:
    text = runs.read_config(paths.conf_dir() / "data" / "folder_masks.yaml")
    assert text["root"] == "???"
    assert runs.read_config(paths.conf_dir() / "data" / "voc.yaml")["root"] == "~/data"


def test_what_is_ignored_is_no_class() -> None:
    assert IGNORE == 255
    published = ("voc", "oxford_pets_masks", "cityscapes")
    assert {vars(section(name)[0])["classes"] for name in published} == {21, 3, 19}
