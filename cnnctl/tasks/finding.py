"""What to say of a step whose loss or gradient is no number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnctl.errors import TrainingError

FILE = "nonfinite.json"  # in the run folder: what `document` gives
TOLD = 3  # names of images in the message

SLOWER = "a lower learning rate: optimizer.lr=…"
USUAL = f"{SLOWER}, or trainer.clip=1, or on_nan=rollback"
HINTS = {
    "images": "look at these images, at data.mean and at data.std",
    "weights": f"{SLOWER}; if this is the first step, other weights to start from",
    "half": f"hardware.precision=bf16-mixed: 16-bit floats end at 65504; or {SLOWER}",
}


@dataclass(frozen=True)
class Finding:
    """The first value of a step that is NaN or infinite.

    `what` tells it, `cause` is images, weights, layer, loss or gradient. `samples` are the
    images that have it, as places in all parts of the step one after the other, `all_samples`
    whether it is every one of its part; weights and gradients belong to no image. `half` is
    whether it was a 16-bit float that ends at 65504, `largest` the largest weight and its name.
    """

    what: str
    cause: str
    samples: tuple[int, ...] = ()
    all_samples: bool = False
    half: bool = False
    largest: tuple[str, float] | None = None


def message(  # noqa: PLR0913 - one for each thing that is told
    finding: Finding | None, *, step: int, epoch: int, batch: int, names: Sequence[str], run: Path
) -> TrainingError:
    """One line: when, what, which images. Step, epoch and batch of the epoch count from 1.

    `names` are those of the images of the step, in the order of its parts.
    """
    when = f"step {step} (epoch {epoch}, batch {batch})"
    if finding is None:
        text = "loss or gradient is not finite, but finite when this process makes the step again"
        return TrainingError(f"{when}: {text}", USUAL)
    text = f"{when}: {finding.what}"
    if finding.samples:
        told = [names[place] for place in finding.samples[:TOLD]]
        more = len(finding.samples) - len(told)
        rest = f" and {more} more" if more else ""
        which = f"all {len(finding.samples)} images" if finding.all_samples else "images"
        text += f"; {which}: {', '.join(told)}{rest}"
    if finding.largest is not None:
        name, size = finding.largest
        text += f"; the largest weight is {size:.3g} ({name})"
    hint = HINTS.get(finding.cause) or (HINTS["half"] if finding.half else USUAL)
    return TrainingError(text, f"{hint}; see {run / FILE}")


def document(
    finding: Finding | None, *, step: int, epoch: int, batch: int, names: Sequence[str]
) -> dict[str, Any]:
    """What nonfinite.json holds: the same, with the names of all images."""
    found = finding or Finding("not found again", "unknown")
    return {
        "step": step, "epoch": epoch, "batch": batch,
        "what": found.what, "cause": found.cause, "largest_weight": found.largest,
        "images": [names[place] for place in found.samples],
        "all_images": found.all_samples, "batch_images": list(names),
    }  # fmt: skip
