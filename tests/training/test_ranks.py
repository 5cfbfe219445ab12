"""The processes of a run, with small ones in place of `cnnctl _rank`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import stubs
import torch
from stubs import RUN, device, start, wait_gone

from cnnctl.errors import UsageError
from cnnctl.training import ranks

TESTS = str(Path(stubs.__file__).parent)


@pytest.fixture(autouse=True)
def alone(monkeypatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "MASTER_", "LOCAL_", "NODE_RANK", ranks.STARTED)):
            monkeypatch.delenv(name)


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


STARTER = """
import sys
from stubs import device, ranks
code = "import os, time; from cnnctl.training import ranks; ranks.watch(); "
code += "loader = os.fork(); open(f'pid.{os.getpid()}', 'w').close(); time.sleep(60)"
ranks.start("run", device(), [sys.executable, "-c", code])
"""


def test_if_the_starter_is_killed_its_processes_end_with_it() -> None:
    environ = {**os.environ, "PYTHONPATH": TESTS}
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
from stubs import device, ranks
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
    monkeypatch.setenv("PYTHONPATH", TESTS)
    assert ranks.start(RUN, device(), [sys.executable, "-c", AGREE]) == 0
    assert [Path(f"told.{rank}").read_text() for rank in (0, 1)] == ["run_of_0", "run_of_0"]
    assert Path("wrong.0").read_text() == "OSError('no folder')"
    assert Path("wrong.1").read_text() == "SystemExit(1)"
