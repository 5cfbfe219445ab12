from __future__ import annotations

import gc

import pytest
import torch
from torch import nn

from cnnctl.latency import memory

CPU = torch.device("cpu")


def test_it_is_the_most_at_one_time() -> None:
    def run() -> None:
        one = torch.empty(1000)
        other = torch.empty(500)
        del one
        third = torch.empty(100)
        del other, third

    assert memory.peak(run, CPU) == 6000


def test_what_is_older_does_not_count() -> None:
    kept = torch.empty(1000)
    assert memory.peak(kept.neg_, CPU) == 0


def test_a_pass_keeps_two_neighbours_at_a_time() -> None:
    net = nn.Sequential(*(nn.ReLU() for _ in range(5)))
    images = torch.zeros(1, 1, 50, 50)
    with torch.inference_mode():
        assert memory.peak(lambda: net(images), CPU) == 2 * images.nbytes


def test_an_error_leaves_no_profiler_behind() -> None:
    def fails() -> None:
        raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            memory.peak(fails, CPU)
        assert gc.isenabled()
    assert memory.peak(lambda: None, CPU) == 0


def test_a_gpu_keeps_its_own_peak(monkeypatch) -> None:
    done = []
    for name, value in (("memory_allocated", 300), ("max_memory_allocated", 1000)):
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: done.append("reset"))
    assert memory.peak(lambda: done.append("run"), torch.device("cuda:0")) == 700
    assert done == ["reset", "run"]


def test_others_are_not_asked() -> None:
    assert memory.peak(lambda: None, torch.device("mps")) is None
