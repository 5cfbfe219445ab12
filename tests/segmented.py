"""Masks, a net that gives some, and their figures by the definitions."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor, nn

from cnnctl.config.masks import IGNORE
from cnnctl.nets.segmenter import Segmenter


def masks(shape: tuple[int, ...], classes: int, seed: int, ignored: float = 0.0) -> Tensor:
    """Bytes; of an image or several, the classes drawn with unequal chances."""
    random = np.random.default_rng(seed)
    chances = random.dirichlet(np.ones(classes))
    found = random.choice(classes, shape, p=chances).astype(np.uint8)
    found[random.random(shape) < ignored] = IGNORE
    return torch.from_numpy(found)


def by_hand(predicted: Tensor, wanted: Tensor, classes: int) -> dict[str, float]:
    """Sets of pixels, class by class, as the definitions have it."""
    counts = (wanted != IGNORE).numpy()
    guess, truth = predicted.numpy()[counts], wanted.numpy()[counts]
    ious, dices = [], []
    for one in range(classes):
        mask, found = truth == one, guess == one
        if mask.any() or found.any():
            ious.append((mask & found).sum() / (mask | found).sum())
            dices.append(2 * (mask & found).sum() / (mask.sum() + found.sum()))
    right = float((guess == truth).mean())
    return {"miou": float(np.mean(ious)), "dice": float(np.mean(dices)), "pixel_accuracy": right}


def net(classes: int = 3) -> Segmenter:
    """As quick as a net for masks can be; it gives another answer for the mirror image."""
    torch.manual_seed(0)
    return Segmenter(OrderedDict(final=nn.Conv2d(1, classes, 3, padding=1)), "torch").eval()
