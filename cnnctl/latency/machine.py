"""The machine as it is measured: threads, and the fastest product of matrices."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from cnnctl import devices
from cnnctl.devices import Device
from cnnctl.scoring.scorer import number

SIDES = {"cuda": 8192, "mps": 4096, "cpu": 1024}  # of square matrices
SECONDS, LEAST = 0.5, 3  # products are made for so long, and so many
CPUINFO = Path("/proc/cpuinfo")
SWITCHES: tuple[tuple[Any, str], ...] = (
    (torch.backends.cudnn, "benchmark"), (torch.backends.cudnn, "allow_tf32"),
    (torch.utils.deterministic, "fill_uninitialized_memory"),
)  # fmt: skip


def matmul_flops(device: Device) -> float:
    """Floating-point operations a second of the best of several products of large matrices.

    In the number format of the device's precision, with torch's present threads. A product of
    n × n matrices is n³ multiply-adds, and two operations each.
    """
    place, (kind, _) = device.first, number(device.precision)
    side = SIDES[place.type]
    one, other = (torch.randn(side, side, device=place).to(kind) for _ in range(2))
    result = torch.empty_like(one)
    best, made, began = float("inf"), 0, time.perf_counter()
    while made < LEAST or time.perf_counter() - began < SECONDS:
        synchronise(place)
        start = time.perf_counter()
        torch.mm(one, other, out=result)
        synchronise(place)
        if made:  # the first one sets things up
            best = min(best, time.perf_counter() - start)
        made += 1
    return 2 * side**3 / best


def synchronise(place: torch.device) -> None:
    """Wait until a device has done what it was told."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)
    elif place.type == "mps":
        torch.mps.synchronize()


@contextlib.contextmanager
def prepared(device: Device, threads: int | None) -> Iterator[None]:
    """While open, torch has so many threads, and a GPU tries its convolutions and keeps the best.

    Convolutions in float32 are then as precise as products are by `device.matmul`: torch makes
    them in 19 bits (TF32) unless told, faster than any product of matrices in 32. With None the
    threads stay as they are. Afterwards all is as before.
    """
    with contextlib.ExitStack() as restore:
        restore.callback(torch.set_num_threads, torch.get_num_threads())
        restore.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        restore.callback(torch.set_deterministic_debug_mode, torch.get_deterministic_debug_mode())
        for place, switch in SWITCHES:
            restore.callback(setattr, place, switch, getattr(place, switch))
        devices.switch(device)
        if threads is not None:
            torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = device.matmul != "highest"
        yield


def name(device: Device) -> str:
    """The processor's name as it gives it."""
    if device.accelerator == "gpu":
        return torch.cuda.get_device_name(device.first)
    with contextlib.suppress(OSError):
        for line in CPUINFO.read_text().splitlines():
            word, _, value = line.partition(":")
            if word.strip() == "model name":
                return " ".join(value.split())
    return platform.processor() or platform.machine()


def load() -> float | None:
    """Processes that want to run, a mean over the last minute; None where it is not told."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def cores() -> int:
    """Of the CPU, as far as this process may have them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Of the libraries that run nets, as far as they are installed."""
    found = {}
    for library in ("torch", "onnxruntime"):
        with contextlib.suppress(PackageNotFoundError):
            found[library] = version(library)
    return found
