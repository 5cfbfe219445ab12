"""Several processes for one run: started here, or by torchrun.

Lightning would start the others by running the command line again, which breaks with verbs
and with multirun: every copy would plan, and make a run folder, by itself. So the first
process makes the run folder and starts `cnnctl _rank RUN` for every device; Lightning finds
LOCAL_RANK set and starts nothing. Under torchrun nothing is started, and the first process
tells the others the folder.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch.distributed

from cnnctl.devices import Device
from cnnctl.errors import CnnctlError, UsageError

POLL_SECONDS = 0.1
GRACE_SECONDS = 30


def rank() -> int:
    """The number of this process among those of the run; 0 where there is one only."""
    return int(os.environ.get("RANK", "0"))


def started() -> bool:
    """Whether this process was started as one of several, by us or by torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def agree(device: Device, make: Callable[[], Path]) -> Path:
    """The run folder: made by the first process and told to the others.

    Raises UsageError if several machines are wanted and no launcher started this process.
    """
    if device.num_nodes > 1 and not started():
        text = f"hardware.num_nodes={device.num_nodes} needs a launcher on every machine"
        torchrun = f"torchrun --nnodes={device.num_nodes} --nproc-per-node={device.local}"
        hint = f"{torchrun} --rdzv-endpoint=HOST:PORT -m cnnctl train …"
        raise UsageError(text, hint)
    if not started():
        return make()
    if device.accelerator == "gpu":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "cpu:gloo,cuda:nccl" if device.accelerator == "gpu" else "gloo"
    torch.distributed.init_process_group(backend)  # Lightning finds it and uses it
    told = [str(make()) if rank() == 0 else None]
    torch.distributed.broadcast_object_list(told)
    assert told[0] is not None
    return Path(told[0])


def start(run: Path, device: Device) -> None:
    """Start one process per device and wait for all; the first failure stops the others.

    Raises CnnctlError if one failed (it has said why), KeyboardInterrupt if interrupted.
    """
    command = [
        sys.executable,
        "-P",
        "-m",
        "cnnctl",
        "_rank",
        str(run),
    ]  # -P: not the user's modules
    port = str(_free_port())
    threads = max(1, (os.cpu_count() or 1) // device.local)  # more than cores is far slower
    quiet = {"TORCH_CPP_LOG_LEVEL": "ERROR"}  # each would warn that it measures its memory
    shared = {"OMP_NUM_THREADS": str(threads), **quiet, **os.environ}
    children = []
    for local in range(device.local):
        place = {"LOCAL_RANK": str(local), "RANK": str(local), "NODE_RANK": "0"}
        world = {"WORLD_SIZE": str(device.world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        children.append(subprocess.Popen(command, env={**shared, **place, **world}))  # noqa: S603 - our own command
    try:
        codes = _wait(children)
    finally:
        _stop(children)
    if any(code == 130 for code in codes):  # noqa: PLR2004 - interrupted
        raise KeyboardInterrupt
    if any(codes):
        raise CnnctlError("a process of the run failed", f"see the lines above; run folder: {run}")


def _wait(children: list[subprocess.Popen[bytes]]) -> list[int]:
    """Exit codes, once all have ended or one has failed."""
    while True:
        codes = [child.poll() for child in children]
        if any(codes) or None not in codes:
            return [code for code in codes if code is not None]
        time.sleep(POLL_SECONDS)


def _stop(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
