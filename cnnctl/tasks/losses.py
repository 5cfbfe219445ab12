"""Losses of pixels, besides the plain cross-entropy that every net for masks has.

Each takes logits (B, classes, H, W) and masks uint8 (B, planes, H, W): the class of each pixel or
IGNORE, then with `border` a plane of border weights in 255ths (data/borders.py). All is computed
in float32 at least; what is ignored has no gradient, and of ignored pixels alone the loss is 0.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from cnnctl.config.masks import IGNORE, Dice, Focal, Loss, OfPixels
from cnnctl.nets.segmenter import Criterion, Segmenter

WHOLE = 255  # of a border weight: e^0


def build(loss: Loss, net: Segmenter) -> Criterion | None:
    """What training makes small; None for what the net has itself.

    The weights of classes and the smoothing of labels are those that `net` has when it is asked.
    """
    if isinstance(loss, Dice):
        return Overlapping(loss, net)
    if isinstance(loss, Focal):
        return Focused(loss, net)
    if isinstance(loss, OfPixels) and loss.border is not None:
        return Bordered(loss, net)
    return None


class Bordered:
    """Cross-entropy in which pixels between neighbours count more.

    A pixel of class c counts w_c + w0·b, b from its border plane (Ronneberger et al. 2015,
    equations 1 and 2). The sum is divided by that of the w_c: without a border it is the mean
    of the pixels.
    """

    def __init__(self, loss: OfPixels, net: Segmenter) -> None:
        self.net = net
        self.border = None if loss.border is None else loss.border[0]

    def __call__(self, logits: Tensor, masks: Tensor) -> Tensor:
        """As the module says."""
        logits, wanted = whole(logits), masks[:, 0].long()
        weights, total = weighed(self.net, logits, wanted)
        losses = self.each(logits, wanted, weights)
        if self.border is not None:
            plain = losses if weights is None else self.each(logits, wanted, None)
            losses = losses + self.border / WHOLE * masks[:, 1] * plain
        return losses.sum() / total

    def each(self, logits: Tensor, wanted: Tensor, weights: Tensor | None) -> Tensor:
        """Of every pixel, (B, H, W); 0 where it is ignored."""
        smooth = self.net.label_smoothing
        return cross_entropy(
            logits, wanted, weights, ignore_index=IGNORE, reduction="none", label_smoothing=smooth
        )


class Focused(Bordered):
    """Cross-entropy times (1 − p)^gamma, p being the probability of the right class.

    Lin et al. 2017, equations 4 and 5: the weights of classes are its alpha. The sum is
    divided as that of `Bordered`, not by the share of what is hard.
    """

    def __init__(self, loss: Focal, net: Segmenter) -> None:
        super().__init__(loss, net)
        self.gamma = loss.gamma

    def each(self, logits: Tensor, wanted: Tensor, weights: Tensor | None) -> Tensor:
        """Of every pixel, (B, H, W); 0 where it is ignored."""
        losses = cross_entropy(logits, wanted, ignore_index=IGNORE, reduction="none")
        missing = -torch.expm1(-losses)  # 1 − p, also where p rounds to 1
        if self.gamma < 1:  # its derivative has no end at 0
            missing = missing.clamp(min=torch.finfo(losses.dtype).eps)
        losses = missing**self.gamma * losses
        return losses if weights is None else losses * _of_pixels(weights, wanted)


class Overlapping:
    """1 − the mean Dice coefficient of the classes, and `cross_entropy` times the cross-entropy.

    Of class c, from its probabilities p and its mask g over all pixels of the batch that count,
    2 Σ p·g / (Σ p² + Σ g²) (Milletari et al. 2016, section 3); the mean over the classes that the
    masks have. It belongs to the batch: made in several pieces it is another.
    """

    def __init__(self, loss: Dice, net: Segmenter) -> None:
        self.share = loss.cross_entropy
        self.pixels = Bordered(loss, net)

    def __call__(self, logits: Tensor, masks: Tensor) -> Tensor:
        """As the module says."""
        found = self.dice(whole(logits), masks[:, 0].long())
        return found + self.share * self.pixels(logits, masks) if self.share else found

    def dice(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The first part."""
        chances = torch.where((wanted != IGNORE)[:, None], logits.softmax(1), 0.0)
        classes = torch.arange(logits.shape[1], device=logits.device)
        masks = wanted[:, None] == classes[:, None, None]
        sizes = masks.sum((0, 2, 3))
        both = (chances * masks).sum((0, 2, 3))
        lost = 1 - 2 * both / ((chances**2).sum((0, 2, 3)) + sizes).clamp(min=1)
        there = sizes > 0
        return torch.where(there, lost, 0.0).sum() / there.sum().clamp(min=1)


def whole(logits: Tensor) -> Tensor:
    """In float32, or more."""
    return logits if logits.dtype == torch.float64 else logits.float()


def weighed(net: Segmenter, logits: Tensor, wanted: Tensor) -> tuple[Tensor | None, Tensor]:
    """The weights of the classes, and what all pixels that count weigh; if nothing, how many."""
    counted = (wanted != IGNORE).sum().clamp(min=1)
    if net.class_weights is None:
        return None, counted
    weights = net.class_weights.to(logits.dtype)
    total = _of_pixels(weights, wanted).sum()
    return weights, torch.where(total > 0, total, counted)


def _of_pixels(weights: Tensor, wanted: Tensor) -> Tensor:
    """What each pixel (B, H, W) weighs."""
    counts = wanted != IGNORE
    return torch.where(counts, weights[wanted.where(counts, 0)], 0)
