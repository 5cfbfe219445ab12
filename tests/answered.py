"""What a net might say of images: scores that tests measure."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from cnnctl.scoring import predictions
from cnnctl.scoring.predictions import Predictions
from cnnctl.scoring.scores import Scores


def scored(
    logits: Tensor, labels: Tensor, *, classes: str | None = None, loss: float | None = None
) -> Scores:
    """The scores of a net with cross-entropy, unless another loss is given."""
    names = tuple(classes or [f"class {number}" for number in range(logits.shape[1])])
    files = tuple(f"{number}.png" for number in range(len(labels)))
    if loss is None:
        loss = float(cross_entropy(logits.double(), labels))
    return Scores(names, files, labels, logits, loss, 0.5)


def guessed(images: int, classes: int, seed: int = 0, skill: float = 2.0) -> Scores:
    """Random logits in which the right class is ahead by `skill` on average."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (images,), generator=generator)
    logits = torch.randn(images, classes, generator=generator)
    logits[torch.arange(images), labels] += skill
    return scored(logits, labels)


def answers(hits: list[int], classes: int = 2, sure: float = 3.0) -> Predictions:
    """Right where `hits` is 1; every image is of class 0."""
    labels = torch.zeros(len(hits), dtype=torch.int64)
    logits = torch.zeros(len(hits), classes)
    logits[torch.arange(len(hits)), 1 - torch.tensor(hits)] = sure
    return predictions.of(scored(logits, labels))
