"""Two images in one, and labels that say how much there is of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn.functional import one_hot

from cnnctl.data.draws import Draws

Box = tuple[int, int, int, int]


class MixUp:
    """Every image blended with the one before it: mixup (Zhang et al. 2018, section 2).

    As torchvision's MixUp: one share ~ Beta(alpha, alpha) for the whole batch.
    """

    def __init__(self, alpha: float, classes: int) -> None:
        self.alpha = alpha
        self.classes = classes

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Float32 (B, C, H, W), int64 (B,) -> the same, float32 (B, classes)."""
        share = self.parameters(draws)
        mixed = images.roll(1, 0).mul_(1 - share).add_(images.mul(share))
        return mixed, soft(labels, share, self.classes)

    def parameters(self, draws: Draws) -> float:
        """The share of an image's own pixels."""
        return float(draws.batch("mixup").beta(self.alpha, self.alpha))


class CutMix:
    """A rectangle of every image replaced by that of the one before it.

    Yun et al. 2019, section 3. As torchvision's CutMix: one rectangle for the whole batch, of
    area 1 - Beta(alpha, alpha) about a random place, cut off at the edges of the image.
    """

    def __init__(self, alpha: float, classes: int) -> None:
        self.alpha = alpha
        self.classes = classes

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Float32 (B, C, H, W), int64 (B,) -> the same, float32 (B, classes)."""
        height, width = images.shape[-2:]
        left, top, right, bottom = self.parameters(draws, height, width)
        mixed, other = images.clone(), images.roll(1, 0)
        mixed[..., top:bottom, left:right] = other[..., top:bottom, left:right]
        share = 1 - (right - left) * (bottom - top) / (width * height)
        return mixed, soft(labels, share, self.classes)

    def parameters(self, draws: Draws, height: int, width: int) -> Box:
        """Left, top, right and bottom of the rectangle."""
        numbers = draws.batch("cutmix")
        side = 0.5 * math.sqrt(1 - numbers.beta(self.alpha, self.alpha))
        x, y = int(numbers.integers(width)), int(numbers.integers(height))
        wide, tall = int(side * width), int(side * height)
        return max(x - wide, 0), max(y - tall, 0), min(x + wide, width), min(y + tall, height)


class Either:
    """One of several ways to mix, with equal chances for each batch."""

    def __init__(self, ways: Sequence[Callable[..., tuple[Tensor, Tensor]]]) -> None:
        self.ways = ways

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """As the way that is drawn."""
        way = self.ways[int(draws.batch("mix").integers(len(self.ways)))]
        return way(images, labels, draws)


def soft(labels: Tensor, share: float, classes: int) -> Tensor:
    """Labels (B,) -> float32 (B, classes): `share` of the own class, the rest of the other's."""
    rows = one_hot(labels, classes).float()
    return rows.roll(1, 0).mul_(1 - share).add_(rows.mul(share))
