"""The proof that a file computes what the net computes, on real images.

The net in torch, in float32, is asked once; the file, read from disk again, in each batch size.
What is judged is how far the logits are apart, as a share of the largest one of the net (less the
mean of its image). Of a file that gives probabilities it is their logarithms, which are logits but
for a number that all classes share: of a thousand classes two different nets have probabilities
that differ by less than 1e-3. Where the two name different classes, it must be a tie: the net's own
logits of both are no further apart than the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cnnctl.errors import ExportError
from cnnctl.export.shown import Shown
from cnnctl.scoring.scorer import Scorer

BATCHES = (1, 3, 32)
# Measured on lenet5, resnet20, vgg11, googlenet, densenet_bc100_12 and efficientnet_b0 with random
# weights and calibrated batch norms, in onnxruntime and torch: 3e-7 to 3e-5; in half precision, of
# 11 bits in each of dozens of layers, 4e-4 to 2e-2. Two nets that differ are about 1 apart.
USUAL = {"fp32": 1e-4, "fp16": 5e-2}
# pixels are equal where torch resizes bytes with vector instructions; elsewhere it does it in
# floating point, and one pixel in hundreds is a level off
USUAL_RAW = {"fp32": 1e-2, "fp16": 6e-2}
LEAST = -60.0  # logarithms of probabilities below it are all the same: float32 ends at -87
DIGITS = 1e-6  # of a logit, or of 1: float32 rounds, however equal logits are

Tell = Callable[[str, int, int], None]


class Difference:
    """Between the answers of two scorers, summed up over batches."""

    LARGEST = "logit"  # of whose largest the error is a share
    FIGURE = "top1"  # the batch size that is worst by it is told

    def __init__(self, *, softmax: bool) -> None:
        self.softmax = softmax
        self.n = 0
        self.error = 0.0  # in the units of the file: of a probability, or of a logit
        self.apart = 0.0  # of what is judged
        self.gap = 0.0  # between the two classes that are named, in the net's answer
        self.largest = 0.0  # logit of the net, less the mean of its image
        self.rounded = DIGITS
        self.agreed = 0
        self.hits = [0, 0]  # of the net and of the file
        self.alone = [0, 0]  # images that one of them alone has right

    def add(self, wanted: Tensor, found: Tensor, labels: Tensor) -> None:
        """Logits (B, classes) of the net and of the file, and classes (B,)."""
        first, second = self.compare(wanted, found)
        right = first == labels, second == labels
        for place, (one, not_other) in enumerate(zip(right, (~right[1], ~right[0]), strict=True)):
            self.hits[place] += int(one.sum())
            self.alone[place] += int((one & not_other).sum())

    def compare(self, wanted: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, classes) of the net and of the file -> the classes that they name, (B,)."""
        require_finite(wanted, found)
        first, second = wanted.argmax(1), found.argmax(1)
        centred = wanted.double() - wanted.double().mean(1, keepdim=True)
        judged, its = self._judged(wanted), self._judged(found)
        gaps = judged.gather(1, first[:, None]) - judged.gather(1, second[:, None])
        told, other = (one.softmax(1) if self.softmax else one for one in (wanted, found))
        self.n += len(wanted)
        self.error = max(self.error, float((other - told).abs().max()))
        self.apart = max(self.apart, float((its - judged).abs().max()))
        self.gap = max(self.gap, float(gaps.max()))
        most = -LEAST if self.softmax else math.inf
        self.largest = max(self.largest, min(float(centred.abs().max()), most))
        self.rounded = max(self.rounded, DIGITS * float(wanted.abs().max()))
        self.agreed += int((first == second).sum())
        return first, second

    def _judged(self, logits: Tensor) -> Tensor:
        exact = logits.double()
        return exact.log_softmax(1).clamp(min=LEAST) if self.softmax else exact

    def share(self, distance: float, allowed: float | None) -> float:
        """A distance between logits as a share of the largest, rounding being allowed."""
        return distance / max(self.largest, self.rounded / (allowed or 1))

    def document(self) -> dict[str, Any]:
        """Metrics as fractions."""
        return {
            "n": self.n,
            "max_abs_error": self.error,
            "top1_agreement": self.agreed / self.n,
            "top1_eager": self.hits[0] / self.n,
            "top1_export": self.hits[1] / self.n,
            "only_eager_right": self.alone[0],
            "only_export_right": self.alone[1],
        }


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How a file is compared: whether it ends in softmax, and which error is allowed; None: any."""

    softmax: bool
    tolerance: float | None
    raw_tolerance: float | None

    @property
    def of(self) -> str:
        """What the file gives."""
        return "probabilities" if self.softmax else "logits"

    def difference(self) -> Difference:
        """No images yet."""
        return Difference(softmax=self.softmax)

    def truth(self, images: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002 - `remade` wants the images
        """What answers about images uint8 (B, C, size, size) with labels (B,) should be."""
        return labels


def require_finite(wanted: Tensor, found: Tensor) -> None:
    """Raise ExportError if the answers of the net or of the file are not finite."""
    if not torch.isfinite(wanted).all():
        raise ExportError("the net itself gives numbers that are not finite", "train it anew")
    if not torch.isfinite(found).all():
        text = "the file gives numbers that are not finite where the net's are"
        raise ExportError(text, "precision=fp32 has the range of the net")


def judge(found: Difference, key: str, allowed: float | None, what: str) -> float:
    """The error, as the tolerance counts it. Raises ExportError if it, or a tie, is too large."""
    error, gap = (found.share(one, allowed) for one in (found.apart, found.gap))
    if allowed is None or max(error, gap) <= allowed:
        return error
    text = f"the file does not compute what the net computes: on {what} it is off by {error:.2g}"
    text += f" of the largest {found.LARGEST}, {allowed:.2g} is allowed"
    if error <= allowed:
        text = f"the file names other classes than the net: on {what}, where the net has them"
        text += f" {gap:.2g} of the largest logit apart, {allowed:.2g} would be a tie"
    would = f"{key}={2 * max(error, gap):.1g} would take it"
    raise ExportError(text, f"nothing was kept; {would}")


def prove(  # noqa: PLR0913 - two scorers, and what they are shown
    proof: Proof, eager: Scorer, file: Scorer, shown: Shown, batches: tuple[int, ...], tell: Tell
) -> dict[str, Any]:
    """The largest error and the top-1 figures, in all and by batch size."""
    sizes = sorted({min(batch, len(shown)) for batch in batches})
    found = {size: proof.difference() for size in sizes}
    done = 0
    for images, labels in shown.chunks():
        wanted = eager(images)
        for size, difference in found.items():
            answers = [file(part) for part in images.split(size)]
            difference.add(wanted, torch.cat(answers), proof.truth(images, labels))
        done += len(labels)
        tell("comparing", done, len(shown))
    return told(proof, found, shown.split)


def told(proof: Proof, found: Mapping[int, Difference], split: str) -> dict[str, Any]:
    """The document, of what was found by batch size. Raises ExportError as `judge` does."""
    errors = [
        judge(one, "tolerance", proof.tolerance, f"batches of {size}")
        for size, one in found.items()
    ]
    rows = [{"batch_size": size, **one.document()} for size, one in found.items()]
    figure = next(iter(found.values())).FIGURE
    worst = dict(min(rows, key=lambda row: row[f"{figure}_export"]))
    for name, pick in (("max_abs_error", max), ("top1_agreement", min)):
        if name in worst:
            worst[name] = pick(row[name] for row in rows)
    return {
        **worst,
        "of": proof.of, "error": max(errors), "tolerance": proof.tolerance,
        "split": split, "batch_size": None, "batches": rows,
    }  # fmt: skip


def prove_raw(
    proof: Proof, eager: Scorer, file: Scorer, shown: Shown, tell: Tell
) -> dict[str, Any]:
    """The same for images of their own sizes, one by one: the file resizes them itself."""
    from cnnctl.data.reading import Whole

    images, scaled = shown.raw()
    view, found = Whole(shown.size), proof.difference()
    for number, (image, label) in enumerate(images):
        seen = view(image)
        found.add(eager(seen), file(image), proof.truth(seen, label))
        tell("comparing in their own sizes", number + 1, len(images))
    error = judge(found, "raw_tolerance", proof.raw_tolerance, "images of other sizes")
    sides = {tuple(image.shape[-2:]) for image, _ in images}
    return {
        **found.document(), "error": error, "tolerance": proof.raw_tolerance,
        "sizes": len(sides), "scaled": scaled,
    }  # fmt: skip
