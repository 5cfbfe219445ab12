"""What may be configured about the images: data sets, and random changes of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cnnctl.config.fields import key

Policy = Literal[
    "trivial", "randaugment", "autoaugment_imagenet", "autoaugment_cifar10", "autoaugment_svhn",
    "augmix",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Data:
    """What every data set has."""

    name: str = key("data set")
    source: str = key("where the images come from")
    licence: str = key("under which licence")
    size: int = key("images are resized to size x size pixels", min=1)
    channels: Literal[1, 3] = key("1 for grey, 3 for colour")
    mean: tuple[float, ...] = key("subtracted per channel, images in 0..1")
    std: tuple[float, ...] = key("divided by per channel, images in 0..1", above=0)
    batch_size: int = key("images per device and step", min=1)
    workers: int | Literal["auto"] = key("processes that decode, per device; 0: none", min=0)
    cache: Literal["auto", "always", "never"] = key("decode once and keep the pixels on disk")
    val_fraction: float = key("share of the images kept for validation", above=0, below=1)
    split_seed: int = key("fixes who goes into which split", min=0)
    folds: int | None = key("cut train and val into so many parts instead", min=2)
    fold: int | None = key("which of these parts, from 0, is val", min=0)
    balance: Literal["none", "sample", "loss"] = key(
        "against rare classes: draw or weigh them more"
    )
    on_error: Literal["fail", "skip"] = key("what to do with an image that cannot be read")

    @property
    def repeats(self) -> int:
        """How often training sees an image in an epoch."""
        return 1


@dataclass(frozen=True, kw_only=True)
class Digits(Data):
    """Handwritten digits, shipped inside the package."""

    test_fraction: float = key("share of the images kept for the test", above=0, below=1)


@dataclass(frozen=True, kw_only=True)
class Folder(Data):
    """Your own images: a folder, an archive, a table, shards."""

    root: str = key("folder, .tar, .zip, .csv, .parquet, shards or hf://NAME")
    test_fraction: float | None = key(
        "share of the images kept for the test where there is no test split", above=0, below=1
    )
    verify: bool = key("decode every image once before training")
    quarantine: str | None = key("a file that lists images to leave out")


@dataclass(frozen=True, kw_only=True)
class Published(Data):
    """A published data set that torchvision knows how to download and read."""

    classes: int = key("how many classes it has", min=2)
    root: str = key("the folder that holds it, or that it is downloaded to")
    download: bool = key("download it if it is not there")
    test_fraction: float | None = key(
        "share of the images kept for the test where the set has no test split", above=0, below=1
    )


@dataclass(frozen=True, kw_only=True)
class Emnist(Published):
    """EMNIST has six selections of the same characters."""

    split: Literal["balanced", "byclass", "bymerge", "digits", "letters", "mnist"] = key(
        "which of its six selections"
    )


@dataclass(frozen=True, kw_only=True)
class Svhn(Published):
    """SVHN has easier images beside those for training."""

    extra: bool = key("train on the 531,131 easier images, too")


@dataclass(frozen=True, kw_only=True)
class Stl10(Published):
    """STL-10 names ten subsets of its training images, for its own protocol."""

    subset: int | None = key("train on one of its ten subsets of 1,000 images", min=0, max=9)


@dataclass(frozen=True, kw_only=True)
class Fake(Data):
    """Noise of any size, for trials of speed."""

    images: int = key("how many", min=1)
    classes: int = key("how many", min=2)
    test_fraction: float = key("share of the images kept for the test", above=0, below=1)


DATA: dict[str, type[Data]] = {
    "digits": Digits, "folder": Folder, "fake": Fake,
    **dict.fromkeys((
        "mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100", "imagenette", "imagenet",
        "flowers102", "food101", "oxford_pets", "gtsrb", "caltech101", "eurosat",
    ), Published),
    "emnist": Emnist, "svhn": Svhn, "stl10": Stl10,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of a training image; 0, null and [0, 0] switch one off."""

    name: str = key("name of the augmentation")
    crop: tuple[float, float] | None = key("area of a random crop, resized to size", above=0, max=1)
    shift: int = key("random shift by up to this many pixels in x and y", min=0)
    flip: float = key("probability of a left-right flip", min=0, max=1)
    flip_alternates: bool = key("flip by turns: of 0.5, an image in every second epoch")
    rotate: float = key("random rotation by up to this many degrees", min=0, max=180)
    elastic: tuple[float, float] | None = key("strength and smoothness of a distortion", above=0)
    deform: tuple[int, float] | None = key(
        "points a side and deviation in pixels of a smooth distortion", above=0
    )
    policy: Policy | None = key("random operations on shape and colour")
    ops: int | None = key("of randaugment: operations per image", min=1)
    magnitude: int | None = key("of randaugment: strength, 0 to 30", min=0, max=30)
    colour: float = key("deviation of the shift along the colours' principal axes", min=0)
    erase: float = key("probability that a rectangle is erased", min=0, max=1)
    mixup: float = key("alpha of mixing two images, 0: none", min=0)
    cutmix: float = key("alpha of pasting a part of another image, 0: none", min=0)
