"""How good a net is at masks: overlaps of all pixels and of each class, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from cnnctl.scoring import intervals
from cnnctl.scoring.figures import confused
from cnnctl.scoring.intervals import Interval
from cnnctl.scoring.masks import MaskScores
from cnnctl.tasks.segment import overlaps

SHARES = (
    "miou", "dice", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "boundary_f1",
)  # fmt: skip
NAMES = (*SHARES, "loss")
Drawn = tuple[tuple[np.ndarray, np.ndarray, np.ndarray], float, float]


def figures(found: MaskScores, seed: int) -> dict[str, Any]:
    """Keys `n, metrics, intervals, per_class, confusion, confused` of the JSON contract.

    The confusion matrix counts pixels, (mask, prediction). Resamples are drawn with `seed`.
    """
    counts, measured = found.counts.sum(0, dtype=np.int64), metrics(found)
    several = drawn(found)

    def statistic(weights: np.ndarray) -> np.ndarray:
        sides, edge, _ = several(weights)
        return np.concatenate([[*whole(*sides), edge], _iou(*sides)])

    shares = intervals.bootstrap(statistic, len(found), seed, (0.0, 1.0))
    loss = intervals.bootstrap(lambda weights: np.array([several(weights)[2]]), len(found), seed)
    ends = dict(zip(NAMES, (*shares[: len(SHARES)], *loss), strict=True))
    return {
        "n": len(found),
        "metrics": measured,
        "intervals": {name: None if measured[name] is None else ends[name] for name in NAMES},
        "per_class": by_class(found, shares[len(SHARES) :]),
        "confusion": counts.tolist(),
        "confused": confused(torch.from_numpy(counts), found.classes),
    }


def metrics(found: MaskScores) -> dict[str, float | None]:
    """The figures of NAMES, of all pixels of all images that count.

    miou, dice and pixel_accuracy are those of training (`overlaps`). mean_accuracy is the mean
    recall of the classes that the masks have, frequency_weighted_iou that of IoU by their pixels
    (Long et al. 2015, section 5). boundary_f1 is the mean over the images of the mean over the
    classes with an outline, null if there is none. loss is the mean cross-entropy of a pixel,
    null where it has no end.
    """
    counts = torch.from_numpy(found.counts.sum(0, dtype=np.int64)).double()
    sides, edge, loss = drawn(found)(np.ones(len(found)))
    _, _, _, accuracy, frequency = np.nan_to_num(whole(*sides)).tolist()
    return {
        **overlaps(counts),
        "mean_accuracy": accuracy,
        "frequency_weighted_iou": frequency,
        "boundary_f1": edge if np.isfinite(found.boundary).any() else None,
        "loss": float(np.nan_to_num(loss)) if np.isfinite(found.losses).all() else None,
    }


def whole(
    hits: np.ndarray, masks: np.ndarray, taken: np.ndarray
) -> tuple[float, float, float, float, float]:
    """The first five figures, from pixels (classes,): right, of the masks, of the net; or NaN.

    Hits may be weighted, as those of images that are drawn several times.
    """
    there, known, total = masks + taken > 0, masks > 0, masks.sum()
    if not total:
        return math.nan, math.nan, math.nan, math.nan, math.nan
    iou = np.nan_to_num(_iou(hits, masks, taken))
    dice = 2 * hits[there] / (masks + taken)[there]
    recall = hits[known] / masks[known]
    return (
        float(iou[there].mean()), float(dice.mean()), float(hits.sum() / total),
        float(recall.mean()), float(masks @ iou / total),
    )  # fmt: skip


def by_class(found: MaskScores, ends: list[Interval | None]) -> list[dict[str, Any]]:
    """Pixels of the masks and overlaps of each class; null for 0 / 0.

    `ends` are intervals of the IoU. boundary_f1 is the mean over the images in which the class
    has an outline.
    """

    def share(part: int, of: int) -> float | None:
        return part / of if of else None

    hits, masks, taken = (side.sum(0).tolist() for side in _sides(found))
    edges = [row[np.isfinite(row)] for row in found.boundary.T]
    rows = zip(found.classes, hits, masks, taken, edges, ends, strict=True)
    return [
        {
            "class": name, "pixels": mask, "iou": share(hit, mask + took - hit),
            "iou_interval": end if mask + took else None,
            "dice": share(2 * hit, mask + took), "precision": share(hit, took),
            "recall": share(hit, mask), "boundary_f1": float(edge.mean()) if len(edge) else None,
        }
        for name, hit, mask, took, edge, end in rows
    ]  # fmt: skip


def by_image(found: MaskScores) -> dict[str, np.ndarray]:
    """Of each image alone, (N,): pixels that count, overlaps, boundary F1 and mean loss; or NaN."""
    pixels = found.counts.sum((1, 2), dtype=np.int64)
    rows = [whole(*sides) for sides in zip(*_sides(found), strict=True)]
    shares = np.array(rows).reshape(-1, 5).T
    loss = np.divide(found.losses, pixels, out=np.full(len(found), np.nan), where=pixels > 0)
    return {
        "pixels": pixels, "miou": shares[0], "dice": shares[1], "pixel_accuracy": shares[2],
        "boundary_f1": edges(found), "loss": loss,
    }  # fmt: skip


def edges(found: MaskScores) -> np.ndarray:
    """Boundary F1 of each image, the mean over its classes, (N,); NaN without an outline."""
    known = np.isfinite(found.boundary)
    total = np.where(known, found.boundary, 0).sum(1)
    return np.divide(total, known.sum(1), out=np.full(len(found), np.nan), where=known.any(1))


def drawn(found: MaskScores) -> Callable[[np.ndarray], Drawn]:
    """Of images that are drawn so often (N,): pixels as `whole` takes them, boundary F1, loss.

    The last two are NaN where no image that is drawn has them.
    """
    sides, edge = [side.astype(np.float64) for side in _sides(found)], edges(found)
    known = np.isfinite(edge).astype(np.float64)
    losses = np.where(np.isfinite(found.losses), found.losses, 0)
    edge, pixels = np.where(known, edge, 0), found.counts.sum((1, 2), dtype=np.float64)

    def of(weights: np.ndarray) -> Drawn:
        outlined, counted = weights @ known, weights @ pixels
        loss = weights @ losses / counted if counted else math.nan
        score = weights @ edge / outlined if outlined else math.nan
        hits, masks, taken = (weights @ side for side in sides)
        return (hits, masks, taken), float(score), float(loss)

    return of


def _sides(found: MaskScores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of each class (N, classes): right, of the masks, of the net."""
    counts = found.counts
    return (
        counts.diagonal(axis1=1, axis2=2).astype(np.int64),
        counts.sum(2, dtype=np.int64), counts.sum(1, dtype=np.int64),
    )  # fmt: skip


def _iou(hits: np.ndarray, masks: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Of each class; NaN of none."""
    union = masks + taken - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)
