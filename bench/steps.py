"""What cnnctl adds to a step of training, beside the same steps in loops written by hand.

    python bench/steps.py [ROUNDS] [--epochs N]

1. LeNet-5 on digits, one thread: images a second while it trains, against a loop of plain torch
   over tensors in memory that takes the same images in the same order; both end with the same
   weights, bit for bit.
2. One layer on eight digits, one thread: the CPU time of a step less that of the loop, on one
   device and as one of two processes that train together (DistributedDataParallel on the CPU).

cnnctl trains as `cnnctl train` does, with its bar, on a terminal of its own. The first epoch
does not count: it warms up both sides. The loops run without the variable that importing
Lightning sets: with it torch's Adam asks the driver for GPUs in every step, in any program.
Exits with 1 if a promise is not kept.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pairs
import pytorch_lightning as pl
import torch
from pairs import Cost
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from cnnctl import nets, runs, weights
from cnnctl.data.module import DataModule
from cnnctl.data.order import Order
from cnnctl.report import progress
from cnnctl.training import ranks, trainer
from cnnctl.training.start import Job

LEAST, AIM = 0.90, 0.97  # images a second, of those of the loop
MOST_ADDED = {"one device": 150, "two processes": 400}  # µs
PLAIN = ["augment=none", "schedule=constant", "hardware=cpu"]
LENET = [*PLAIN, "model=lenet5"]
LAYER = [*PLAIN, "model=mlp", "model.hidden=[]", "data.batch_size=8"]
PROCESSES = 2
LIGHTNINGS = "PYTORCH_NVML_BASED_CUDA_CHECK"


class Trained(NamedTuple):
    """The cost of all epochs but the first, and what it was for."""

    cost: Cost
    steps: int
    images: int
    sha256: str

    @property
    def step(self) -> float:
        """CPU time in µs."""
        return 1e6 * self.cost.cpu / self.steps


class Clock(pl.Callback):
    """Wall and CPU seconds of the training parts of epochs."""

    def __init__(self) -> None:
        self.epochs: list[Cost] = []
        self.began = Cost(0, 0)

    def on_train_epoch_start(self, *_: Any, **__: Any) -> None:
        """Start."""
        self.began = Cost(time.perf_counter(), time.process_time())

    def on_validation_start(self, *_: Any, **__: Any) -> None:
        """Stop."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.epochs.append(Cost(wall - self.began.wall, cpu - self.began.cpu))

    def trained(self, job: Job, sha256: str) -> Trained:
        """All epochs but the first."""
        epochs, plan = len(self.epochs) - 1, job.plan
        images = epochs * len(Order(plan.sizes["train"], 0, world=plan.device.world))
        cost = Cost(*(sum(side) for side in zip(*self.epochs[1:], strict=True)))
        return Trained(cost, epochs * plan.steps_per_epoch, images, sha256)


def ours(job: Job, folder: Path) -> Trained:
    """As `cnnctl train` does it."""
    clock = Clock()
    with _drawn():
        displays = progress.build("auto", job.plan)
        result = trainer.fit(job, folder, [*displays, clock])
    return clock.trained(job, result["weights_sha256"])


@contextmanager
def _drawn() -> Iterator[None]:
    """Standard error is a terminal that nobody looks at."""
    before = sys.stderr
    with pairs.terminal() as (end, _), os.fdopen(os.dup(end), "w") as screen:
        sys.stderr = screen
        try:
            yield
        finally:
            sys.stderr = before


def by_hand(job: Job, _: Path) -> Trained:
    """A loop of plain torch over tensors in memory, as in a program without Lightning."""
    told = os.environ.pop(LIGHTNINGS, None)
    try:
        return _loop(job)
    finally:
        if told is not None:
            os.environ[LIGHTNINGS] = told


def _loop(job: Job) -> Trained:
    plan = job.plan
    images, labels = _tensors(job)
    torch.manual_seed(plan.seed)
    net: nn.Module = nets.build(job.spec, num_classes=len(plan.classes), shape=plan.shape)
    world = plan.device.world
    model = DistributedDataParallel(net) if world > 1 else net
    optimizer = torch.optim.Adam(model.parameters(), lr=plan.lr, fused=True)
    order = Order(len(labels), plan.seed, world=world, rank=ranks.rank())
    clock = Clock()
    for epoch in range(plan.epochs):
        clock.on_train_epoch_start()
        total, hits = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for batch in torch.from_numpy(order.of(epoch)).split(plan.batch_size):
            wanted = labels[batch]
            logits = model(images[batch])
            loss = cross_entropy(logits, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(batch)
            hits += (logits.argmax(1) == wanted).sum()
        clock.on_validation_start()
    return clock.trained(job, weights.sha256(net.state_dict()))


def _tensors(job: Job) -> tuple[Tensor, Tensor]:
    """All images of train as the net sees them, and their labels."""
    module = DataModule(job.source, job.train)
    batches = [
        module.prepare(pixels) for some in module.evaluation("train") for pixels in some
    ]  # fmt: skip
    images, labels = (torch.cat(values) for values in zip(*batches, strict=True))
    return images, labels


SIDES: dict[str, Callable[[Job, Path], Trained]] = {"ours": ours, "theirs": by_hand}


def alone(side: str, words: list[str]) -> Trained:
    """One run in this process."""
    with tempfile.TemporaryDirectory() as outputs:
        job = pairs.prepared([*words, f"outputs={outputs}"])
        return SIDES[side](job, runs.create(outputs, "train", job.plan.model, job.plan.data))


def together(side: str, words: list[str]) -> Trained:
    """One run by two processes; the costs of both, and the steps of both."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    place |= {"WORLD_SIZE": str(PROCESSES), "NODE_RANK": "0", "OMP_NUM_THREADS": "1"}
    words = [*words, f"hardware.devices={PROCESSES}"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / runs.CHECKPOINTS).mkdir()
        children = [
            subprocess.Popen(
                [sys.executable, __file__, "--as", side, folder, *words],
                stdout=subprocess.PIPE, text=True,
                env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(PROCESSES)
        ]  # fmt: skip
        told = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        sys.exit("a process has failed")
    found = [json.loads(text.splitlines()[-1]) for text in told]
    walls, cpus = zip(*(one[0] for one in found), strict=True)
    steps, images = (sum(one[place] for one in found) for place in (1, 2))
    return Trained(Cost(max(walls), sum(cpus)), steps, images, found[0][3])


def one_of_several(side: str, folder: str, words: list[str]) -> None:
    """What `together` starts."""
    if side == "theirs":
        torch.distributed.init_process_group("gloo")
    print(json.dumps(SIDES[side](pairs.prepared(words), Path(folder))))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def speed(rounds: int, epochs: int) -> bool:
    """Print the images a second of LeNet-5; whether the promises are kept."""
    words = [*LENET, f"trainer.max_epochs={epochs}"]
    turns = [{side: alone(side, words) for side in SIDES} for _ in range(rounds + 1)][1:]
    images = turns[0]["ours"].images
    table = pairs.Table("LeNet-5 on digits, one thread", rounds, unit="images/s", work=images)
    costs = [{side: run.cost for side, run in turn.items()} for turn in turns]
    table.row(f"training steps, aim {AIM}", costs, ("ours", "theirs"), LEAST)
    same = len({run.sha256 for turn in turns for run in turn.values()}) == 1
    print(f"weights after {epochs} epochs: {'the same, bit for bit' if same else 'NOT THE SAME'}")
    return table.kept and same


def added(rounds: int, epochs: int) -> bool:
    """Print the CPU time that a step of one layer takes; whether the promises are kept."""
    print(f"\none layer, 8 images, one thread: CPU time of a step, medians of {rounds} pairs")
    print(f"{'':24}{'ours':>10}{'theirs':>10}{'added':>10}  promise")
    kept = True
    words = [*LAYER, f"trainer.max_epochs={epochs}"]
    for name, run in {"one device": alone, "two processes": together}.items():
        warm = int(run is alone)  # a process of its own is as cold every time
        turns = [{side: run(side, words).step for side in SIDES} for _ in range(rounds + warm)]
        mine, hand = (median(turn[side] for turn in turns[warm:]) for side in SIDES)
        more = median(turn["ours"] - turn["theirs"] for turn in turns[warm:])
        told = f"  ≤ {MOST_ADDED[name]} µs{'' if more <= MOST_ADDED[name] else '  NOT KEPT'}"
        kept &= more <= MOST_ADDED[name]
        print(f"{name:24}{mine:>7.0f} µs{hand:>7.0f} µs{more:>7.0f} µs{told}", flush=True)
    return kept


def main() -> int:
    """Measure; returns 1 if a promise is not kept."""
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["--as"]:
        one_of_several(sys.argv[2], sys.argv[3], sys.argv[4:])
        return 0
    parser = pairs.arguments(__doc__)
    parser.add_argument("--epochs", type=int, default=11, help="of every run (%(default)s)")
    given = parser.parse_args()
    kept = [speed(given.rounds, given.epochs), added(given.rounds, given.epochs)]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
