"""Loss and hits of an epoch, summed where the batches are."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnctl.tasks.gradient import Measured

TOP = 5
TOGETHER = 16  # batches that are counted at a time
SMALL = 2**16  # values of logits above which a batch is counted at once


class Tally:
    """Sums over an epoch, kept on the device, where a display alone asks for them meanwhile.

    Four values in float64 where the device has it: loss x images, hits at top-1, hits at
    top-5, images. Every image weighs the same, in a short last batch too. Small batches are
    counted several at a time, because counting one takes as long as a small net's forward pass.
    """

    def __init__(self, device: torch.device) -> None:
        self.kind = torch.float32 if device.type == "mps" else torch.float64
        self._sums = torch.zeros(4, dtype=self.kind, device=device)
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []

    def restore(self, sums: Tensor) -> None:
        """Go on from these."""
        self._sums.copy_(sums)

    def add(self, measured: Measured) -> None:
        """Count one batch: mean loss (), logits (B, classes), labels (B,).

        Of shares (B, classes), which mixing images gives, the largest is the label.
        """
        loss, logits, labels = measured
        if labels.ndim > 1:
            labels = labels.argmax(1)
        self._waiting.append((loss.detach() * len(labels), logits.detach(), labels))
        if len(self._waiting) == TOGETHER or logits.numel() > SMALL:
            self._count()

    @property
    def sums(self) -> Tensor:
        """The four values of all batches so far."""
        if self._waiting:
            self._count()
        return self._sums

    @torch.no_grad()
    def _count(self) -> None:
        losses, logits, labels = (list(values) for values in zip(*self._waiting, strict=True))
        self._waiting = []
        scores, wanted = torch.cat(logits), torch.cat(labels)
        hits = scores.topk(min(TOP, scores.shape[1])).indices == wanted.unsqueeze(1)
        images = hits.new_full((), len(wanted), dtype=self.kind)  # a copy would wait for a GPU
        loss = torch.stack(losses).to(self.kind).sum()
        self._sums += torch.stack((loss, hits[:, 0].sum(), hits.sum(), images))


def means(sums: Tensor, classes: int) -> dict[str, float]:
    """Loss, top1 and, with more than five classes, top5: means over the images of a tally."""
    loss, top1, top5, images = sums.tolist()
    found = {"loss": loss / images, "top1": top1 / images}
    return found | ({"top5": top5 / images} if classes > TOP else {})
