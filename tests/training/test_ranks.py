"""The processes of a run, with small ones in place of `cnnctl _rank`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnctl.devices import Device
from cnnctl.errors import CnnctlError, UsageError
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
STUBBORN = "listen(signal.SIG_IGN)"


@pytest.fixture(autouse=True)
def alone(monkeypatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "MASTER_", "LOCAL_", "NODE_RANK", ranks.STARTED)):
            monkeypatch.delenv(name)


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


@pytest.fixture
def meanwhile() -> Iterator[Callable[..., None]]:
    """Do something beside the main thread, which waits for the stubs."""
    threads: list[threading.Thread] = []

    def do(*steps: Callable[[], Any]) -> None:
        threads.append(threading.Thread(target=lambda: [step() for step in steps]))
        threads[-1].start()

    yield do
    for thread in threads:
        thread.join(30)


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def ready() -> None:
    wait("ready.0", "ready.1")


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


def test_every_process_knows_its_place_and_leads_a_session() -> None:
    told = "import json; note('told', json.dumps([dict(os.environ), os.getsid(0), os.getpid()]))"
    assert start(told, 3) == 0
    for number in range(3):
        environ, session, pid = json.loads(Path(f"told.{number}").read_text())
        names = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR")
        assert [environ[name] for name in names] == [
            str(number), str(number), "0", "3", "3", "127.0.0.1",
        ]  # fmt: skip
        assert int(environ["MASTER_PORT"]) > 1023
        assert session == pid


def test_the_cores_that_a_process_may_use_are_shared_out(monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(7)))
    assert start("note('threads', os.environ['OMP_NUM_THREADS'])", 3) == 0
    assert Path("threads.0").read_text() == "2"
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert start("note('threads', os.environ['OMP_NUM_THREADS'])", 3) == 0
    assert Path("threads.0").read_text() == "1"


@pytest.mark.parametrize(
    ("codes", "worst"), [((0, 0), 0), ((0, 143), 143), ((130, 0), 130), ((143, 130), 143)]
)
def test_the_worst_exit_code_counts(codes, worst) -> None:
    assert start(f"sys.exit({list(codes)}[int(rank)])") == worst


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)]
)
def test_the_first_signal_goes_to_all_which_save(meanwhile, number, code) -> None:
    meanwhile(ready, send(number))
    assert start("listen(save)") == code
    assert [Path(f"saved.{rank}").read_text() for rank in (0, 1)] == [str(int(number))] * 2


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (signal.SIGINT, signal.SIGINT, 130),
        (signal.SIGTERM, signal.SIGTERM, 143),
        (signal.SIGINT, signal.SIGTERM, 130),
        (signal.SIGTERM, signal.SIGINT, 143),
    ],
)
def test_the_second_signal_ends_them_at_once(meanwhile, first, second, code) -> None:
    noted = "note('pid', str(os.getpid())); "
    meanwhile(ready, send(first), lambda: time.sleep(0.3), send(second))
    assert start(noted + STUBBORN) == code
    wait_gone(*(int(Path(f"pid.{rank}").read_text()) for rank in (0, 1)))


def test_slurms_sigterm_after_sigusr1_does_not_disturb_saving(meanwhile) -> None:
    slow = """
def slowly(number, frame):
    if not has("heard"):
        note("heard", str(number))
        until("enough")
        save(number)
listen(slowly)
"""
    after = [wait_heard, send(signal.SIGTERM), lambda: time.sleep(0.3), enough]
    meanwhile(ready, send(signal.SIGUSR1), *after)
    assert start(slow) == 138
    assert Path("saved.0").read_text() == Path("saved.1").read_text() == str(int(signal.SIGUSR1))


def wait_heard() -> None:
    wait("heard.0", "heard.1")


def enough() -> None:
    for number in (0, 1):
        Path(f"enough.{number}").touch()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_there_is_anything_to_save_ends_them(meanwhile, number, code) -> None:
    meanwhile(ready, send(number))
    assert start("listen(signal.SIG_DFL)") == code


def test_one_that_is_not_ready_for_a_signal_does_not_let_the_other_wait(meanwhile) -> None:
    meanwhile(ready, send(signal.SIGTERM))
    assert start("listen(signal.SIG_DFL if rank == '1' else signal.SIG_IGN)") == 143


def test_a_failure_ends_the_others() -> None:
    code = "if rank == '1': until('ready'); sys.exit(1)\n"
    waits = "note('pid', str(os.getpid())); open('ready.1', 'w').close(); " + STUBBORN
    with pytest.raises(CnnctlError) as caught:
        start(code + waits)
    assert str(caught.value) == "a process of the run failed (see the lines above; run folder: run)"
    wait_gone(int(Path("pid.0").read_text()))


def test_a_killed_process_ends_the_others_and_their_loaders(meanwhile) -> None:
    loader = "note('loader', str(os.fork() or time.sleep(60)))\n"

    def kill() -> None:
        os.kill(int(Path("pid.1").read_text()), signal.SIGKILL)

    meanwhile(ready, kill)
    with pytest.raises(CnnctlError) as caught:
        start("note('pid', str(os.getpid()))\n" + loader + STUBBORN)
    assert str(caught.value) == (
        "process 1 of the run was ended by SIGKILL (often for want of memory; run folder: run)"
    )
    noted = [Path(f"{name}.{rank}").read_text() for name in ("pid", "loader") for rank in (0, 1)]
    wait_gone(*map(int, noted))


def test_a_failure_while_the_others_save_is_told(meanwhile) -> None:
    fails = "listen(save if rank == '0' else lambda *_: (until('late'), sys.exit(1)))"
    meanwhile(ready, send(signal.SIGTERM), lambda: wait("saved.0"), Path("late.1").touch)
    with pytest.raises(CnnctlError, match="a process of the run failed"):
        start(fails)


def test_handlers_are_put_back_and_ignored_signals_stay_ignored(meanwhile) -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    kept = [signal.getsignal(name) for name in ranks.STOPS]
    meanwhile(ready, send(signal.SIGUSR1), lambda: time.sleep(0.2), send(signal.SIGTERM))
    try:
        assert start("listen(save)") == 143
        assert Path("saved.0").read_text() == str(int(signal.SIGTERM))
        assert [signal.getsignal(name) for name in ranks.STOPS] == kept
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_thread_can_start_a_run(meanwhile) -> None:
    codes: list[int] = []
    meanwhile(lambda: codes.append(start("pass")), lambda: Path("done.0").touch())
    wait("done.0")
    assert codes == [0]


STARTER = """
import sys
from test_ranks import device, ranks
code = "import os, time; from cnnctl.training import ranks; ranks.watch(); "
code += "loader = os.fork(); open(f'pid.{os.getpid()}', 'w').close(); time.sleep(60)"
ranks.start("run", device(), [sys.executable, "-c", code])
"""


def test_if_the_starter_is_killed_its_processes_end_with_it() -> None:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen([sys.executable, "-c", STARTER], env=environ) as starter:
        end = time.monotonic() + 60
        while len(found := list(Path().glob("pid.*"))) < 4:  # two, and one of a loader of each
            assert starter.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        starter.kill()
    wait_gone(*(int(file.suffix[1:]) for file in found))


def test_nobody_is_watched_who_was_not_started() -> None:
    before = threading.active_count()
    ranks.watch()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("environ", "rank", "started"),
    [({}, 0, False), ({"RANK": "3", "WORLD_SIZE": "4"}, 3, True), ({"WORLD_SIZE": "1"}, 0, False)],
)
def test_a_process_knows_its_number(monkeypatch, environ, rank, started) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert (ranks.rank(), ranks.started()) == (rank, started)


@pytest.mark.parametrize(("given", "rank"), [({}, "1"), ({"RANK": "7"}, "7")])
def test_the_place_in_srun_is_taken_unless_there_is_another(monkeypatch, given, rank) -> None:
    monkeypatch.setattr(os, "environ", dict(given))
    monkeypatch.setattr(ranks.slurm, "place", lambda: {"RANK": "1", "WORLD_SIZE": "2"})
    ranks.adopt()
    assert os.environ["RANK"] == rank
    assert ("WORLD_SIZE" in os.environ) == (not given)


def test_without_a_launcher_the_run_folder_is_made_here() -> None:
    assert ranks.agree(device(), lambda: RUN) == RUN


def test_several_machines_need_a_launcher() -> None:
    with pytest.raises(UsageError) as caught:
        ranks.agree(device(4, num_nodes=2), lambda: RUN)
    assert str(caught.value) == (
        "hardware.num_nodes=2 needs a launcher on every machine (torchrun --nnodes=2 "
        "--nproc-per-node=4 --rdzv-endpoint=HOST:PORT -m cnnctl train …, or srun)"
    )


@pytest.mark.parametrize(
    ("world", "local", "wanted", "nodes", "hint"),
    [
        (4, 4, 2, 1, "hardware.devices=4 hardware.num_nodes=1"),
        (4, 4, 2, 2, "hardware.devices=4 hardware.num_nodes=1"),
        (8, 4, 1, 2, "hardware.devices=4 hardware.num_nodes=2"),
        (2, 1, 1, 1, "hardware.devices=1 hardware.num_nodes=2"),
    ],
)
def test_a_launcher_with_other_numbers_is_refused(
    monkeypatch, world, local, wanted, nodes, hint
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(world))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local))
    with pytest.raises(UsageError) as caught:
        ranks.agree(device(wanted, num_nodes=nodes), lambda: RUN)
    assert str(caught.value) == (
        f"the launcher started {world} processes, {local} on each machine, but hardware.devices "
        f"and num_nodes mean {wanted} on each of {nodes} "
        f"({hint}; every process must see all GPUs of its machine)"
    )
    monkeypatch.setenv("RANK", "1")  # one of them has said it
    with pytest.raises(SystemExit) as silent:
        ranks.agree(device(wanted, num_nodes=nodes), lambda: RUN)
    assert silent.value.code == 2


@pytest.mark.parametrize(("devices", "taken"), [(2, 1), ((0, 3), 3)])
def test_a_process_takes_its_gpu_before_it_meets_the_others(monkeypatch, devices, taken) -> None:
    done: list[Any] = []
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "set_device", done.append)
    monkeypatch.setattr(torch.distributed, "init_process_group", done.append)
    monkeypatch.setattr(ranks.atexit, "register", lambda _: None)
    ranks.join(device(devices, accelerator="gpu"))
    assert done == [taken, "cpu:gloo,cuda:nccl"]


AGREE = """
from pathlib import Path
from test_ranks import device, ranks
ranks.join(device())
told = ranks.agree(device(), lambda: Path(f"run_of_{ranks.rank()}"))
Path(f"told.{ranks.rank()}").write_text(str(told))
def fail():
    raise OSError("no folder")
try:
    ranks.agree(device(), fail)
except (OSError, SystemExit) as wrong:
    Path(f"wrong.{ranks.rank()}").write_text(repr(wrong))
"""


def test_all_processes_hear_of_the_folder_or_that_there_is_none(monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    assert ranks.start(RUN, device(), [sys.executable, "-c", AGREE]) == 0
    assert [Path(f"told.{rank}").read_text() for rank in (0, 1)] == ["run_of_0", "run_of_0"]
    assert Path("wrong.0").read_text() == "OSError('no folder')"
    assert Path("wrong.1").read_text() == "SystemExit(1)"
