"""What a net says of each image, and the file that keeps it."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from cnnctl.data.pictures import shown
from cnnctl.errors import CnnctlError, UsageError
from cnnctl.scoring.scores import Scores
from cnnctl.tasks.tally import TOP

COLUMNS = ("file", "label", "prediction", "probability", "margin")
DIGITS = 7  # of float32
NEAR = 1e-3  # two means of the same losses, one of them in half precision


@dataclass(frozen=True)
class Predictions:
    """The answers to all images of a split, in its order.

    `predicted` int64 (N,), `right` and `among_top5` bool (N,), the latter None with five classes
    or fewer; `probability` and `margin` float32 (N,): of the predicted class, and how far it is
    ahead of the second. `losses` float64 (N,) is None where the net's loss is not cross-entropy,
    or not known.
    """

    scores: Scores
    predicted: Tensor
    right: Tensor
    among_top5: Tensor | None
    probability: Tensor
    margin: Tensor
    losses: Tensor | None

    def __len__(self) -> int:
        return len(self.scores)


def of(scores: Scores) -> Predictions:
    """The answers in `scores`. Raises CnnctlError if some of them are no numbers."""
    broken = int((~torch.isfinite(scores.logits)).any(1).sum())
    if broken:
        text = f"the net gives no numbers for {broken} of {len(scores)} images"
        raise CnnctlError(text, "its weights are broken, or hardware.precision is too low")
    predicted = scores.logits.argmax(1)
    two = scores.probabilities.topk(min(2, len(scores.classes))).values
    return Predictions(
        scores, predicted, predicted == scores.labels,
        _place(scores) < TOP if len(scores.classes) > TOP else None,
        two[:, 0], two[:, 0] - two[:, 1] if two.shape[1] > 1 else two[:, 0],
        _losses(scores),
    )  # fmt: skip


def _place(scores: Scores) -> Tensor:
    """How many classes are named before the right one, int64 (N,): of equals the first comes first.

    So does argmax, but not topk; in few bits equal logits are usual.
    """
    own = scores.logits.gather(1, scores.labels[:, None])
    before = torch.arange(len(scores.classes)) < scores.labels[:, None]
    return ((scores.logits > own) | ((scores.logits == own) & before)).sum(1)


def mistakes(found: Predictions, most: int) -> list[int]:
    """The images of which the net is most sure that they are something else, at most so many."""
    wrong = (~found.right).nonzero()[:, 0]
    order = found.probability[wrong].argsort(descending=True, stable=True)
    return wrong[order[:most]].tolist()


def rows(found: Predictions) -> Iterator[tuple[str, str, str, float, float]]:
    """The values of COLUMNS for every image; classes by name."""
    scores, names = found.scores, found.scores.classes
    values = zip(
        scores.names, scores.labels.tolist(), found.predicted.tolist(),
        found.probability.tolist(), found.margin.tolist(), strict=True,
    )  # fmt: skip
    for file, label, predicted, probability, margin in values:
        yield file, names[label], names[predicted], probability, margin


def check(kind: str) -> None:
    """Raise UsageError if files of this kind cannot be written here."""
    if kind == "parquet":
        pyarrow()


def write(found: Predictions, file: Path) -> None:
    """Keep them as .csv or .parquet, one row per image."""
    if file.suffix == ".parquet":
        pa, parquet = pyarrow()
        columns = zip(*([_text(one) for one in row] for row in rows(found)), strict=True)
        types = [pa.string()] * 3 + [pa.float32()] * 2
        arrays = [pa.array(one, kind) for one, kind in zip(columns, types, strict=True)]
        parquet.write_table(pa.table(arrays, names=list(COLUMNS)), file)
        return
    with file.open("w", encoding="utf-8", errors="surrogateescape", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(COLUMNS)
        for *words, probability, margin in rows(found):
            writer.writerow([*words, f"{probability:.{DIGITS}g}", f"{margin:.{DIGITS}g}"])


def _text(value: str | float) -> str | float:
    """Parquet has no names of files that are no UTF-8."""
    return shown(value) if isinstance(value, str) else value


def _losses(scores: Scores) -> Tensor | None:
    """Cross-entropy image by image, if that is what `scores.loss` is the mean of."""
    losses = cross_entropy(scores.logits.double(), scores.labels, reduction="none")
    if scores.loss is None or not math.isclose(
        scores.loss, float(losses.mean()), rel_tol=NEAR, abs_tol=NEAR**2
    ):
        return None
    return losses


def pyarrow() -> tuple[Any, Any]:
    """Its own module and that of Parquet. Raises UsageError without them."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as wrong:
        text = "predictions=parquet needs pyarrow"
        raise UsageError(text, "pip install 'cnnctl[parquet]', or predictions=csv") from wrong
    return pa, parquet
