"""Several processes for one run: started here, by torchrun or by srun.

Lightning would start the others by running the command line again, which breaks with verbs
and with multirun: every copy would plan, and make a run folder, by itself. So the first
process makes the run folder and starts `cnnctl _rank RUN` for every device; Lightning finds
LOCAL_RANK set and starts nothing. Under a launcher nothing is started, and the first process
tells the others the folder.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch.distributed

from cnnctl.devices import Device
from cnnctl.errors import EXIT_FAILED, EXIT_USER, CnnctlError, UsageError
from cnnctl.training import slurm

POLL_SECONDS = 0.1
STARTED = "CNNCTL_STARTED"  # says that stdin is a pipe from the process that started this one
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
BY_SIGNAL = 128  # what a shell adds to the number of the signal that ended a process
ENDED_WELL = (0, *(BY_SIGNAL + number for number in STOPS))


def rank() -> int:
    """The number of this process among those of the run; 0 where there is one only."""
    return int(os.environ.get("RANK", "0"))


def started() -> bool:
    """Whether this process was started as one of several, by us or by a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def adopt() -> None:
    """Take this process's place from srun, unless torchrun or we have given it one."""
    if "RANK" not in os.environ:
        os.environ.update(slurm.place())


def agree(device: Device, make: Callable[[], Path]) -> Path:
    """The run folder: made by the first process and told to the others.

    Raises UsageError if several machines are wanted and no launcher started this process, or
    if it started another number of processes; one process of them says so.
    """
    if not started():
        if device.num_nodes > 1:
            text = f"hardware.num_nodes={device.num_nodes} needs a launcher on every machine"
            torchrun = f"torchrun --nnodes={device.num_nodes} --nproc-per-node={device.local}"
            hint = f"{torchrun} --rdzv-endpoint=HOST:PORT -m cnnctl train …, or srun"
            raise UsageError(text, hint)
        return make()
    _match(device)
    join(device)
    told: list[str | None] = [None]
    try:
        if rank() == 0:
            told = [str(make())]
    finally:  # also where there is none: the others wait for it
        torch.distributed.broadcast_object_list(told)
    if told[0] is None:
        raise SystemExit(EXIT_FAILED)  # the first process says why
    return Path(told[0])


def _match(device: Device) -> None:
    world = int(os.environ["WORLD_SIZE"])
    local = int(os.environ.get("LOCAL_WORLD_SIZE", device.local))
    if (world, local) == (device.world, device.local):
        return
    if rank() > 0:
        raise SystemExit(EXIT_USER)
    text = f"the launcher started {world} processes, {local} on each machine, but hardware.devices"
    text += f" and num_nodes mean {device.local} on each of {device.num_nodes}"
    hint = f"hardware.devices={local} hardware.num_nodes={max(1, world // local)}"
    raise UsageError(text, f"{hint}; every process must see all GPUs of its machine")


def join(device: Device) -> None:
    """Meet the other processes; Lightning finds the group and uses it."""
    if torch.distributed.is_initialized():
        return
    if device.accelerator == "gpu":
        local = int(os.environ["LOCAL_RANK"])
        torch.cuda.set_device(local if isinstance(device.devices, int) else device.devices[local])
    # gloo beside nccl: what is told on the CPU waits for no GPU
    backend = "cpu:gloo,cuda:nccl" if device.accelerator == "gpu" else "gloo"
    torch.distributed.init_process_group(backend)
    atexit.register(_leave)


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def start(run: Path, device: Device, command: Sequence[str] | None = None) -> int:
    """Start one process per device and wait for all; returns 0, or 128 + the signal to stop.

    The first SIGINT, SIGTERM or SIGUSR1 goes to all of them, which then save and end; a second
    SIGINT or SIGTERM ends them at once, and so does the failure of one: the others would wait
    for it. If this process dies, they die with it (`watch`). Raises CnnctlError if one failed.
    """
    # -P: not the user's modules
    command = command or [sys.executable, "-P", "-m", "cnnctl", "_rank", str(run)]
    port = str(_free_port())
    threads = max(1, _cores() // device.local)  # more than cores is far slower
    quiet = {"TORCH_CPP_LOG_LEVEL": "ERROR"}  # each would warn that it measures its memory
    shared = {"OMP_NUM_THREADS": str(threads), **quiet, **os.environ, STARTED: "1"}
    world = {
        "WORLD_SIZE": str(device.world), "LOCAL_WORLD_SIZE": str(device.local),
        "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
    }  # fmt: skip
    children: list[subprocess.Popen[bytes]] = []
    with _signals() as came:
        try:
            for local in range(device.local):
                place = {"LOCAL_RANK": str(local), "RANK": str(local)}
                children.append(
                    subprocess.Popen(  # noqa: S603 - our own command
                        command, env={**shared, **world, **place},
                        stdin=subprocess.PIPE, start_new_session=True,
                    )
                )  # fmt: skip
            codes = _wait(children, came)
        finally:
            _kill(children)
    return _verdict(codes, came, run)


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Gather the signals that mean to stop; those that were ignored stay so."""
    came: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():  # Python has handlers there only
        before = {name: signal.getsignal(name) for name in STOPS}
        before = {name: kept for name, kept in before.items() if kept is not signal.SIG_IGN}
    for name in before:
        signal.signal(name, lambda number, _: came.append(number))
    try:
        yield came
    finally:
        for name, kept in before.items():
            signal.signal(name, kept)


def _wait(children: list[subprocess.Popen[bytes]], came: list[int]) -> list[int | None]:
    """Exit codes once all have ended, one has failed, or the user asked twice."""
    passed = False
    while True:
        codes = [child.poll() for child in children]
        failed = any(code not in (None, *ENDED_WELL) for code in codes)
        # Slurm sends SIGTERM after SIGUSR1, when they are still saving
        if failed or None not in codes or len([n for n in came if n != signal.SIGUSR1]) > 1:
            return codes
        if came and not passed:
            passed = True
            for child in children:
                child.send_signal(came[0])
        time.sleep(POLL_SECONDS)


def _kill(children: list[subprocess.Popen[bytes]]) -> None:
    """End those that have not ended well, with the processes of their data loaders."""
    for child in children:
        if child.poll() not in ENDED_WELL:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    for child in children:
        child.wait()
        assert child.stdin is not None
        child.stdin.close()


def _verdict(codes: list[int | None], came: list[int], run: Path) -> int:
    """The worst of the exit codes; None is a process that had to be killed."""
    first = came[0] if came else 0
    for number, code in enumerate(codes):
        if code is None or code in ENDED_WELL or (first and code == -first):
            continue  # -first: it had no handler yet, so there was nothing to save
        if code < 0:
            text = f"process {number} of the run was ended by {signal.Signals(-code).name}"
            raise CnnctlError(text, f"often for want of memory; run folder: {run}")
        raise CnnctlError("a process of the run failed", f"see the lines above; run folder: {run}")
    if any(code != 0 for code in codes) and first:
        return BY_SIGNAL + first
    return max(code or 0 for code in codes)


def watch() -> None:
    """Let this process end at once, with its data loader's, when the one that started it is gone.

    The pipe at stdin closes then, whatever ended the other; without a pipe nothing is watched.
    """
    if STARTED not in os.environ:
        return

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.killpg(os.getpid(), signal.SIGKILL)  # the leader of a session of its own

    threading.Thread(target=wait, daemon=True).start()


def _cores() -> int:
    """Those that this process may use: Slurm gives a job some of the machine's."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
