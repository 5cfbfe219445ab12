"""Random changes of whole batches, on the device: every image by its own draws."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from cnnctl.config.schema import Augment
from cnnctl.data.augment import geometry, mixing, policies
from cnnctl.data.augment.augmix import AugMix
from cnnctl.data.augment.erasing import Erase
from cnnctl.data.augment.pca import PcaColour
from cnnctl.data.draws import Draws

Change = Callable[[Tensor, Draws], Tensor]  # images (B, C, H, W) -> the same shape and type
Mix = Callable[[Tensor, Tensor, Draws], tuple[Tensor, Tensor]]  # images and labels -> both


def of_bytes(augment: Augment) -> list[Change]:
    """What is done to uint8 images, in this order."""
    chosen: list[Change] = []
    if augment.shift or augment.flip:
        chosen.append(
            geometry.ShiftFlip(augment.shift, augment.flip, by_turns=augment.flip_alternates)
        )
    if augment.rotate:
        chosen.append(geometry.Rotate(augment.rotate))
    if augment.elastic:
        chosen.append(geometry.Elastic(*augment.elastic))
    if augment.deform:
        chosen.append(geometry.Deform(*augment.deform))
    if augment.policy:
        chosen.append(_policy(augment))
    return chosen


def of_intensities(augment: Augment) -> list[Change]:
    """What is done to float32 images in 0..255."""
    return [PcaColour(augment.colour)] if augment.colour else []


def of_normalised(augment: Augment) -> list[Change]:
    """What is done to images whose mean is 0."""
    return [Erase(augment.erase)] if augment.erase else []


def of_batches(augment: Augment, classes: int) -> Mix | None:
    """What mixes the images of a batch, and their labels, last of all."""
    chosen: list[Mix] = []
    if augment.mixup:
        chosen.append(mixing.MixUp(augment.mixup, classes))
    if augment.cutmix:
        chosen.append(mixing.CutMix(augment.cutmix, classes))
    return mixing.Either(chosen) if chosen else None


def _policy(augment: Augment) -> Change:
    name = augment.policy
    if name == "augmix":
        return AugMix()
    if name == "trivial":
        return policies.Policy(policies.Trivial())
    if name == "randaugment":
        ops, magnitude = augment.ops, augment.magnitude
        assert ops is not None
        assert magnitude is not None
        return policies.Policy(policies.RandAugment(ops, magnitude))
    assert name is not None
    return policies.Policy(policies.AutoAugment(name.removeprefix("autoaugment_")))
