from __future__ import annotations

import subprocess
import sys

import pytest

from cnnctl.config import compose, preflight
from cnnctl.config.masks import MASKS

NET = "model=unet_small"
FOLDER = (NET, "data=folder_masks", "data.root=x")
NAMED = (*FOLDER, "data.classes=[a,b]")


def told(*words: str) -> list[tuple[str, str | None]]:
    """What is wrong with a command line, each with the key that it is about."""
    with compose.opened():
        config, problems = compose.compose("train", ["augment=none", *words])
    return [(str(one), one.key) for one in preflight.check(config, problems)[1]]


@pytest.mark.parametrize("name", MASKS)
def test_what_the_files_say_goes_together(name) -> None:
    root = ("data.root=x",) if name == "folder_masks" else ()
    assert told(NET, f"data={name}", *root) == []


@pytest.mark.parametrize(
    "words",
    [
        FOLDER,
        (*NAMED, "data.values=[0,255]"),
        (*NAMED, "data.values=['#000000','#ff00ff']", "data.ignore='#ffffff'"),
        (*NAMED, "data.ignore=255"),
        (*NAMED, "data.ignore=[254,255]", "data.on_error=skip"),
        (*FOLDER, "data.verify=false"),
        (NET, "data=shapes", "augment=flip_crop", "augment.rotate=10", "augment.deform=[3,10]"),
        (NET, "data=shapes", "augment.elastic=[30,4]", "augment.shift=4"),
        (NET, "data=shapes", "data.balance=loss", "data.cache=never"),
    ],
)
def test_what_goes_together(words) -> None:
    assert told(*words) == []


def test_data_and_net_must_be_about_the_same() -> None:
    text = "data=shapes has a class for each pixel, but lenet5 gives none"
    assert told("data=shapes", "model=lenet5") == [
        (f"{text} (model=unet_same, or data=digits)", "data")
    ]
    text = "unet_small gives a class for each pixel, but data=digits has one for each image"
    own = "data=shapes, or your own: data=folder_masks data.root=…"
    assert told(NET) == [(f"{text} ({own})", "data")]


@pytest.mark.parametrize(
    ("words", "text", "key"),
    [
        (
            ("data.cache=always",),
            (
                "data.cache=always is not there for images with masks "
                "(data.cache=auto keeps them in memory if they fit)"
            ),
            "data.cache",
        ),
        (
            ("data.balance=sample",),
            (
                "data.balance=sample has no effect: an image with a mask has pixels of many "
                "classes (data.balance=loss weighs its pixels)"
            ),
            "data.balance",
        ),
        (
            ("data.val_fraction=0.5", "data.test_fraction=0.5"),
            (
                "data.val_fraction and data.test_fraction leave nothing to train on "
                "(their sum must be below 1)"
            ),
            "data.val_fraction",
        ),
        (
            ("augment.mixup=0.2",),
            "augment.mixup=0.2 knows no masks (set augment.mixup=0)",
            "augment.mixup",
        ),
        (
            ("augment.cutmix=1",),
            "augment.cutmix=1.0 knows no masks (set augment.cutmix=0)",
            "augment.cutmix",
        ),
        (
            ("augment.erase=0.5",),
            "augment.erase=0.5 knows no masks (set augment.erase=0)",
            "augment.erase",
        ),
        (
            ("augment.policy=trivial",),
            "augment.policy=trivial knows no masks (set augment.policy=null)",
            "augment.policy",
        ),
    ],
)
def test_what_masks_rule_out(words, text, key) -> None:
    assert told(NET, "data=shapes", *words) == [(text, key)]


@pytest.mark.parametrize("data", ["folder_masks", "voc", "oxford_pets_masks", "cityscapes"])
def test_leaving_out_needs_looking(data) -> None:
    text = "data.on_error=skip has no effect with data.verify=false (set data.verify=true)"
    words = (NET, f"data={data}", "data.on_error=skip", "data.verify=false")
    root = ("data.root=x",) if data == "folder_masks" else ()
    assert told(*words, *root) == [(text, "data.on_error")]


@pytest.mark.parametrize("name", ["values", "ignore"])
def test_values_without_classes_mean_nothing(name) -> None:
    text = f"data.{name} has no effect without data.classes: root/classes.txt says all"
    wanted = [(f"{text} (give data.classes, too)", f"data.{name}")]
    assert told(*FOLDER, f"data.{name}=[0,255]") == wanted


@pytest.mark.parametrize(
    ("words", "text", "key"),
    [
        (
            ("data.classes=[a]",),
            "data.classes must be 2 to 255 names, got 1",
            "data.classes",
        ),
        (
            ("data.classes=[a,a]",),
            "data.classes has 'a' twice (every class needs a name of its own)",
            "data.classes",
        ),
        (
            ("data.classes=[a,b]", "data.values=[0]"),
            "data.values must be one for each of 2 classes, got 1 (a, b)",
            "data.values",
        ),
        (
            ("data.classes=[a,b]", "data.values=[0,red]"),
            (
                "data.values must be numbers from 0 to 65535 or colours, got 'red' "
                "(a colour is '#rrggbb', in quotes)"
            ),
            "data.values",
        ),
        (
            ("data.classes=[a,b]", "data.ignore=1"),
            "data.ignore has 1, which is the value of a class",
            "data.ignore",
        ),
        (
            ("data.classes=[a,b]", "data.ignore='#ffffff'"),
            "data.ignore mixes numbers and colours (all of them must be the one or the other)",
            "data.ignore",
        ),
    ],
)
def test_a_legend_with_faults(words, text, key) -> None:
    assert (text, key) in told(*FOLDER, *words)


@pytest.mark.parametrize("name", ["voc", "oxford_pets_masks", "cityscapes"])
def test_a_published_set_has_its_own_test(name) -> None:
    text = f"data.test_fraction has no effect: {name} has a test split of its own"
    wanted = [(f"{text} (data.test_fraction=null)", "data.test_fraction")]
    assert told(NET, f"data={name}", "data.test_fraction=0.2") == wanted


def test_cityscapes_cannot_be_downloaded() -> None:
    text = "data.download=true has no effect: cityscapes cannot be downloaded"
    wanted = [(f"{text} (data.download=false)", "data.download")]
    assert told(NET, "data=cityscapes", "data.download=true") == wanted


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_shares_of_a_folder_that_leave_nothing(share) -> None:
    text = "data.val_fraction and data.test_fraction leave nothing to train on"
    wanted = [(f"{text} (their sum must be below 1)", "data.val_fraction")]
    words = ("data.val_fraction=0.5", f"data.test_fraction={share}")
    assert told(*NAMED, *words) == wanted


def test_folds_of_a_folder() -> None:
    text = "data.folds=3 needs data.fold: which of them is val (data.fold=0 to 2)"
    assert told(*NAMED, "data.folds=3") == [(text, "data.folds")]
    assert told(*NAMED, "data.folds=3", "data.fold=2") == []


def test_the_rules_need_no_torch() -> None:
    program = "import sys, cnnctl.config.rules_masks; print('torch' in sys.modules)"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
