"""The proof that a file makes images anew as the net does; `parity` goes through the images.

What is judged is how far intensities are apart, as a share of white, or of the largest of the net
if that is brighter still. What is measured besides is how near both come to the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cnnctl.export.parity import Difference, Proof, require_finite
from cnnctl.manifest import PREPROCESS, Manifest
from cnnctl.scoring.reconstructions import WHITE
from cnnctl.tasks.reconstruct import likeness, parts


@dataclass(frozen=True, kw_only=True)
class Remade(Proof):
    """How the file of `manifest` is compared."""

    manifest: Manifest

    @property
    def of(self) -> str:
        """What the file gives."""
        return self.manifest.gives["name"]

    def difference(self) -> Difference:
        """No images yet."""
        return Apart(self.manifest)

    def truth(self, images: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002 - they play no part
        """The images themselves, as intensities."""
        return images.float() / WHITE


class Apart(Difference):
    """Between the images of two scorers, summed up over batches."""

    LARGEST = "intensity"
    FIGURE = "explained"

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(softmax=False)
        self.mean, self.std = column(manifest.mean), column(manifest.std)
        self.unit = torch.ones(()) if PREPROCESS in manifest.include else self.std
        self.largest = 1.0
        self.sums = torch.zeros(2, 3 + manifest.channels, dtype=torch.float64)

    def add(self, wanted: Tensor, found: Tensor, labels: Tensor) -> None:
        """Values (B, C, H, W) of the net and of the file, and intensities of the true images."""
        require_finite(wanted, found)
        net, file = (one * self.std + self.mean for one in (wanted, found))
        apart = (file.double() - net.double()).abs()
        self.n += len(labels)
        self.error = max(self.error, float((apart / self.unit).max()))
        self.apart = max(self.apart, float(apart.max()))
        self.largest = max(self.largest, float(net.abs().max()))
        once = torch.ones(len(self.mean))
        for place, made in enumerate((net, file)):
            self.sums[place] += parts(made, labels, once).double().sum(0)

    def document(self) -> dict[str, Any]:
        """Figures as `likeness` has them."""
        figures = [likeness(sums) for sums in self.sums.tolist()]
        return {
            "n": self.n, "max_abs_error": self.error,
            **{
                f"{name}_{who}": found[name]
                for name in ("explained", "psnr", "mse")
                for who, found in zip(("eager", "export"), figures, strict=True)
            },
        }  # fmt: skip


def column(numbers: Sequence[float]) -> Tensor:
    """One number per channel, (C, 1, 1)."""
    return torch.tensor(numbers).view(-1, 1, 1)
