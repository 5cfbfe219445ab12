"""Where a result comes from: versions, git state, memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import torch

from cnnctl import __version__
from cnnctl.devices import Device

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy")


def versions() -> dict[str, str]:
    """cnnctl, Python and the packages that decide the numbers."""
    packages = {name: metadata.version(name) for name in PACKAGES}
    return {"cnnctl": __version__, "python": platform.python_version(), **packages}


def git() -> dict[str, str | bool] | None:
    """Commit of the working folder and whether it has changes; None outside a repository."""

    def ask(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=10)  # noqa: S603, S607, PLW1510 - git of the user's own PATH
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(ask("status", "--porcelain", "--untracked-files=no"))}


def peak_memory(device: Device) -> int:
    """Bytes: the most that torch held on the GPU, or the most that this process held on a CPU."""
    if device.accelerator == "gpu":
        return torch.cuda.max_memory_allocated()
    if sys.platform == "linux":  # ru_maxrss there is never less than that of the parent process
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
