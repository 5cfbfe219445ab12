from __future__ import annotations

import dataclasses
import typing

import formats
import pytest

from cnnctl.config.images import DATA, Emnist, Published
from cnnctl.config.rules_published import EMNIST, UNDIVIDED, published

DIVIDED = sorted(
    name for name, cls in DATA.items() if issubclass(cls, Published) and name not in UNDIVIDED
)
NOTHING_LEFT = (
    "data.val_fraction and data.test_fraction leave nothing to train on (their sum must be below 1)"
)


def broken(name: str, **changes: object) -> list[tuple[str, str | None]]:
    root = {"root": "x"} if name == "folder" else {}
    data = dataclasses.replace(formats.section(name, **root), **changes)
    return [(str(problem), problem.key) for problem in published(data)]


@pytest.mark.parametrize("name", [name for name in DATA if name not in ("digits", "folder")])
def test_no_rule_is_broken_by_the_files(name) -> None:
    assert list(published(formats.section(name))) == []


def test_other_data_sets_are_not_judged_here() -> None:
    assert broken("folder", test_fraction=0.95) == []
    assert list(published(formats.section("digits"))) == []


@pytest.mark.parametrize("name", DIVIDED)
def test_a_test_fraction_of_a_set_with_a_test_split_has_no_effect(name) -> None:
    text = f"data.test_fraction has no effect: {name} has a test split of its own"
    wanted = (f"{text} (data.test_fraction=null)", "data.test_fraction")
    assert broken(name, test_fraction=0.2) == [wanted]


@pytest.mark.parametrize("name", UNDIVIDED)
def test_a_set_without_a_test_split_may_get_one(name) -> None:
    assert broken(name, test_fraction=0.5) == broken(name, test_fraction=None) == []


@pytest.mark.parametrize("name", [*UNDIVIDED, "fake"])
def test_fractions_must_leave_something_to_train_on(name) -> None:
    wanted = [(NOTHING_LEFT, "data.val_fraction")]
    assert broken(name, val_fraction=0.5, test_fraction=0.5) == wanted
    assert broken(name, val_fraction=0.5, test_fraction=0.4) == []


def test_imagenet_cannot_be_downloaded() -> None:
    text = "data.download=true has no effect: imagenet cannot be downloaded (data.download=false)"
    assert broken("imagenet", download=True) == [(text, "data.download")]


@pytest.mark.parametrize(("split", "classes"), EMNIST.items())
def test_the_classes_of_emnist_follow_its_selection(split, classes) -> None:
    assert broken("emnist", split=split, classes=classes) == []
    text = f"data.classes must be {classes} for data.split={split}, got 11"
    wanted = [(f"{text} (data.classes={classes})", "data.classes")]
    assert broken("emnist", split=split, classes=11) == wanted


def test_every_selection_has_its_number_of_classes() -> None:
    hints = typing.get_type_hints(Emnist)
    assert set(typing.get_args(hints["split"])) == set(EMNIST)
