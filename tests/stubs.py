"""Small processes in place of `cnnctl _rank`, and how to wait for them."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from cnnctl.devices import Device
from cnnctl.training import ranks

RUN = Path("run")
HEAD = """
import os, signal, sys, time
rank = os.environ["RANK"]
def note(name, text=""):
    with open(f".{name}.{rank}", "w") as file:
        file.write(text)
    os.rename(f".{name}.{rank}", f"{name}.{rank}")
def has(name):
    return os.path.exists(f"{name}.{rank}")
def until(name):
    while not has(name):
        time.sleep(0.01)
def save(number, frame=None):
    note("saved", str(number))
    sys.exit(128 + number)
def listen(handler):
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(name, handler)
    note("ready")
    while True:
        time.sleep(0.01)
"""


def device(devices: int | tuple[int, ...] = 2, **changes: Any) -> Device:
    usual = {
        "accelerator": "cpu", "devices": devices, "num_nodes": 1, "precision": "32-true",
        "strategy": "auto", "sync_batchnorm": False, "deterministic": True,
        "matmul": "highest", "name": "cpu",
    }  # fmt: skip
    return Device(**(usual | changes))


def start(code: str, devices: int = 2) -> int:
    """Start stubs that run `code` and wait for them."""
    return ranks.start(RUN, device(devices), [sys.executable, "-IS", "-c", HEAD + code])


def wait(*names: str) -> None:
    """Until the stubs have written these files."""
    end = time.monotonic() + 30
    while not all(Path(name).exists() for name in names):
        assert time.monotonic() < end, f"{names} did not come"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def wait_gone(*pids: int) -> None:
    end = time.monotonic() + 30
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < end, f"{pids} are still there"
        time.sleep(0.01)
