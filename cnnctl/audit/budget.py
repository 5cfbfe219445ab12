"""The largest batch that fits into a memory, and what a step made otherwise would take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from cnnctl.audit.document import Subject
from cnnctl.audit.step import Setting, measure
from cnnctl.config.learning import Optimizer, Sgd
from cnnctl.config.schema import Precision
from cnnctl.errors import NetError

CONTEXT = 500_000_000  # bytes: what CUDA and its libraries take before the first tensor, assumed
SLACK = 0.06  # of the tensors: fragments and workspaces of the caching allocator, assumed
MOMENTUM = Sgd(
    name="sgd", lr=0.1, weight_decay=0, scaling="none", reference_batch=256, momentum=0.9,
    nesterov=False, decay_norms=True, layer_decay=None,
)  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """What fits into `budget` bytes: `batch_size` images (0: not even one), `peak` with them.

    `reserve` bytes are left for what is no tensor.
    """

    budget: int
    reserve: int
    batch_size: int
    peak: int


def reserve(peak: int, accelerator: str, given: int | None) -> int:
    """Bytes beside the tensors: as given, none on a CPU, an estimate on a GPU.

    The estimate is context and slack; it has not been calibrated on a GPU.
    """
    if given is not None:
        return given
    return CONTEXT + int(SLACK * peak) if accelerator == "gpu" else 0


def largest(peak: Callable[[int], int], budget: int, extra: Callable[[int], int]) -> Fit:
    """The largest batch whose peak(batch) + extra(peak) is within `budget` bytes.

    The peak of a step is the maximum of straight lines in the batch, so the chord between a
    batch that fits and one that does not stays above it: a guess on the chord fits again, and
    is the end of the search where both are on one line. Every other guess halves what is left,
    for a step that is flat at first and then steep.
    """
    known: dict[int, int] = {}

    def need(batch: int) -> int:
        if batch not in known:
            try:
                known[batch] = peak(batch)
            except NetError:  # batch normalisation refuses a single image on 1x1 maps
                known[batch] = 0
        return known[batch] + extra(known[batch])

    fits, high = 0, 1
    while need(high) <= budget:
        fits, high = high, high * 2
    halve = False
    while high - fits > 1:
        share = 0.5 if halve else (budget - need(fits)) / (need(high) - need(fits))
        guess = min(max(fits + int(share * (high - fits)), fits + 1), high - 1)
        if need(guess) > budget:
            high = guess
        else:
            fits = guess
            high = fits + 1 if need(fits + 1) > budget else high
        halve = not halve
    fits = fits if known.get(fits) else 0  # a batch that is refused has no peak
    return Fit(budget, extra(known.get(fits, 0)), fits, known.get(fits, 0))


def fits(
    subject: Subject, setting: Setting, budgets: Mapping[str, int], given: int | None
) -> list[dict[str, Any]]:
    """For each budget in bytes the largest batch, and whether that of `setting` fits.

    `given` is what tensors cannot have, in bytes; None leaves it to `reserve`.
    """

    @cache
    def peak(batch: int) -> int:
        return measure(subject.net, subject.input, replace(setting, batch_size=batch)).peak

    def extra(tensors: int) -> int:
        return reserve(tensors, setting.accelerator, given)

    wanted = peak(setting.batch_size)
    return [
        {
            **asdict(largest(peak, budget, extra)),
            "name": name, "wanted": setting.batch_size, "fits": wanted + extra(wanted) <= budget,
        }
        for name, budget in budgets.items()
    ]  # fmt: skip


def what_if(subject: Subject, setting: Setting) -> list[dict[str, Any]]:
    """The peak of a step for a quarter to four times the batch, other precisions, another rule.

    null where the net cannot be trained on such a batch.
    """
    batches = sorted({max(1, setting.batch_size * share // 4) for share in (1, 2, 4, 8, 16)})
    precisions: tuple[Precision, ...] = (setting.precision, "32-true", "bf16-mixed")
    rules: dict[str, Optimizer] = {rule.name: rule for rule in (MOMENTUM, setting.optimizer)}
    found = []
    for precision in dict.fromkeys(precisions):
        for name, rule in rules.items():
            for batch in batches:
                made = replace(setting, precision=precision, optimizer=rule, batch_size=batch)
                try:
                    peak = measure(subject.net, subject.input, made).peak
                except NetError:
                    peak = None
                found.append({"precision": precision, "optimizer": name, "batch_size": batch,
                              "peak": peak})  # fmt: skip
    return found
