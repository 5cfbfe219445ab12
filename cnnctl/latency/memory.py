"""The most memory that a pass has at one time."""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch._C._profiler import _ExperimentalConfig

autograd: Any = torch.autograd  # its older profiler starts at once and has no public name


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
    """A CPU's allocator tells a profiler of what it gives (above 0) and takes back (below 0)."""
    state = autograd.ProfilerState.CPU
    memory_only = autograd.ProfilerConfig(
        state, False, True, False, False, False, _ExperimentalConfig()  # noqa: FBT003 - of shapes, memory, stacks, FLOPs, modules only memory
    )  # fmt: skip
    collects = gc.isenabled()
    gc.disable()  # what is garbage already must not be freed meanwhile
    autograd._enable_profiler_legacy(memory_only)  # noqa: SLF001 - see above
    try:
        run()
    finally:
        threads = autograd._disable_profiler_legacy()  # noqa: SLF001 - see above
        if collects:
            gc.enable()
    events = (event for thread in threads for event in thread)
    changes = (event.cpu_memory_usage() for event in events if event.kind() == "memory_alloc")
    return max(accumulate(changes), default=0)
