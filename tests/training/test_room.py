from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo import on_meta

from cnnctl.audit.budget import CONTEXT
from cnnctl.audit.step import Setting, measure
from cnnctl.errors import TrainingError
from cnnctl.tasks.gradient import is_oom
from cnnctl.training import room

GB = 10**9
RESNET = ("model=resnet20", "optimizer=sgd", "data.batch_size=500")
NOTED = "; batch normalisation takes its statistics over a piece, not over the whole batch"
PROVOKED = """
import resource, torch
from cnnctl.tasks.gradient import is_oom
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2 * 10**8, used + 2 * 10**8))
for provoke in (
    lambda: torch.empty(10**9),
    lambda: torch.nn.Conv2d(8, 64, 3)(torch.zeros(64, 8, 128, 128)),
    lambda: bytearray(10**10),
    lambda: torch.zeros(2, 3) @ torch.zeros(2, 3),
):
    try:
        provoke()
    except Exception as error:
        print(type(error).__name__, is_oom(error))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a limit that is kept")
def test_real_errors_of_a_cpu_without_memory_are_known() -> None:
    words = [sys.executable, "-c", PROVOKED]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    known = ["RuntimeError True", "RuntimeError True", "MemoryError True", "RuntimeError False"]
    assert (done.stdout.splitlines(), done.stderr) == (known, "")


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError(28, "No space left on device"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_errors_are_known_by_their_class_or_their_words(error, known) -> None:
    assert is_oom(error) is known


@pytest.mark.parametrize(
    ("name", "there"), [("resnet20", True), ("densenet121", True), ("vgg16", False)]
)
def test_nets_with_batch_statistics_are_known(name, there) -> None:
    net = on_meta(name).train()
    assert room.has_batchnorm(net) is there
    assert room.has_batchnorm(net.eval()) is False


def test_what_fits_is_not_worth_a_line(prepare) -> None:
    plan = prepare("data.batch_size=500").plan
    peak = plan.memory["peak"]
    assert room.tight(plan, peak) is None
    assert room.tight(plan, peak - 1) == (
        f"a step on 500 images takes {room.size(peak)}, as predicted, "
        f"and this machine's memory has {room.size(peak)} left"
    )


def test_on_a_gpu_what_is_no_tensor_is_taken_off_too(prepare) -> None:
    plan = prepare("data.batch_size=1").plan
    device = replace(plan.device, accelerator="gpu", name="H200")
    plan, peak = replace(plan, device=device), plan.memory["peak"]
    reserve = CONTEXT + int(0.06 * peak)
    assert room.tight(plan, peak + reserve) is None
    found = room.tight(plan, peak + reserve - 1)
    assert found is not None
    text = r"a step on one image takes . MB, as predicted, and the GPU \(H200\) has .*"
    assert re.fullmatch(text, found)


@pytest.mark.parametrize(
    ("overrides", "share"),
    [(RESNET, 0.5), (("data.batch_size=1000",), 0.3), (("data.batch_size=1000",), 0.9)],
)
def test_the_batch_that_is_advised_fits_and_is_the_same_step(prepare, overrides, share) -> None:
    job = prepare(*overrides)
    has = int(job.plan.memory["peak"] * share)
    error = room.advice(job.train, job.spec, job.plan, has)
    batch_size, accumulate = map(int, re.findall(r"=(\d+)", error.hint or ""))
    assert batch_size * accumulate == job.plan.memory["batch_size"]
    net = on_meta(job.plan.model, job.plan.shape, len(job.plan.classes))
    setting = Setting(batch_size, job.train.optimizer, channels_last=True, accumulate=accumulate)
    assert measure(net, job.plan.shape, setting).peak <= has
    assert batch_size <= room.largest(job.train, job.spec, job.plan, has)


def test_the_advice_is_one_line(prepare) -> None:
    job = prepare(*RESNET)
    error = room.advice(job.train, job.spec, job.plan, GB // 2)
    assert isinstance(error, TrainingError)
    assert re.fullmatch(
        r"out of memory: a step on 500 images takes \d+ MB, as predicted, "
        r"and this machine's memory has 500 MB left "
        rf"\(data\.batch_size=250 trainer\.accumulate=2, or on_oom=split{NOTED}\)",
        str(error),
    )


def test_where_it_was_promised_to_fit_half_of_it_is_advised(prepare) -> None:
    job = prepare("data.batch_size=100", "trainer.accumulate=3", "on_oom=split")
    hint = room.advice(job.train, job.spec, job.plan, 100 * GB).hint
    assert hint == "data.batch_size=50 trainer.accumulate=6"


def test_several_devices_are_not_told_to_split(prepare) -> None:
    job = prepare("data.batch_size=100")
    plan = replace(job.plan, device=replace(job.plan.device, devices=2))
    error = room.advice(job.train, job.spec, plan, 100 * GB)
    assert error.hint == "data.batch_size=50 trainer.accumulate=2"
    assert "one process's share of the memory has 100.0 GB" in error.message


@pytest.mark.parametrize(
    ("overrides", "has"), [(RESNET, 1000), (("model=mlp", "data.batch_size=1"), 100 * GB)]
)
def test_where_no_image_fits_something_else_has_to_change(prepare, overrides, has) -> None:
    job = prepare(*overrides)
    assert room.advice(job.train, job.spec, job.plan, has).hint == room.NOTHING


def test_a_batch_that_batch_normalisation_refuses_is_not_advised(prepare) -> None:
    job = prepare("model=resnet18", "data.batch_size=4")
    peak = {"batch_size": 2, "peak": job.plan.memory["peak"]}
    plan = replace(job.plan, memory=job.plan.memory | peak)
    hint = room.advice(job.train, job.spec, plan, job.plan.memory["weights"] * 2).hint
    assert hint == room.NOTHING


@pytest.mark.parametrize(
    ("images", "most", "expected"),
    [
        (512, 200, (128, 4)),
        (512, 512, (512, 1)),
        (512, 1, (1, 512)),
        (100, 99, (50, 2)),
        (509, 200, (170, 3)),  # a prime: a few images more
        (1, 5, (1, 1)),
    ],
)
def test_a_step_is_cut_into_whole_parts(images, most, expected) -> None:
    assert room.parts(images, most) == expected


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000))
def test_no_part_is_larger_than_what_fits_and_few_images_are_added(images, most) -> None:
    batch_size, accumulate = room.parts(images, most)
    assert 1 <= batch_size <= most
    assert images <= batch_size * accumulate < images + accumulate


@pytest.mark.parametrize(
    ("bytes_", "text"), [(0, "0 MB"), (1_500_000, "2 MB"), (GB - 1, "1000 MB"), (GB, "1.0 GB")]
)
def test_sizes_have_their_unit(bytes_, text) -> None:
    assert room.size(bytes_) == text


def test_a_frozen_batch_norm_does_not_count() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    assert room.has_batchnorm(net)
    net[1].eval()
    assert not room.has_batchnorm(net)
