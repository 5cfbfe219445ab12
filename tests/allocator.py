"""What torch's allocator on the CPU gives and takes back, as its profiler sees it."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # or the profiler writes to stderr


def changes(run: Callable[[], Any]) -> list[int | str]:
    """Bytes given (above 0) and taken back (below 0) while `run` runs, in their order.

    Names of torch.profiler.record_function stand between them, where they begin.
    """
    gc.collect()  # what earlier tests have left must not be taken back in between
    gc.disable()
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            kept = run()
    finally:
        gc.enable()
    assert profiler.profiler is not None
    found: list[tuple[int, int, int | str]] = []
    for number, event in enumerate(profiler.profiler.kineto_results.events()):
        if event.name() == "[memory]":
            found.append((event.start_ns(), number, event.nbytes()))
        elif event.is_user_annotation():
            found.append((event.start_ns(), number, event.name()))
    del kept
    return [what for *_, what in sorted(found, key=lambda one: one[:2])]


def inside(run: Callable[[], Any]) -> int:
    """The most bytes that a call has at one time beside what it leaves, when made again."""
    run()
    sizes = [size for size in changes(run) if isinstance(size, int)]
    return max(accumulate(sizes), default=0) - sum(sizes)


def convolution(
    batch: int, channels: tuple[int, int], size: int, kernel: int, stride: int = 1,
    padding: int = 0, dilation: int = 1, groups: int = 1, *, transposed: bool = False,
    last: bool = False, kind: torch.dtype = torch.float32,
) -> tuple[Any, ...]:  # fmt: skip
    """Arguments of aten.convolution on real tensors."""
    image = torch.randn(batch, channels[0], size, size).to(kind)
    if last:
        image = image.to(memory_format=torch.channels_last)
    first, second = channels if transposed else channels[::-1]
    weight = torch.randn(first, second // groups, kernel, kernel).to(kind)
    return (
        image, weight, torch.randn(channels[1]).to(kind), [stride] * 2, [padding] * 2,
        [dilation] * 2, transposed, [0, 0], groups,
    )  # fmt: skip


def gradient(args: tuple[Any, ...], wanted: tuple[bool, bool, bool]) -> tuple[Any, ...]:
    """Arguments of aten.convolution_backward for those of a convolution."""
    image, weight, bias, *numbers = args
    out = torch.ops.aten.convolution(*args)
    return (torch.randn_like(out), image, weight, [len(bias)], *numbers, list(wanted))
