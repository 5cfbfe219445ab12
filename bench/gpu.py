"""ResNet-50 on a GPU: images a second beside a compiled loop written by hand.

    python bench/gpu.py [ROUNDS] [--batch-size N] [--steps N]

224x224, bfloat16, channels_last, compiled, SGD. cnnctl trains on `data=fake`: noise that is read
from memory as uint8, copied to the device and normalised there, as any cached set would be. The
loop has the same net and a few normalised batches that stay on the device, so that it is the
limit. The first steps compile and do not count. Then the share of the largest product of
matrices that this GPU is measured to make in bfloat16. Exits with 1 if the promise is not
kept, with 0 where there is no GPU.
"""

from __future__ import annotations

import sys
import tempfile
import time
from statistics import median
from typing import Any

import pairs
import pytorch_lightning as pl
import torch
from pairs import Cost, Table
from torch.nn.functional import cross_entropy

from cnnctl import nets, runs
from cnnctl.training import trainer
from cnnctl.training.start import Job

LEAST = 0.97
WARM = 20  # steps
SIDE = 8192  # of the square matrices
PRODUCTS = 20
RESIDENT = 4  # batches of the loop
PASSES = 3  # forward, and twice as much backward
TERA = 1e12
WORDS = [
    "model=resnet50", "data=fake", "data.classes=1000", "augment=none",
    "data.val_fraction=0.02", "data.test_fraction=0.02", "optimizer=sgd", "schedule=constant",
    "hardware=gpu", "trainer.compile=true", "trainer.channels_last=true", "progress=none",
]  # fmt: skip


class Clock(pl.Callback):
    """Wall and CPU seconds from step WARM to the end of training."""

    def __init__(self) -> None:
        self.began: tuple[Cost, int] | None = None
        self.cost = Cost(0, 0)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Start once it is warm; several steps may have been made."""
        if self.began is None and trainer.global_step >= WARM:
            self.began = _now(), trainer.global_step

    def on_validation_start(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Stop; the seconds are those of one step."""
        if self.began is not None and not self.cost.wall:
            now, (began, step) = _now(), self.began
            made = trainer.global_step - step
            self.cost = Cost((now.wall - began.wall) / made, (now.cpu - began.cpu) / made)


def _now() -> Cost:
    torch.cuda.synchronize()
    return Cost(time.perf_counter(), time.process_time())


def ours(job: Job, peaks: list[int]) -> Cost:
    """The cost of one step, as `cnnctl train` makes it; `peaks` gets the bytes it has used."""
    torch.compiler.reset()  # or a third net of the same class would not be compiled any more
    clock = Clock()
    with tempfile.TemporaryDirectory() as outputs:
        folder = runs.create(outputs, "train", job.plan.model, job.plan.data)
        torch.cuda.reset_peak_memory_stats()
        peaks.append(trainer.fit(job, folder, [clock])["peak_memory_bytes"])
    return clock.cost


def by_hand(job: Job) -> Cost:
    """The cost of one step of a loop over batches that are on the device."""
    torch.compiler.reset()
    plan, before = job.plan, torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    net = nets.build(job.spec, num_classes=len(plan.classes), shape=plan.shape)
    net.to("cuda").to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's annotation lacks it
    net.compile()
    optimizer = torch.optim.SGD(
        net.parameters(), lr=plan.lr, momentum=0.9, weight_decay=1e-4, fused=True
    )  # fmt: skip
    shape = (plan.batch_size, *plan.shape)
    batches = [
        torch.randn(shape, device="cuda").contiguous(memory_format=torch.channels_last)
        for _ in range(RESIDENT)
    ]
    labels = torch.randint(len(plan.classes), (plan.batch_size,), device="cuda")
    began = _now()
    for step in range(plan.steps):
        if step == WARM:
            began = _now()
        with torch.autocast("cuda", torch.bfloat16):
            loss = cross_entropy(net(batches[step % RESIDENT]), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    now, made = _now(), plan.steps - WARM
    torch.backends.cudnn.benchmark = before
    return Cost((now.wall - began.wall) / made, (now.cpu - began.cpu) / made)


def ceiling() -> float:
    """Operations a second of a product of two large matrices in bfloat16, the best of three."""
    left, right = (torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16) for _ in "ab")
    seconds = []
    for _ in range(4):  # the first one warms up
        began = _now()
        for _ in range(PRODUCTS):
            torch.matmul(left, right)
        seconds.append(_now().wall - began.wall)
    return PRODUCTS * 2 * SIDE**3 / min(seconds[1:])


def main() -> int:
    """Measure; returns 1 if the promise is not kept."""
    parser = pairs.arguments(__doc__)
    parser.add_argument("--batch-size", type=int, default=256, help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=200, help="that count (%(default)s)")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("needs a GPU")
        return 0
    steps, size = WARM + given.steps, given.batch_size
    enough = round(steps * size / 0.95)  # all steps within one epoch, val and test beside them
    count = [f"data.images={enough}", f"trainer.max_steps={steps}", f"data.batch_size={size}"]
    job = pairs.prepared([*WORDS, *count])
    peaks: list[int] = []
    sides = {"ours": lambda: ours(job, peaks), "theirs": lambda: by_hand(job)}
    turns = pairs.in_turn(sides, given.rounds)
    title = f"ResNet-50, {torch.cuda.get_device_name()}, batches of {size}"
    table = Table(title, given.rounds, unit="images/s", work=size)
    table.row("bfloat16, channels_last, compiled", turns, ("ours", "theirs"), LEAST, by="wall")
    speed = size / median(turn["ours"].wall for turn in turns)
    made, most = 2 * PASSES * job.plan.macs * speed, ceiling()
    shares = f"{made / TERA:,.0f} of {most / TERA:,.0f} TFLOP/s = {made / most:.1%}"
    print(f"cnnctl makes {shares} of the measured product of matrices")
    print(f"cnnctl's peak of memory: {median(peaks) / 2**30:.1f} GiB")
    return 0 if table.kept else 1


if __name__ == "__main__":
    sys.exit(main())
