"""The most memory that a pass has at one time."""

from __future__ import annotations

from collections.abc import Callable

import torch

from cnnctl.allocation import Follow, highest


def peak(run: Callable[[], object], device: torch.device) -> int | None:
    """Bytes that torch's allocator gives during a pass, at most at one time.

    Weights and the batch are older than the pass and not in it, nor is what libraries take for
    themselves. None where the allocator cannot be asked.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    return _followed(run) if device.type == "cpu" else None


def _followed(run: Callable[[], object]) -> int:
    follow, changes = Follow(), list[int]()
    try:
        run()
    finally:
        changes += follow.stop()
    return highest(changes)
