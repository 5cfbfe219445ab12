from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cnnctl.audit.budget import CONTEXT
from cnnctl.devices import Device
from cnnctl.training import available as module
from cnnctl.training.available import available

GB = 10**9
MEMINFO = "MemTotal:       24684336 kB\nMemFree:         8000000 kB\nMemAvailable:    16000000 kB\n"
WHOLE = 16_000_000 * 1024
UNLIMITED = 9223372036854771712  # of version 1


def device(accelerator: str = "cpu", devices: int | tuple[int, ...] = 1) -> Device:
    fields = dict.fromkeys(Device.__dataclass_fields__)
    return Device(**fields | {"accelerator": accelerator, "devices": devices, "num_nodes": 1})


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch) -> None:
    """A machine with 16 GB available, in no control group, without limits."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text(MEMINFO)
    monkeypatch.setattr(module, "PROC", tmp_path / "proc")
    monkeypatch.setattr(module, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)


def group(version: int, folder: Path, limit: int | str, used: int, cached: int) -> None:
    names = module.VERSIONS[version]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 17\n{names[2]} {cached}\n")


def inside(tmp_path: Path, text: str) -> None:
    (tmp_path / "proc" / "self" / "cgroup").write_text(text)


def test_a_process_has_its_share_of_what_the_machine_has() -> None:
    assert available(device()) == WHOLE
    assert available(device(devices=4)) == WHOLE // 4


def test_without_linux_it_is_all_the_memory_there_is(tmp_path, monkeypatch) -> None:
    (tmp_path / "proc" / "meminfo").unlink()
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.get)
    assert available(device()) == 4_096_000


@pytest.mark.parametrize(
    ("version", "text", "top"),
    [
        (2, "0::/user/run\n", ""),
        (1, "9:name=systemd:/\n4:memory:/user/run\n1:cpu,cpuacct:/\n", "memory"),
    ],
)
def test_the_limit_of_a_container_counts_without_what_is_only_cached(
    tmp_path, version, text, top
) -> None:
    inside(tmp_path, text)
    run = tmp_path / "cgroup" / top / "user" / "run"
    group(version, run, 4 * GB, 3 * GB, GB // 2)
    assert available(device()) == GB + GB // 2
    group(version, run.parent, 5 * GB, 5 * GB, GB)  # the group around it is fuller
    assert available(device(devices=2)) == GB // 2


@pytest.mark.parametrize(("version", "text"), [(2, "0::/a/b\n"), (1, "4:memory:/a/b\n")])
def test_a_container_may_see_itself_as_the_top(tmp_path, version, text) -> None:
    inside(tmp_path, text)
    group(version, tmp_path / "cgroup" / ("memory" if version == 1 else ""), GB, 0, 0)
    assert available(device()) == GB


@pytest.mark.parametrize(
    ("version", "limit", "text"), [(2, "max", "0::/a\n"), (1, UNLIMITED, "4:memory:/a\n")]
)
def test_a_group_without_a_limit_leaves_everything(tmp_path, version, limit, text) -> None:
    inside(tmp_path, text)
    group(version, tmp_path / "cgroup" / ("memory" if version == 1 else "") / "a", limit, GB, 0)
    assert available(device()) == WHOLE


def test_a_group_of_another_kind_has_no_memory(tmp_path) -> None:
    inside(tmp_path, "3:cpuset:/a\n0::/\n")
    group(1, tmp_path / "cgroup" / "memory" / "a", GB, 0, 0)
    assert available(device()) == WHOLE


def test_the_limit_of_the_address_space_is_each_process_its_own(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2 * GB, -1))
    assert available(device(devices=4)) == 2 * GB
    (tmp_path / "proc" / "self" / "statm").write_text("1000 500 3 1 0 7 0\n")
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096}.get)
    assert available(device(devices=4)) == 2 * GB - 4_096_000


@pytest.mark.parametrize(
    ("devices", "local", "number"), [(1, None, 0), ((3,), None, 3), (2, "1", 1), ((3, 5), "1", 5)]
)
def test_a_gpu_has_what_others_leave_and_what_we_hold(monkeypatch, devices, local, number) -> None:
    if local is not None:
        monkeypatch.setenv("LOCAL_RANK", local)
    asked = []
    monkeypatch.setattr(
        torch.cuda, "mem_get_info", lambda it: asked.append(it) or (9 * GB, 80 * GB)
    )
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda it: asked.append(it) or GB)
    assert available(device("gpu", devices)) == 10 * GB + CONTEXT
    assert asked == [number, number]


def test_a_gpu_has_no_more_than_all_its_memory(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (80 * GB, 80 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 0)
    assert available(device("gpu")) == 80 * GB


def test_apples_gpu_is_asked_what_it_recommends(monkeypatch) -> None:
    mps = SimpleNamespace(
        recommended_max_memory=lambda: 8 * GB, driver_allocated_memory=lambda: GB
    )  # fmt: skip
    monkeypatch.setattr(torch, "mps", mps)
    assert available(device("mps")) == 7 * GB


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit that is kept")
def test_here_and_now_it_is_a_sum_that_can_be_had() -> None:
    code = """
import resource, torch
from cnnctl.devices import Device
from cnnctl.training.available import available
fields = dict.fromkeys(Device.__dataclass_fields__) | {"accelerator": "cpu", "devices": 1}
cpu = Device(**fields | {"num_nodes": 1})
free = available(cpu)
resource.setrlimit(resource.RLIMIT_AS, (10**10, 10**10))
less = available(cpu)
try:
    torch.empty(less + 10**8, dtype=torch.uint8)
except RuntimeError:
    print(less < free or free < 10**9, torch.empty(less - 10**8, dtype=torch.uint8).numel() > 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True True\n", "")
