"""Engines that need no net, and what is measured of them."""

from __future__ import annotations

from typing import Any

import torch
from stubs import device
from torch import Tensor

from cnnctl.errors import NetError, UsageError
from cnnctl.latency import measure
from cnnctl.latency.measure import Bench, Case

BENCH = Bench(device(1), (1, 2), 0.001, None)


def engine(change: float = 0.0, fails: int | None = None, error: Exception | None = None) -> Any:
    def made(images: Tensor) -> Any:
        if len(images) == fails:
            raise error or NetError("it is broken")
        return lambda: images.flatten(1)[:, :3] * 2 + change

    return lambda: made


def late(fails: int, error: Exception) -> Any:
    """Fails in the pass with so many images, not before."""

    def made(images: Tensor) -> Any:
        def run() -> Tensor:
            if len(images) == fails:
                raise error
            return images.flatten(1)[:, :3]

        return run

    return lambda: made


def absent() -> Any:
    raise UsageError("it is not installed", "pip install it")


def case(**makers: Any) -> Case:
    return Case((1, 2, 2), torch.float32, makers, {}, 1000, 50)


def measured(net: Case, bench: Bench, tell: Any) -> dict[str, Any]:
    return dict(measure.measure(net, bench, tell).told())
