"""The memory that a run can have: of its device, of the machine, and of the limits set on it."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import torch

from cnnctl.audit.budget import CONTEXT
from cnnctl.devices import Device

PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# file of the limit, of what is used, and the line of memory.stat that could be given back
VERSIONS = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def available(device: Device) -> int:
    """Bytes left for the tensors of one process, to be asked before there are any.

    On a GPU with what CUDA takes for itself, because the audit's reserve takes it off; on a CPU
    a process's share of the least of free memory, control groups and `ulimit -v`.
    """
    if device.accelerator == "gpu":
        place = int(os.environ.get("LOCAL_RANK", "0"))
        number = place if isinstance(device.devices, int) else device.devices[place]
        free, whole = torch.cuda.mem_get_info(number)
        return min(whole, free + torch.cuda.memory_reserved(number) + CONTEXT)
    if device.accelerator == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    share = min([_machine(), *_groups()]) // device.local
    limit = _address_space()
    return share if limit is None else min(share, limit)


def _machine() -> int:
    """What Linux could give without swapping; elsewhere all that there is."""
    try:
        lines = (PROC / "meminfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _groups() -> Iterator[int]:
    """What each control group that we are in leaves us; a container is one, too."""
    try:
        lines = (PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        top = GROUPS / "memory" if kinds else GROUPS
        inside = top / path.lstrip("/")  # not there in a container that sees itself as the top
        for folder in (inside, *inside.parents):
            if folder.is_relative_to(top):
                yield from _left(folder, *VERSIONS[1 if kinds else 2])


def _left(folder: Path, limit: str, used: str, cached: str) -> Iterator[int]:
    try:
        most, now = (int((folder / name).read_text()) for name in (limit, used))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such group, or "max": no limit
        return
    yield most - now + int(stat.get(cached, 0))


def _address_space() -> int | None:
    """What `ulimit -v` leaves this process; None without a limit."""
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most == resource.RLIM_INFINITY:
        return None
    try:
        pages = int((PROC / "self" / "statm").read_text().split()[0])
    except OSError:
        return most
    return most - pages * os.sysconf("SC_PAGE_SIZE")
