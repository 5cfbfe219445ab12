"""Tiny published data sets on the disk, and what cnnctl finds in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import formats_arrays as arrays
import formats_files as files
import pytest
import torchvision.datasets.utils
from formats_arrays import Split, Written

from cnnctl import data, runs
from cnnctl.config import paths
from cnnctl.config.images import DATA, Data
from cnnctl.config.read import read
from cnnctl.data import fetch
from cnnctl.data.catalog import SETS, Found
from cnnctl.data.source import Images, Source
from cnnctl.errors import DataError

Content = list[tuple[bytes, tuple[int, ...], int]]  # of each image: pixels, shape, label

WRITERS: dict[str, Callable[[Path], Written]] = {
    "mnist": arrays.mnist,
    "fashion_mnist": lambda root: arrays.mnist(root, "FashionMNIST"),
    "kmnist": lambda root: arrays.mnist(root, "KMNIST"),
    "emnist": lambda root: arrays.emnist(root, "balanced", 47),
    "cifar10": arrays.cifar10,
    "cifar100": arrays.cifar100,
    "svhn": arrays.svhn,
    "stl10": arrays.stl10,
    "imagenette": files.imagenette,
    "imagenet": files.imagenet,
    "flowers102": files.flowers102,
    "food101": files.food101,
    "oxford_pets": files.oxford_pets,
    "gtsrb": files.gtsrb,
    "caltech101": files.caltech101,
    "eurosat": files.eurosat,
}
CLASSES = {  # where the tiny set has fewer
    "imagenet": 3, "food101": 3, "oxford_pets": 2, "gtsrb": 3, "caltech101": 3, "eurosat": 3,
}  # fmt: skip


def section(name: str, **changes: object) -> Data:
    """conf/data/NAME.yaml with changes."""
    numbers = runs.read_config(paths.conf_dir() / "data" / f"{name}.yaml")
    found, problems = read(DATA[name], numbers | {"size": 32} | changes, "data")
    assert problems == []
    assert found is not None
    return found


def trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tiny file has the checksum of the published one: the one place that says so."""
    monkeypatch.setattr(torchvision.datasets.utils, "check_md5", lambda *_, **__: True)


def opened(name: str, root: Path, **changes: object) -> Source:
    """The tiny set, through cnnctl's loader and torchvision's class."""
    sizes = {"classes": CLASSES[name]} if name in CLASSES else {}
    return data.load(section(name, root=str(root), download=False, **sizes | changes))


def content(*splits: Images) -> Content:
    """Every image as bytes, shape and label, in an order that does not matter."""
    return sorted(
        (images[i].numpy().tobytes(), tuple(images[i].shape), int(label))
        for images in splits
        for i, label in enumerate(images.labels)
    )


def expected(*splits: Split) -> Content:
    return sorted(
        (pixels.tobytes(), pixels.shape, label) for split in splits for pixels, label in split
    )


def got(name: str, root: Path, *, download: bool = False, **changes: object) -> dict[str, Found]:
    wanted = section(name, root=str(root), download=download, **changes)
    return fetch.fetch(wanted, SETS[name])  # pyright: ignore[reportArgumentType]


def refusal(name: str, root: Path, *, download: bool = False) -> str:
    with pytest.raises(DataError) as caught:
        got(name, root, download=download)
    text = str(caught.value)
    assert "\n" not in text
    return text
