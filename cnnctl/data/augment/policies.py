"""Policies: which operations an image gets, and how strongly; torchvision's, on batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torchvision.transforms import v2

from cnnctl.data.augment.operations import NAMES, SIGNED, Step, apply
from cnnctl.data.draws import Draws


@dataclass(frozen=True)
class Space:
    """The operations to choose from, and their magnitudes from the weakest bin to the strongest."""

    bins: int
    shear: float  # pixels per pixel
    translate: float  # pixels, or share of the image
    rotate: float  # degrees
    enhance: float  # of brightness, colour, contrast, sharpness: factors 1 - this to 1 + this
    bits: tuple[int, int]  # that posterizing leaves
    names: tuple[str, ...] = NAMES[:-1]

    def magnitudes(self, height: int, width: int) -> Tensor:
        """Float64 (NAMES, bins), 0 where an operation has no magnitude."""
        far = (1, 1) if self.translate > 1 else (width, height)
        highest: Mapping[str, float] = {
            "ShearX": self.shear, "ShearY": self.shear, "Rotate": self.rotate,
            "TranslateX": self.translate * far[0], "TranslateY": self.translate * far[1],
            **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), self.enhance),
        }  # fmt: skip
        found = torch.stack([torch.linspace(0, highest.get(name, 0), self.bins) for name in NAMES])
        most, least = self.bits
        steps = torch.arange(self.bins) / ((self.bins - 1) / (most - least))
        found[NAMES.index("Posterize")] = (most - steps).round()
        found[NAMES.index("Solarize")] = torch.linspace(1, 0, self.bins)
        return found.double()

    def choose(self, draws: Tensor) -> Tensor:
        """The places in NAMES of operations chosen with equal chances, from draws in [0, 1)."""
        chosen = torch.tensor([NAMES.index(name) for name in self.names])
        return chosen[(draws * len(chosen)).long()]


def signed(which: Tensor, magnitudes: Tensor, draws: Tensor) -> Tensor:
    """Half of the magnitudes negated, of those operations that go two ways."""
    both = torch.tensor([name in SIGNED for name in NAMES])[which]
    return torch.where(both & (draws < 1 / 2), -magnitudes, magnitudes)


class Plan(Protocol):
    """What a policy has drawn for a batch."""

    def __call__(self, draws: Draws, height: int, width: int) -> list[Step]:
        """The operations of every image, in their order."""
        ...


class Policy:
    """Does what a plan says; pixels are sampled at the nearest place, black outside."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """uint8 (B, C, H, W) -> the same."""
        for step in self.plan(draws, *images.shape[-2:]):
            images = apply(images, step, "nearest")
        return images


class Trivial:
    """One operation of any strength: TrivialAugment Wide (Müller, Hutter 2021, table 1)."""

    space = Space(31, shear=0.99, translate=32, rotate=135, enhance=0.99, bits=(8, 2))

    def __call__(self, draws: Draws, height: int, width: int) -> list[Step]:
        """As `Plan` says."""
        name, strength, sign = draws.uniform("policy", 3).unbind(1)
        which = self.space.choose(name)
        bins = (strength * self.space.bins).long()
        found = self.space.magnitudes(height, width)[which, bins]
        return [Step(which, signed(which, found, sign))]


class RandAugment:
    """`ops` operations of strength `magnitude` out of 0..30 (Cubuk et al. 2020, section 3)."""

    space = Space(31, shear=0.3, translate=150 / 331, rotate=30, enhance=0.9, bits=(8, 4))

    def __init__(self, ops: int, magnitude: int) -> None:
        self.ops = ops
        self.magnitude = magnitude

    def __call__(self, draws: Draws, height: int, width: int) -> list[Step]:
        """As `Plan` says."""
        table = self.space.magnitudes(height, width)[:, self.magnitude]
        steps: list[Step] = []
        for draw in draws.uniform("policy", 2 * self.ops).view(-1, self.ops, 2).unbind(1):
            name, sign = draw.unbind(1)
            which = self.space.choose(name)
            steps.append(Step(which, signed(which, table[which], sign)))
        return steps


class AutoAugment:
    """One of 25 learned pairs of operations (Cubuk et al. 2019, tables 7 to 9).

    `learned_on` is imagenet, cifar10 or svhn. A pair is two times an operation, its
    probability and its strength out of 0..9.
    """

    space = Space(10, shear=0.3, translate=150 / 331, rotate=30, enhance=0.9, bits=(8, 4))

    def __init__(self, learned_on: str) -> None:
        pairs = v2.AutoAugment(v2.AutoAugmentPolicy(learned_on))._policies  # noqa: SLF001 - public nowhere
        flat = [
            (NAMES.index(name), chance, bins or 0) for pair in pairs for name, chance, bins in pair
        ]
        self.pairs = torch.tensor(flat, dtype=torch.float64).view(-1, 2, 3)

    def __call__(self, draws: Draws, height: int, width: int) -> list[Step]:
        """As `Plan` says."""
        uniform = draws.uniform("policy", 5)
        pairs = self.pairs[(uniform[:, 0] * len(self.pairs)).long()]
        table = self.space.magnitudes(height, width)
        steps: list[Step] = []
        for place in range(2):
            name, chance, bins = pairs[:, place].unbind(1)
            happens, sign = uniform[:, 1 + place], uniform[:, 3 + place]
            which = torch.where(happens < chance, name, NAMES.index("Identity")).long()
            steps.append(Step(which, signed(which, table[which, bins.long()], sign)))
        return steps
