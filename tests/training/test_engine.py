from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from torch import nn

from cnnctl.devices import Device
from cnnctl.training import engine, noise


def device(**changes: Any) -> Device:
    usual = {
        "accelerator": "cpu", "devices": 1, "num_nodes": 1, "precision": "32-true",
        "strategy": "auto", "sync_batchnorm": False, "deterministic": True,
        "matmul": "highest", "name": "cpu",
    }  # fmt: skip
    return Device(**(usual | changes))


@pytest.fixture(autouse=True)
def switches(monkeypatch):
    """What torch keeps for the process is put back after each test."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC", "LOCAL_", "CUBLAS_")):
            monkeypatch.delenv(name)
    before = torch.get_float32_matmul_precision(), torch.get_deterministic_debug_mode()
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.set_deterministic_debug_mode(before[1])


def build(**changes: Any) -> pl.Trainer:
    return engine.build(device(**changes), logger=False)


@pytest.mark.parametrize(("strategy", "devices"), [("auto", 1), ("ddp", 1), ("fsdp", 1)])
def test_one_device_needs_no_strategy(strategy, devices) -> None:
    trainer = build(strategy=strategy, devices=devices)
    assert type(trainer.strategy) is SingleDeviceStrategy


@pytest.mark.parametrize("strategy", ["auto", "ddp"])
def test_several_processes_are_those_of_the_environment(monkeypatch, strategy) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("NODE_RANK", "1")
    trainer = build(strategy=strategy, devices=2, num_nodes=2)
    assert type(trainer.strategy) is DDPStrategy
    assert (trainer.world_size, trainer.global_rank, trainer.local_rank) == (4, 3, 1)


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "x"},
        {"TORCHELASTIC_RUN_ID": "x", "GROUP_RANK": "0", "WORLD_SIZE": "2", "RANK": "1"},
    ],
    ids=["srun", "torchrun"],
)
def test_lightning_looks_for_no_launcher(monkeypatch, variables) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_RANK", "1")
    trainer = build(devices=2)
    environment = trainer._accelerator_connector.cluster_environment
    assert type(environment) is engine.Environment
    assert (trainer.global_rank, environment.creates_processes_externally) == (1, True)


def test_the_environment_is_kept_for_the_next_run(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    engine.Environment().teardown()
    assert os.environ["WORLD_SIZE"] == "2"


def test_lightning_handles_no_signal() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    seen = []

    class Task(pl.LightningModule):
        def training_step(self, *_: Any) -> None:
            seen.append([signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)])

    task = Task()
    task.automatic_optimization = False
    task.configure_optimizers = lambda: torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    trainer = engine.build(device(), logger=False, max_epochs=1)
    with noise.quiet():
        trainer.fit(task, torch.utils.data.DataLoader([0.0], num_workers=0))
    assert seen == [before]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before


def test_only_several_processes_go_without_the_word_about_sigterm() -> None:
    def own(trainer: pl.Trainer) -> bool:
        loop: Any = trainer.fit_loop.epoch_loop
        return "_broadcast_sigterm_tensor" in vars(loop)

    assert (own(build()), own(build(devices=2))) == (False, True)


def test_options_reach_the_trainer_and_it_keeps_quiet() -> None:
    trainer = engine.build(device(), logger=False, max_epochs=3, max_steps=7)
    assert (trainer.max_epochs, trainer.max_steps, trainer.num_sanity_val_steps) == (3, 7, 0)
    assert trainer.progress_bar_callback is None
    assert trainer.checkpoint_callback is None


def test_batch_norms_are_joined_if_wanted() -> None:
    def layers(*, wanted: bool) -> Any:
        return build(devices=2, sync_batchnorm=wanted).strategy._layer_sync

    assert layers(wanted=False) is None
    joined = layers(wanted=True).apply(nn.Sequential(nn.BatchNorm2d(2)))
    assert type(joined[0]) is nn.SyncBatchNorm


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
def test_the_precision_is_that_of_the_device(precision) -> None:
    assert build(precision=precision).precision == precision


def test_a_cpu_asks_no_driver(monkeypatch) -> None:
    monkeypatch.setenv(engine.ASKS, "1")
    build()
    assert engine.ASKS not in os.environ


def test_shared_weights_are_those_of_the_net_alone(monkeypatch) -> None:
    """Without a GPU: what FSDP is told, and that the task itself stays as it is."""
    told: dict[str, Any] = {}

    class Shared(nn.Module):
        def __init__(self, net: nn.Module, **options: Any) -> None:
            super().__init__()
            self.net = net
            told.update(options)

    monkeypatch.setattr(engine, "FullyShardedDataParallel", Shared)
    monkeypatch.setattr("torch.distributed.fsdp.FullyShardedDataParallel", Shared)
    strategy = engine._strategy(device(accelerator="gpu", devices=2, strategy="fsdp"))
    assert isinstance(strategy, engine.Sharded)
    assert strategy._state_dict_type == "full"
    strategy.parallel_devices = [torch.device("cpu")]
    strategy.cluster_environment = engine.Environment()
    task = nn.Module()
    net = task.net = nn.Sequential(nn.Linear(2, 2))
    assert strategy._setup_model(task) is task
    assert isinstance(task.net, Shared)
    assert task.net.net is net
    assert told["sync_module_states"]
    assert told["use_orig_params"]
    assert told["device_id"] == torch.device("cpu")
    small, large = nn.Linear(10, 10), nn.Linear(1024, 1024)
    wraps = told["auto_wrap_policy"]
    assert not wraps(small, recurse=False, nonwrapped_numel=110)
    assert wraps(large, recurse=False, nonwrapped_numel=engine.SHARD)
