from __future__ import annotations

import platform
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

import cnnctl
from cnnctl.devices import Device
from cnnctl.training import provenance


@pytest.fixture
def repository(monkeypatch) -> str:
    """A repository with one commit in the working folder; returns the commit."""
    for name in ("GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    Path("file").write_text("one\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "file"], [*who, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *words], check=True)
    asked = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return asked.stdout.strip()


def test_the_versions_are_those_that_are_installed() -> None:
    names = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy")
    expected = {name: metadata.version(name) for name in names}
    expected |= {"cnnctl": cnnctl.__version__, "python": platform.python_version()}
    assert provenance.versions() == expected


def test_a_clean_repository_gives_its_commit(repository) -> None:
    assert provenance.git() == {"commit": repository, "dirty": False}
    Path("new").write_text("untracked files change nothing\n")
    assert provenance.git() == {"commit": repository, "dirty": False}


def test_a_changed_file_makes_it_dirty(repository) -> None:
    Path("file").write_text("two\n")
    assert provenance.git() == {"commit": repository, "dirty": True}


def test_outside_a_repository_there_is_no_commit(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git() is None


def test_a_machine_without_git_has_no_commit(repository, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.git() is None


def device(accelerator: str) -> Device:
    return Device(
        accelerator=accelerator, devices=1, num_nodes=1, precision="32-true", strategy="auto",
        name="x", sync_batchnorm=False, deterministic=True, matmul="highest",
    )  # fmt: skip


def test_the_peak_of_a_cpu_is_that_of_the_process_itself_and_not_of_its_parent() -> None:
    held = torch.ones(2**28)  # 1 GiB here, nothing of it there
    assert provenance.peak_memory(device("cpu")) > held.nbytes + 2**27
    code = (
        "from cnnctl.training import provenance; from types import SimpleNamespace as S; "
        "print(provenance.peak_memory(S(accelerator='cpu')))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 2**27 < int(told.stdout) < held.nbytes


def test_a_mac_counts_bytes(monkeypatch) -> None:
    monkeypatch.setattr(provenance.sys, "platform", "darwin")
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert provenance.peak_memory(device("cpu")) >= found


def test_the_peak_of_a_gpu_is_what_torch_held(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 12_345)
    assert provenance.peak_memory(device("gpu")) == 12_345
