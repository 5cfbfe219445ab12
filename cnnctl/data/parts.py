"""Decoding many images in threads, where that is faster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
QUICK = 2e-4  # seconds for an image


def run(work: Callable[[int], T], starts: range) -> Iterator[T]:
    """What `work` gives for each of `starts`, whose step is the number of images in a part.

    Decoding leaves Python's lock, and to get it back takes longer than a small file does: where
    the first part was quick, one thread does the others.
    """
    if not starts:
        return
    began = time.perf_counter()
    first = work(starts[0])
    quick = time.perf_counter() - began < QUICK * starts.step
    yield first
    with ThreadPoolExecutor(1 if quick else os.cpu_count()) as pool:
        yield from pool.map(work, starts[1:])
