"""Tiny runs on grey shapes, and what is left of them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnctl import weights

GREY = ("data=shapes", "data.channels=1", "data.mean=[0.5]", "data.std=[0.25]", "augment=none")
TINY = (
    *GREY, "model=unet_small", "model.widths=[4,8]", "data.images=40", "data.size=16",
    "data.batch_size=8", "optimizer.lr=0.01",
)  # fmt: skip
PLAIN = (*TINY, "model.norm=none", "schedule=constant")  # without statistics of a batch
SGD = ("optimizer=sgd", "optimizer.lr=0.1")
STEPS = "trainer.max_steps=3"


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def whole(source: Any, split: str, mean: float = 0.5) -> tuple[Tensor, Tensor]:
    """All images of a split, normalised in the order that cnnctl chose, and their masks."""
    images, masks = (torch.stack(part) for part in zip(*source.splits[split].found, strict=True))
    deviation = torch.tensor(0.25) * 255
    return images.float() * (1 / deviation) + -torch.tensor(mean) * 255 / deviation, masks


def last(done: Any) -> dict[str, Tensor]:
    return weights.read(done.folder / "checkpoints/last.ckpt").weights


def close(found: dict[str, Tensor], wanted: dict[str, Tensor], *, atol: float = 1e-5) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, wanted[name], rtol=1e-3, atol=atol)
