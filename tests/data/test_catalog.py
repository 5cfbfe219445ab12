from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import formats
import numpy as np
import pytest
import yaml
from PIL import Image
from torchvision import datasets

from cnnctl import data
from cnnctl.config import catalog as listing
from cnnctl.config import compose, paths, preflight
from cnnctl.config.images import Published
from cnnctl.config.rules_published import EMNIST, UNDIVIDED
from cnnctl.config.schema import DATA
from cnnctl.data import digits
from cnnctl.data.catalog import SETS

FILES = sorted((paths.conf_dir() / "data").glob("*.yaml"))
TRIAL = Path(os.environ.get("CNNCTL_TRIAL", Path("~/.cache/cnnctl-trial").expanduser()))
PUBLISHED = {  # images of train and test; the same of all selections of EMNIST but balanced
    "mnist": ("60,000", "10,000"), "fashion_mnist": ("60,000", "10,000"),
    "kmnist": ("60,000", "10,000"), "emnist": ("112,800", "18,800"),
    "cifar10": ("50,000", "10,000"), "cifar100": ("50,000", "10,000"),
    "svhn": ("73,257", "26,032"), "stl10": ("5,000", "8,000"), "imagenette": ("9,469", "3,925"),
    "imagenet": ("1,281,167", "50,000"), "flowers102": ("1,020", "6,149"),
    "food101": ("75,750", "25,250"), "oxford_pets": ("3,680", "3,669"),
    "gtsrb": ("26,640", "12,630"), "caltech101": ("8,677",), "eurosat": ("27,000",),
}  # fmt: skip


def read(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def file_of(name: str) -> Path:
    return paths.conf_dir() / "data" / f"{name}.yaml"


def test_every_data_set_has_a_file_a_schema_and_a_loader() -> None:
    names = {file.stem for file in FILES}
    assert names == set(DATA) == set(data.LOADERS)
    assert {name for name in DATA if issubclass(DATA[name], Published)} == set(SETS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_names_its_source_and_has_numbers_for_every_channel(file) -> None:
    said = read(file)
    assert said["name"] == file.stem
    assert len(said["mean"]) == len(said["std"]) == said["channels"]
    assert all(0 < value < 1 for value in said["mean"] + said["std"])
    assert said["source"]
    assert said["licence"]


@pytest.mark.parametrize("name", SETS)
def test_a_published_set_names_its_home_and_what_it_holds(name) -> None:
    text = file_of(name).read_text(encoding="utf-8")
    said, header = read(file_of(name)), text[: text.index("\nname:")]
    assert re.search(r"\(https?://\S+\)$", said["source"])
    assert all(count in header for count in PUBLISHED[name])
    assert re.search(r"(Paper|Published by).* (19|20)\d\d", header)
    assert said["root"].startswith("~/data")
    assert said["download"] is (name != "imagenet")
    assert (said["test_fraction"] is not None) is (name in UNDIVIDED)
    assert ("test" not in SETS[name].parts) is (name in UNDIVIDED)


@pytest.mark.parametrize("name", SETS)
def test_a_published_set_composes_and_passes_the_rules(name) -> None:
    with compose.opened():
        config, problems = compose.compose("train", [f"data={name}"])
    train, problems = preflight.check(config, problems)
    assert problems == []
    assert train is not None
    assert isinstance(train.data, DATA[name])


def test_list_shows_every_set(cnnctl) -> None:
    rows = cnnctl("list", "data", "--json").document["result"]["data"]
    assert {row["name"] for row in rows} == set(DATA)
    assert {row["name"]: row["size"] for row in rows}["cifar10"] == 32
    shown = cnnctl("list", "data")
    assert shown.code == 0
    assert all(name in shown.out for name in DATA)


@pytest.mark.parametrize("name", SETS)
def test_the_header_is_one_line_of_a_list(name) -> None:
    assert 20 < len(listing.header(file_of(name))) < 100


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("mnist", datasets.MNIST), ("fashion_mnist", datasets.FashionMNIST),
        ("kmnist", datasets.KMNIST), ("flowers102", datasets.Flowers102),
    ],
)  # fmt: skip
def test_as_many_classes_as_torchvision_knows(name, cls) -> None:
    assert read(file_of(name))["classes"] == len(cls.classes)


def test_the_selections_of_emnist_are_those_of_torchvision() -> None:
    known = datasets.EMNIST.classes_split_dict
    assert {name: len(known[name]) for name in known} == EMNIST | {"letters": 27}  # with "N/A"
    assert read(file_of("emnist"))["classes"] == EMNIST["balanced"]
    header = file_of("emnist").read_text(encoding="utf-8")
    for name, classes in EMNIST.items():
        assert re.search(rf"^#   {name} +[\d,]+ +[\d,]+ +{classes}\b", header, re.MULTILINE)


def test_imagenette_has_the_classes_of_torchvision() -> None:
    assert read(file_of("imagenette"))["classes"] == len(datasets.Imagenette._WNID_TO_CLASS)


@pytest.mark.parametrize("name", SETS)
def test_the_places_are_what_torchvision_reads(tmp_path, name, monkeypatch) -> None:
    """A set written by its format is complete, and without any of its places it is not."""
    formats.trust(monkeypatch)
    formats.WRITERS[name](tmp_path)
    entry, split = SETS[name], {"split": "balanced"}

    def read_all() -> None:
        for part in entry.parts.values():
            keys = split if name == "emnist" else {}
            entry.read(entry.open(str(tmp_path), **part, **keys))

    read_all()
    for forms in entry.places:
        place = tmp_path / forms[0].format(**split)
        place.rename(tmp_path / "away")
        with pytest.raises((RuntimeError, OSError, ImportError)):
            read_all()
        (tmp_path / "away").rename(place)


def test_mean_and_std_of_the_digits_are_theirs() -> None:
    section = formats.section("digits")
    pixels = digits.load(section).splits["train"].pixels.double() / 255  # pyright: ignore[reportAttributeAccessIssue]
    assert pixels.mean().item() == pytest.approx(section.mean[0], abs=5e-5)
    assert pixels.std().item() == pytest.approx(section.std[0], abs=5e-5)


def test_mean_and_std_of_cifar10_are_theirs() -> None:
    """From a tenth of the images, saved as JPEG: near enough to tell them from other people's."""
    folder = TRIAL / "cifar10" / "train"
    if not folder.is_dir():
        pytest.skip(f"CIFAR-10 as JPEG files is not in {folder.parent} (CNNCTL_TRIAL)")
    files = sorted(folder.glob("*/*.jpg"))[::10]
    pixels = np.stack([np.asarray(Image.open(file)) for file in files]) / 255
    said = read(file_of("cifar10"))
    assert pixels.mean((0, 1, 2)) == pytest.approx(said["mean"], abs=5e-3)
    assert pixels.std((0, 1, 2)) == pytest.approx(said["std"], abs=5e-3)
