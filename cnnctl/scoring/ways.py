"""Which parts of an image a net is shown, and how what it says of them becomes one answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from cnnctl.config.images import Data
from cnnctl.config.schema import Train
from cnnctl.config.verbs import Crops, Evaluate
from cnnctl.data.reading import View, Whole
from cnnctl.scoring.dense import Dense
from cnnctl.scoring.looking import Looks
from cnnctl.scoring.scorer import TINY, Scorer

TEN = 10
BEFORE, AFTER = 256, 224  # of the short side and the crop of AlexNet's paper


@dataclass(frozen=True)
class Way:
    """How a net looks at an image.

    center: the centre alone, and with `flip` also its mirror image: the mean of the logits, as
    `trainer.test_flip` takes it.

    ten: with the short side at each of `scales`, the four corners and the centre, and the mirror
    images of these five: the mean of the probabilities (Krizhevsky et al. 2012, section 4.1). One
    scale unless told: the paper's 256 for crops of 224, as much larger for others.

    dense: the net slides over the whole image with the short side at each of `scales`, by default
    its own size. The class scores are averaged over the places, the probabilities over the scales
    and, with `flip`, over the mirror images (Simonyan, Zisserman 2015, sections 3.2 and 4.2).
    """

    crops: Crops = "center"
    scales: tuple[int, ...] = ()
    flip: bool = False

    @property
    def plain(self) -> bool:
        """Whether the net's own loss is that of its answer."""
        return self.crops == "center"

    def view(self, size: int) -> View:
        """What is read of an image for a net of `size` pixels, where that is the centre alone."""
        return Whole(size)

    def sides(self, size: int) -> tuple[int, ...]:
        """The short sides that images are resized to for a net of `size` pixels."""
        if self.scales:
            return self.scales
        return (round(size * BEFORE / AFTER),) if self.crops == "ten" else (size,)

    def look(self, image: Tensor, size: int) -> Looks:
        """uint8 (C, H, W) of any size -> what a net of `size` pixels is shown of it."""
        whole = [functional.resize(image, [side], antialias=True) for side in self.sides(size)]
        if self.crops == "dense":
            return whole
        five = [crop for one in whole for crop in functional.five_crop(one, [size, size])]
        return [*five, *(crop.flip(-1) for crop in five)]

    def some(self, data: Data) -> int:
        """Images whose looks have as many pixels as a batch of training."""
        sides = self.sides(data.size)
        looks = sum((side / data.size) ** 2 for side in sides)
        if self.crops == "ten":
            looks = TEN * len(sides)
        return max(1, int(data.batch_size / looks))

    def prepare(self, scorer: Scorer, data: Data) -> Scorer:
        """What is asked about the looks. Raises what `Dense` raises."""
        if self.crops != "dense":
            return scorer
        shape = (data.channels, data.size, data.size)
        return Dense(scorer, shape, min(self.sides(data.size)))

    def __call__(self, scorer: Scorer, shown: Tensor | Sequence[Looks]) -> Tensor:
        """Uint8 images as `view` gives them, or looks -> logits, float32 (B, classes).

        Of looks, they are logarithms of probabilities, which softmax turns into these again.
        """
        if not isinstance(shown, Tensor):
            return self._together(scorer, shown).clamp(min=TINY).log()
        if self.flip:
            return (scorer(shown) + scorer(shown.flip(-1))) / 2
        return scorer(shown)

    def _together(self, scorer: Scorer, shown: Sequence[Looks]) -> Tensor:
        """The mean probabilities of all looks at each image; those of one shape are asked at once.

        Summed in float64: what is left after rounding does not depend on the order.
        """
        shapes: dict[torch.Size, tuple[list[int], Looks]] = {}
        for number, looks in enumerate(shown):
            for look in looks:
                numbers, alike = shapes.setdefault(look.shape, ([], []))
                numbers.append(number)
                alike.append(look)
        total = torch.zeros(len(shown), len(scorer.classes), dtype=torch.float64)
        for numbers, alike in shapes.values():
            images, rows = torch.stack(alike), torch.tensor(numbers)
            mirrored = self.flip and self.crops == "dense"  # the ten have their mirror images
            sides = (images, images.flip(-1)) if mirrored else (images,)
            for side in sides:
                total.index_add_(0, rows, scorer(side).double().softmax(1))
        return (total / total.sum(1, keepdim=True)).float()


def chosen(typed: Evaluate, train: Train) -> Way:
    """What the keys say, with its scales; the ten crops have their mirror images anyway."""
    flip = train.trainer.test_flip if typed.flip is None else typed.flip
    way = Way(typed.crops, typed.scales or (), flip and typed.crops != "ten")
    return way if way.plain else replace(way, scales=way.sides(train.data.size))
