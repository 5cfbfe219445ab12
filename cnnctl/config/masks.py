"""What may be configured about images with a mask: data sets, and what training makes small."""

from __future__ import annotations

from dataclasses import dataclass

from cnnctl.config.fields import key
from cnnctl.config.images import Data

IGNORE = 255  # of a mask: a pixel that counts nowhere


@dataclass(frozen=True, kw_only=True)
class Masks(Data):
    """What every data set has whose images each have a mask; `size` is that of what a net sees.

    Training cuts windows of size x size out of the images, measuring takes them whole.
    """

    resize: int | None = key(
        "short side that images are resized to first; null: as they are", min=1
    )
    windows: int = key("that are cut out of each image in an epoch", min=1)

    @property
    def repeats(self) -> int:
        """How often training sees an image in an epoch, each time another part."""
        return self.windows


@dataclass(frozen=True, kw_only=True)
class FolderMasks(Masks):
    """Your own images and masks: root/images and root/masks, one file of each name in both."""

    root: str = key("folder with images/ and masks/, or with such a folder for each split")
    classes: tuple[str, ...] | None = key("names of the classes; null: as root/classes.txt says")
    values: tuple[int | str, ...] | None = key(
        "of each class in the masks: a number or #rrggbb; null: 0, 1, 2, …"
    )
    ignore: int | str | tuple[int | str, ...] | None = key(
        "of pixels that count nowhere, one or several; null: there are none"
    )
    test_fraction: float | None = key(
        "share of the images kept for the test where there is no test split", above=0, below=1
    )
    verify: bool = key("read every image and mask once before training")


@dataclass(frozen=True, kw_only=True)
class PublishedMasks(Masks):
    """A published data set with masks that torchvision knows how to read."""

    classes: int = key("how many classes it has", min=2)
    root: str = key("the folder that holds it, or that it is downloaded to")
    download: bool = key("download it if it is not there")
    test_fraction: float | None = key(
        "share of the images kept for the test where the set has no test split", above=0, below=1
    )
    verify: bool = key("read every image and mask once before training")


@dataclass(frozen=True, kw_only=True)
class Shapes(Masks):
    """Discs, squares and triangles on noise, with exact masks, made in memory."""

    images: int = key("how many", min=1)
    noise: float = key("deviation of the noise, of intensities in 0..1", min=0, max=1)
    test_fraction: float = key("share of the images kept for the test", above=0, below=1)


MASKS: dict[str, type[Masks]] = {
    "folder_masks": FolderMasks,
    **dict.fromkeys(("voc", "oxford_pets_masks", "cityscapes"), PublishedMasks),
    "shapes": Shapes,
}


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What training makes small; `own` is what the paper of the net says, and has no keys."""

    name: str = key("name of the loss")


@dataclass(frozen=True, kw_only=True)
class OfPixels(Loss):
    """The mean cross-entropy of the pixels."""

    weights: tuple[float, ...] | None = key("what a pixel of each class counts; null: 1", min=0)
    border: tuple[float, float] | None = key(
        "more weight between neighbours that nearly touch: how much, within how many pixels",
        above=0,
    )


@dataclass(frozen=True, kw_only=True)
class Dice(OfPixels):
    """1 − the Dice coefficient of probabilities and masks, the mean over the classes."""

    cross_entropy: float = key("how much of the cross-entropy is added", min=0)


@dataclass(frozen=True, kw_only=True)
class Focal(OfPixels):
    """Cross-entropy in which pixels that are nearly right count less."""

    gamma: float = key("how much less: (1 − p)^gamma", min=0)


LOSSES: dict[str, type[Loss]] = {
    "own": Loss, "cross_entropy": OfPixels, "dice": Dice, "focal": Focal,
}  # fmt: skip
