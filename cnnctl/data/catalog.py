"""The published data sets: torchvision's class of each, its arguments, and what it holds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets

DIGITS = tuple("0123456789")


class Found(NamedTuple):
    """One split: pixels uint8 (N, C, H, W) or the files' paths, int64 (N,), classes' names."""

    images: Tensor | Sequence[str]
    labels: np.ndarray
    classes: tuple[str, ...]


T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Set(Generic[T_co]):
    """One data set, of which `read` makes the splits.

    `places` are what it consists of under data.root: each under its first name or, still
    packed, under its second. `parts` are the arguments of torchvision's
    class for each split, and `keys` those that come from keys of the configuration. `checked`
    sets are compared with their checksums at every start, so that a download that was cut off
    cannot be taken for the set. `matlab` sets have files that torchvision reads with scipy, or
    makes the file of this name of, once. `get` says how to come by a set that cannot be
    downloaded.
    """

    title: str
    open: Callable[..., Any]
    read: Callable[[Any], T_co]
    parts: Mapping[str, dict[str, Any]]
    places: tuple[tuple[str, ...], ...]
    keys: Mapping[str, str] = field(default_factory=dict)
    checked: bool = False
    matlab: bool | str = False
    get: str | None = None


def _labels(values: Any) -> np.ndarray:
    return np.asarray(values, np.int64)


def _mnist(dataset: Any) -> Found:
    return Found(dataset.data.unsqueeze(1), dataset.targets.numpy(), DIGITS)


def _fashion(dataset: Any) -> Found:
    return _mnist(dataset)._replace(classes=tuple(dataset.classes))


def _emnist(dataset: Any) -> Found:
    """Upright: the files hold the columns of a character where MNIST holds its rows."""
    pixels = dataset.data.transpose(1, 2).contiguous().unsqueeze(1)
    first = 1 if dataset.split == "letters" else 0  # letters count from 1, and class 0 is "N/A"
    classes = tuple(dataset.classes[first:])
    return Found(pixels, dataset.targets.numpy() - first, classes)


def _cifar(dataset: Any) -> Found:
    pixels = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
    return Found(pixels, _labels(dataset.targets), tuple(dataset.classes))


def _svhn(dataset: Any) -> Found:
    return Found(torch.from_numpy(dataset.data).contiguous(), _labels(dataset.labels), DIGITS)


def _stl10(dataset: Any) -> Found:
    pixels = torch.from_numpy(dataset.data).contiguous()
    return Found(pixels, _labels(dataset.labels), tuple(dataset.classes))


def _folders(dataset: Any) -> Found:
    """Sets with one folder per class, which torchvision has listed."""
    samples = dataset.samples if hasattr(dataset, "samples") else dataset._samples  # noqa: SLF001
    paths, labels = zip(*samples, strict=True)
    return Found(paths, _labels(labels), tuple(getattr(dataset, "classes", ())))


def _synonyms(dataset: Any) -> Found:
    """The first synonym of every class; with its number in WordNet where two have the same."""
    names = [synonyms[0] for synonyms in dataset.classes]
    often = Counter(names)
    classes = tuple(
        f"{name} ({wnid})" if often[name] > 1 else name
        for name, wnid in zip(names, dataset.wnids, strict=True)
    )
    return _folders(dataset)._replace(classes=classes)


def _gtsrb(dataset: Any) -> Found:
    """Signs have numbers; a test image is listed with the number of its sign."""
    training = Path(dataset._base_folder) / "GTSRB" / "Training"  # noqa: SLF001
    classes, _ = datasets.folder.find_classes(training)
    found = _folders(dataset)
    assert not isinstance(found.images, Tensor)
    return _listed(found.images, found.labels, classes)


def _flowers(dataset: Any) -> Found:
    return _listed(dataset._image_files, dataset._labels, dataset.classes)  # noqa: SLF001


def _pets(dataset: Any) -> Found:
    return _listed(dataset._images, dataset._labels, dataset.classes)  # noqa: SLF001


def _caltech(dataset: Any) -> Found:
    folder = Path(dataset.root) / "101_ObjectCategories"
    paths = [
        folder / dataset.categories[label] / f"image_{number:04d}.jpg"
        for label, number in zip(dataset.y, dataset.index, strict=True)
    ]
    return _listed(paths, dataset.y, dataset.categories)


def _listed(files: Sequence[str | Path], labels: Any, classes: Sequence[str]) -> Found:
    return Found(there(files), _labels(labels), tuple(classes))


def there(files: Sequence[str | Path]) -> list[str]:
    """Of sets that name their images in a list: torchvision does not look for the files."""
    paths = [os.fspath(file) for file in files]
    for path in paths:
        if not os.path.isfile(path):  # noqa: PTH113 - a hundred thousand files
            raise FileNotFoundError(f"there is no {path}")
    return paths


def _idx(name: str, train: str = "train", test: str = "t10k") -> tuple[tuple[str], ...]:
    kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
    return tuple((f"{name}/raw/{part}-{kind}",) for part in (train, test) for kind in kinds)


TRAIN = {"train": {"train": True}, "test": {"train": False}}
SPLIT = {"train": {"split": "train"}, "test": {"split": "test"}}
VAL_IS_TEST = {"train": {"split": "train"}, "test": {"split": "val"}}
WHOLE: dict[str, dict[str, Any]] = {"train": {}}
ILSVRC = ("ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")
ILSVRC_PAGE = "https://image-net.org/download-images"

SETS: dict[str, Set[Found]] = {
    "mnist": Set("MNIST", datasets.MNIST, _mnist, TRAIN, _idx("MNIST")),
    "fashion_mnist": Set(
        "Fashion-MNIST", datasets.FashionMNIST, _fashion, TRAIN, _idx("FashionMNIST")
    ),
    "kmnist": Set("KMNIST", datasets.KMNIST, _fashion, TRAIN, _idx("KMNIST")),
    "emnist": Set(
        "EMNIST", datasets.EMNIST, _emnist, TRAIN,
        _idx("EMNIST", "emnist-{split}-train", "emnist-{split}-test"), keys={"split": "split"},
    ),
    "cifar10": Set(
        "CIFAR-10", datasets.CIFAR10, _cifar, TRAIN, (("cifar-10-batches-py",),), checked=True
    ),
    "cifar100": Set(
        "CIFAR-100", datasets.CIFAR100, _cifar, TRAIN, (("cifar-100-python",),), checked=True
    ),
    "svhn": Set(
        "SVHN", datasets.SVHN, _svhn, SPLIT | {"extra": {"split": "extra"}},
        (("train_32x32.mat",), ("test_32x32.mat",)), checked=True, matlab=True,
    ),
    "stl10": Set(
        "STL-10", datasets.STL10, _stl10, SPLIT, (("stl10_binary",),),
        keys={"folds": "subset"}, checked=True,
    ),
    "imagenette": Set(
        "Imagenette", datasets.Imagenette, _synonyms, VAL_IS_TEST, (("imagenette2",),)
    ),
    "imagenet": Set(
        "ImageNet", datasets.ImageNet, _synonyms, VAL_IS_TEST,
        tuple(zip(("meta.bin", "train", "val"), ILSVRC, strict=True)), matlab="meta.bin",
        get=f"get {', '.join(ILSVRC)} from {ILSVRC_PAGE} and put them there",
    ),
    "flowers102": Set(
        "Flowers-102", datasets.Flowers102, _flowers, SPLIT | {"val": {"split": "val"}},
        (("flowers-102/jpg",), ("flowers-102/imagelabels.mat",), ("flowers-102/setid.mat",)),
        matlab=True,
    ),
    "food101": Set(
        "Food-101", datasets.Food101, _flowers, SPLIT, (("food-101/images",), ("food-101/meta",))
    ),
    "oxford_pets": Set(
        "Oxford-IIIT Pet", datasets.OxfordIIITPet, _pets,
        {"train": {"split": "trainval"}, "test": {"split": "test"}},
        (("oxford-iiit-pet/images",), ("oxford-iiit-pet/annotations",)),
    ),
    "gtsrb": Set(
        "GTSRB", datasets.GTSRB, _gtsrb, SPLIT,
        (("gtsrb/GTSRB/Training",), ("gtsrb/GTSRB/Final_Test",), ("gtsrb/GT-final_test.csv",)),
    ),
    "caltech101": Set(
        "Caltech-101", datasets.Caltech101, _caltech, WHOLE,
        (("caltech101/101_ObjectCategories",),),
    ),
    "eurosat": Set("EuroSAT", datasets.EuroSAT, _folders, WHOLE, (("eurosat/2750",),)),
}  # fmt: skip
