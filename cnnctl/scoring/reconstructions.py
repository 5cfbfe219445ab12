"""What nets make anew of every image of a split, and how far that is from it."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnctl.config.schema import Train
from cnnctl.data.module import DataModule
from cnnctl.data.source import Source
from cnnctl.errors import CnnctlError
from cnnctl.scoring import intervals
from cnnctl.scoring.scorer import Scorer
from cnnctl.scoring.scores import Tell
from cnnctl.tasks.reconstruct import likeness, parts

WHITE = 255


@dataclass(frozen=True)
class Asker:
    """A net that is asked, and its configuration; with `flip` also about the mirror image."""

    scorer: Scorer
    train: Train
    flip: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """As `asked`. Raises CnnctlError for what is not finite."""
        made = self.asked(images)
        if not made.isfinite().all():
            broken = int((~made.isfinite()).flatten(1).any(1).sum())
            text = f"what the net makes of {broken} of {len(images)} images is not finite"
            raise CnnctlError(text, "its weights are broken, or hardware.precision is too low")
        return made

    def asked(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> intensities (B, C, H, W), most of them in 0..1."""
        made = self.scorer(images)
        if self.flip:
            made = (made + self.scorer(images.flip(3)).flip(3)) / 2
        mean, std = (torch.tensor(one).view(-1, 1, 1) for one in self.normalised)
        return made * std + mean

    @property
    def normalised(self) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and deviation of the images that it sees."""
        return self.train.data.mean, self.train.data.std


@dataclass(frozen=True)
class Reconstructions:
    """What became of every image of a split, in its order.

    `sums` float64 (N, 3 + C) are `tasks.reconstruct.parts` of intensities, `losses` float64 (N,)
    the mean squared errors of images as the net sees them. `worst` are the images with the largest
    squared errors, as their places and uint8 (C, H, W): as they are, and as they were made.
    """

    names: tuple[str, ...]
    sums: np.ndarray
    losses: np.ndarray
    worst: list[tuple[int, np.ndarray, np.ndarray]]
    seconds: float

    def __len__(self) -> int:
        return len(self.names)


@dataclass
class _Kept:
    """Reconstructions in the making."""

    std: Sequence[float]
    most: int
    sums: list[Tensor] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    heap: list[tuple[float, int, np.ndarray, np.ndarray]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, places: np.ndarray, images: Tensor, true: Tensor, made: Tensor) -> None:
        rows = parts(made, true, torch.ones(len(self.std))).double()
        losses = parts(made, true, 1 / torch.tensor(self.std))[:, 0].double() / true[0].numel()
        self.sums.append(rows)
        self.losses.append(losses)
        for row in rows[:, 0].argsort(descending=True)[: self.most].tolist():
            one = (float(rows[row, 0]), -int(places[row]))
            if len(self.heap) < self.most or one > self.heap[0][:2]:
                pictures = (images[row].numpy(), pixels(made[row]).numpy())
                push = heapq.heappush if len(self.heap) < self.most else heapq.heapreplace
                push(self.heap, (*one, *pictures))

    def done(self, names: tuple[str, ...]) -> Reconstructions:
        worst = [(-place, true, made) for _, place, true, made in sorted(self.heap, reverse=True)]
        sums, losses = torch.cat(self.sums).numpy(), torch.cat(self.losses).numpy()
        return Reconstructions(names, sums, losses, worst, self.seconds)


def pixels(intensities: Tensor) -> Tensor:
    """Intensities as uint8; what is beyond black and white is cut off."""
    return (intensities * WHITE).round().clamp(0, WHITE).to(torch.uint8)


def measure(
    askers: Sequence[Asker], source: Source, split: str, most: int, tell: Tell
) -> list[Reconstructions]:
    """Those of each net, and of several also, last, those of the mean of what they make.

    Images are read once, as the first net sees them; `most` of the worst are kept of each.
    """
    train = askers[0].train
    many = len(askers) > 1
    kept = [_Kept(one.normalised[1], most) for one in (*askers, *askers[: int(many)])]
    images = source.splits[split]
    for places, shown in _read(source, split, train):
        true, total = shown.float() / WHITE, torch.zeros(shown.shape)
        for asker, own in zip(askers, kept, strict=False):
            began = time.perf_counter()
            made = asker(shown)
            own.seconds += time.perf_counter() - began
            own.add(places, shown, true, made)
            total += made / len(askers)
        if many:
            kept[-1].add(places, shown, true, total)
        tell("measuring", int(places[-1]) + 1, len(images.labels))
    if many:
        kept[-1].seconds = sum(one.seconds for one in kept[:-1])
    names = tuple(images.name(place) for place in range(len(images.labels)))
    return [one.done(names) for one in kept]


def metrics(sums: np.ndarray, losses: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """The figures of images that count by `weights` (N,): explained, psnr, mse and loss."""
    found = likeness((weights @ sums).tolist())
    loss = float(weights @ losses / weights.sum())
    return {name: found[name] for name in ("explained", "psnr", "mse")} | {"loss": loss}


def figures(found: Reconstructions, seed: int) -> dict[str, Any]:
    """Keys `n, metrics, intervals` of the JSON contract; resamples are drawn with `seed`."""

    def statistic(weights: np.ndarray) -> np.ndarray:
        return np.array(list(metrics(found.sums, found.losses, weights).values()))

    measured = metrics(found.sums, found.losses, np.ones(len(found)))
    ends = intervals.bootstrap(statistic, len(found), seed)
    return {
        "n": len(found),
        "metrics": measured,
        "intervals": dict(zip(measured, ends, strict=True)),
    }


def compare(first: Reconstructions, second: Reconstructions, seed: int) -> dict[str, Any]:
    """The differences, second minus first, on the same images.

    `better` is 0 or 1 where the interval of the difference in `explained` leaves out 0, else null.
    """

    def statistic(weights: np.ndarray) -> np.ndarray:
        one, other = (metrics(found.sums, found.losses, weights) for found in (first, second))
        return np.array([other[name] - one[name] for name in NAMES])

    differences = statistic(np.ones(len(first))).tolist()
    ends = intervals.bootstrap(statistic, len(first), seed)
    told = {
        name: {"difference": difference, "interval": end}
        for name, difference, end in zip(NAMES, differences, ends, strict=True)
    }
    end, errors = told["explained"]["interval"], (first.sums[:, 0], second.sums[:, 0])
    sure = end is not None and (end[0] > 0 or end[1] < 0)
    return {
        **told,
        "first_closer": int((errors[0] < errors[1]).sum()),
        "second_closer": int((errors[1] < errors[0]).sum()),
        "better": int(differences[0] > 0) if sure else None,
    }


NAMES = ("explained", "psnr", "mse")


def _read(source: Source, split: str, train: Train) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Numbers of images and their pixels, batch by batch."""
    for several in DataModule(source, train).evaluation(split):
        for batch in several:
            yield batch.ticket.samples, batch.images
