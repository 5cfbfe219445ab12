"""AugMix: an image mixed with what three chains of operations make of it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cnnctl.data.augment.operations import NAMES, Step, apply
from cnnctl.data.augment.policies import Space, signed
from cnnctl.data.draws import Draws

WIDTH, DEPTH = 3, 3  # chains, and operations in the longest of them
SEVERITY = 3  # the weakest three of the ten bins


class Mixture(NamedTuple):
    """Weights of the image and of its chains, float32 (B, 1 + WIDTH), and the chains' steps."""

    weights: Tensor
    chains: list[list[Step]]


class AugMix:
    """The algorithm of Hendrycks et al. 2020, section 3, with torchvision's defaults."""

    space = Space(
        10, shear=0.3, translate=1 / 3, rotate=30, enhance=0.9, bits=(4, 0), names=NAMES[1:-1]
    )

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """uint8 (B, C, H, W) -> the same."""
        weights, chains = self.plan(draws, *images.shape[-2:])
        weights = weights.to(images.device)[..., None, None, None]
        mixed = weights[:, 0] * images
        for place, chain in enumerate(chains, 1):
            changed = images
            for step in chain:
                changed = apply(changed, step, "bilinear")
            mixed += weights[:, place] * changed
        return mixed.to(torch.uint8)

    def plan(self, draws: Draws, height: int, width: int) -> Mixture:
        """What is drawn for a batch; a chain has 1 to 3 operations with equal chances."""
        table = self.space.magnitudes(height, width)
        uniform = draws.uniform("augmix", WIDTH * (1 + 3 * DEPTH))
        chains: list[list[Step]] = []
        for chain in uniform.view(-1, WIDTH, 1 + 3 * DEPTH).unbind(1):
            length = 1 + (chain[:, 0] * DEPTH).long()
            steps: list[Step] = []
            for place, step in enumerate(chain[:, 1:].view(-1, DEPTH, 3).unbind(1)):
                name, strength, sign = step.unbind(1)
                which = self.space.choose(name).where(place < length, torch.tensor(0))
                found = table[which, (strength * SEVERITY).long()]
                steps.append(Step(which, signed(which, found, sign)))
            chains.append(steps)
        return Mixture(_weights(draws), chains)


def _weights(draws: Draws) -> Tensor:
    """Share of the image ~ Beta(1, 1), the rest shared by Dirichlet(1, 1, 1): exponential draws."""
    parts = -(1 - draws.uniform("augmix_weights", 2 + WIDTH)).log()
    image, chains = parts[:, :2], parts[:, 2:]
    image = (image / image.sum(1, keepdim=True)).float()
    chains = (chains / chains.sum(1, keepdim=True)).float()
    return torch.cat((image[:, :1], chains * image[:, 1:]), 1)
