"""Energy counters: of a GPU by its driver (NVML), of a CPU by Linux (RAPL), where there are any."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

POWERCAP = Path("/sys/class/powercap")
PACKAGES = "intel-rapl:[0-9]*"  # AMD's have the same name; a part of one is intel-rapl:0:0
NVML = "libnvidia-ml.so.1"
MILLI, MICRO = 1e-3, 1e-6


@dataclass(frozen=True)
class Meter:
    """`joules` used so far by the whole GPU or all CPU packages, whoever uses them.

    None where the counter could not be read this time.
    """

    source: str
    joules: Callable[[], float | None]


def meter(device: torch.device) -> Meter | None:
    """What counts energy for a device; None if nothing does, or we may not read it."""
    if device.type == "cuda":
        return _gpu(device.index or 0)
    return _packages(POWERCAP) if device.type == "cpu" else None


def _packages(folder: Path) -> Meter | None:
    counters = [
        Counter(place) for place in sorted(folder.glob(PACKAGES)) if place.name.count(":") == 1
    ]
    try:
        for counter in counters:
            counter.joules()
    except (OSError, ValueError):  # since 2020 Linux shows them to root alone
        return None
    if not counters:
        return None

    def joules() -> float | None:
        try:
            return sum(counter.joules() for counter in counters)
        except (OSError, ValueError):
            return None

    return Meter("RAPL", joules)


class Counter:
    """One package: microjoules that begin again at zero after `max_energy_range_uj`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.last: int | None = None
        self.sum = 0

    def joules(self) -> float:
        """Since the first call. Raises OSError if it cannot be read."""
        now = self._read("energy_uj")
        if self.last is not None:
            if now < self.last:
                self.sum += self._read("max_energy_range_uj")
            self.sum += now - self.last
        self.last = now
        return self.sum * MICRO

    def _read(self, name: str) -> int:
        return int((self.place / name).read_text())


def _gpu(number: int) -> Meter | None:
    """By nvmlDeviceGetTotalEnergyConsumption, which GPUs since Volta have (millijoules)."""
    try:
        library = ctypes.CDLL(NVML)
    except OSError:
        return None
    handle, used = ctypes.c_void_p(), ctypes.c_ulonglong()
    uuid = f"GPU-{torch.cuda.get_device_properties(number).uuid}".encode()
    if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(handle)):
        return None
    ask: Any = library.nvmlDeviceGetTotalEnergyConsumption
    if ask(handle, ctypes.byref(used)):
        return None

    def joules() -> float | None:
        return None if ask(handle, ctypes.byref(used)) else used.value * MILLI

    return Meter("NVML", joules)
