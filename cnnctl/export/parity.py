"""The proof that a file computes what the net computes, on real images.

The net in torch, in float32, is asked once; the file, read from disk again, in each batch size.
Errors are those of probabilities, or, where a file gives logits, shares of the largest logit. If
none is above the tolerance, two answers can differ in the class they name only where the net
itself finds two classes equally likely, to within twice the tolerance: a tie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cnnctl.errors import ExportError
from cnnctl.export.shown import Shown
from cnnctl.scoring.scorer import Scorer

BATCHES = (1, 3, 32)
# float32 sums in another order differ by some 1e-6, more in deep nets; half has 11 bits and loses
# up to 1e-3 of a logit in each of dozens of layers
USUAL = {"fp32": 1e-4, "fp16": 2e-2}
# pixels are equal where torch resizes bytes with vector instructions; elsewhere it does it in
# floating point, and one pixel in hundreds is a level off
USUAL_RAW = {"fp32": 1e-2, "fp16": 3e-2}

Tell = Callable[[str, int, int], None]


class Difference:
    """Between two scorers, summed up over batches."""

    def __init__(self) -> None:
        self.n = 0
        self.error = 0.0
        self.largest = 0.0
        self.agreed = 0
        self.hits = [0, 0]  # of the net and of the file

    def add(self, wanted: Tensor, found: Tensor, labels: Tensor) -> None:
        """Values (B, classes) of the net and of the file."""
        if not torch.isfinite(wanted).all():
            raise ExportError("the net itself gives numbers that are not finite", "train it anew")
        if not torch.isfinite(found).all():
            text = "the file gives numbers that are not finite where the net's are"
            raise ExportError(text, "precision=fp32 has the range of the net")
        first, second = wanted.argmax(1), found.argmax(1)
        self.n += len(labels)
        self.error = max(self.error, float((found - wanted).abs().max()))
        self.largest = max(self.largest, float(wanted.abs().max()))
        self.agreed += int((first == second).sum())
        self.hits[0] += int((first == labels).sum())
        self.hits[1] += int((second == labels).sum())

    def document(self) -> dict[str, Any]:
        """Metrics as fractions."""
        return {
            "n": self.n,
            "max_abs_error": self.error,
            "top1_agreement": self.agreed / self.n,
            "top1_eager": self.hits[0] / self.n,
            "top1_export": self.hits[1] / self.n,
        }


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How a file is compared: values of which kind, and which error is allowed; None: any."""

    softmax: bool
    tolerance: float | None
    raw_tolerance: float | None

    def values(self, logits: Tensor) -> Tensor:
        """What errors are of."""
        return logits.softmax(1) if self.softmax else logits

    def judge(self, found: Difference, allowed: float | None, what: str) -> float:
        """The error, as the tolerance counts it. Raises ExportError if it is too large."""
        error = found.error if self.softmax else found.error / max(found.largest, 1e-12)
        if allowed is not None and error > allowed:
            unit = "of a probability" if self.softmax else "of the largest logit"
            text = f"the file does not compute what the net computes: on {what} it is off by"
            text += f" {error:.2g} {unit}, {allowed:.2g} is allowed"
            raise ExportError(text, f"nothing was kept; tolerance={2 * error:.1g} would take it")
        return error


def prove(  # noqa: PLR0913 - two scorers, and what they are shown
    proof: Proof, eager: Scorer, file: Scorer, shown: Shown, batches: tuple[int, ...], tell: Tell
) -> dict[str, Any]:
    """The largest error and the top-1 figures, in all and by batch size."""
    sizes = sorted({min(batch, len(shown)) for batch in batches})
    found = {size: Difference() for size in sizes}
    done = 0
    for images, labels in shown.chunks():
        wanted = proof.values(eager(images))
        for size, difference in found.items():
            answers = [file(part) for part in images.split(size)]
            difference.add(wanted, proof.values(torch.cat(answers)), labels)
        done += len(labels)
        tell("comparing", done, len(shown))
    errors = [
        proof.judge(one, proof.tolerance, f"batches of {size}") for size, one in found.items()
    ]
    rows = [{"batch_size": size, **one.document()} for size, one in found.items()]
    worst = {
        "max_abs_error": max(row["max_abs_error"] for row in rows),
        "top1_agreement": min(row["top1_agreement"] for row in rows),
        "top1_export": min(row["top1_export"] for row in rows),
    }
    return {
        **rows[-1], **worst,
        "of": "probabilities" if proof.softmax else "logits",
        "error": max(errors), "tolerance": proof.tolerance,
        "split": shown.split, "batch_size": None, "batches": rows,
    }  # fmt: skip


def prove_raw(
    proof: Proof, eager: Scorer, file: Scorer, shown: Shown, tell: Tell
) -> dict[str, Any]:
    """The same for images of their own sizes, one by one: the file resizes them itself."""
    from cnnctl.data.reading import Whole

    images, scaled = shown.raw()
    view, found = Whole(shown.size), Difference()
    for number, (image, label) in enumerate(images):
        wanted = proof.values(eager(view(image)))
        found.add(wanted, proof.values(file(image)), label)
        tell("comparing in their own sizes", number + 1, len(images))
    error = proof.judge(found, proof.raw_tolerance, "images of other sizes")
    sides = {tuple(image.shape[-2:]) for image, _ in images}
    return {
        **found.document(), "error": error, "tolerance": proof.raw_tolerance,
        "sizes": len(sides), "scaled": scaled,
    }  # fmt: skip
