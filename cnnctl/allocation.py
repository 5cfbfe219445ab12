"""What torch's allocator of a CPU gives and takes back, as it tells its profiler."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import torch
from torch._C._profiler import _ExperimentalConfig

# The older profiler has no public name. The newer one counts the same and takes a second to start.
autograd: Any = torch.autograd


class Follow:
    """Follows it from now on until `stop`, which must come; one at a time.

    Python collects no garbage meanwhile: what is garbage already must not be freed in between.
    """

    def __init__(self) -> None:
        state = autograd.ProfilerState.CPU
        memory_only = autograd.ProfilerConfig(
            state, False, True, False, False, False, _ExperimentalConfig()  # noqa: FBT003 - of shapes, memory, stacks, FLOPs, modules only memory
        )  # fmt: skip
        self._collects = gc.isenabled()
        gc.disable()
        autograd._enable_profiler_legacy(memory_only)  # noqa: SLF001 - see above

    def stop(self) -> list[int]:
        """The bytes given (above 0) and taken back (below 0) since the start, in their order."""
        threads = autograd._disable_profiler_legacy()  # noqa: SLF001 - see above
        if self._collects:
            gc.enable()
        return [
            event.cpu_memory_usage()
            for thread in threads
            for event in thread
            if event.kind() == "memory_alloc"
        ]


def highest(changes: Iterable[int]) -> int:
    """The most bytes that were given at one time, and not taken back."""
    return max(accumulate(changes), default=0)
