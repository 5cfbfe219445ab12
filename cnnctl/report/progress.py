"""What is seen while a net trains: a live bar on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from cnnctl.config import tasks
from cnnctl.plan import Plan
from cnnctl.report.format import clock, count, number, percent
from cnnctl.tasks.task import Task
from cnnctl.training import ranks
from cnnctl.training.callbacks import EpochRecord

FIGURES = 78  # columns beside the bar, and a few for the ^C that a terminal echoes
SHORTEST, LONGEST = 4, 40  # columns of the bar
PATIENCE = 0.5  # seconds that nobody needs to be told about
EVERY = 10  # seconds between two lines where there is no bar
REDRAWS = 0.1  # seconds between two; more would cost time, fewer would look stuck


def build(mode: str, plan: Plan) -> list[pl.Callback]:
    """The display for `progress=auto|rich|plain|none`; auto looks at stderr."""
    console = Console(stderr=True)
    if mode == "auto":
        mode = "rich" if console.is_terminal and not console.is_dumb_terminal else "plain"
    if mode == "none" or ranks.rank() > 0:
        return []
    return [LiveBar(console, plan) if mode == "rich" else PlainLines(plan)]


def notice(displays: list[pl.Callback]) -> Callable[[str], None]:
    """How to say a line while it trains: above a bar, if there is one."""
    for display in displays:
        if isinstance(display, PlainLines):
            return display.notice
    return _say if ranks.rank() == 0 else lambda _: None


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # a reader that has gone ends no training
        print(f"cnnctl: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def reading(mode: str) -> Iterator[Callable[[str, int, int], None]]:
    """Shows what takes a while before the plan, once it does: work, images so far, in all."""
    console = Console(stderr=True)
    live = mode == "rich" or (
        mode == "auto" and not console.is_dumb_terminal and console.is_terminal
    )
    began = said = time.perf_counter()
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(LONGEST),
        TextColumn("{task.completed:,}/{task.total:,} images"), TimeRemainingColumn(),
        console=console, transient=True, disable=not live,
    )  # fmt: skip
    bars: dict[tuple[str, int], TaskID] = {}

    def tell(work: str, done: int, images: int) -> None:
        nonlocal said
        now = time.perf_counter()
        if mode == "none" or ranks.rank() > 0 or now - began < PATIENCE:
            return
        if live:
            if (work, images) not in bars:
                bar.start()
                bars[work, images] = bar.add_task(work, total=images)
            bar.update(bars[work, images], completed=done)
        elif now - said > EVERY:
            said = now
            print(f"{work} {count(done)} of {count(images)} images", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if bars:  # where there is no terminal, rich ends even what never began with an empty line
            bar.stop()


class PlainLines(pl.Callback):
    """One line per epoch."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.best = 0.0
        self.started = 0.0
        self.first = 0  # step of a run that goes on

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; say where a resumed run goes on."""
        self.started, self.first = time.perf_counter(), trainer.global_step
        records = record_of(trainer).records
        self.best = max((record[f"val/{judged(record)}"] for record in records), default=0.0)
        if self.first:
            self.notice(f"going on after step {self.first} of {self.plan.steps}")

    def notice(self, text: str) -> None:
        """Say something that is not about an epoch."""
        _say(text)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how the epoch went; EpochRecord has just made its record."""
        record = record_of(trainer).records[-1]
        self.best = max(self.best, record[f"val/{judged(record)}"])
        self.say(record)

    def say(self, record: Mapping[str, float]) -> None:
        """Print a line that stays."""
        line = f"{epoch_line(record, self.plan, self.best)}  eta {self.left(record)}"
        with contextlib.suppress(BrokenPipeError):
            print(line, file=sys.stderr, flush=True)

    def left(self, record: Mapping[str, float]) -> str:
        """The time left, from the time per step so far."""
        spent = time.perf_counter() - self.started
        made = record["step"] - self.first
        return clock(spent / made * (self.plan.steps - record["step"])) if made else "?"


class LiveBar(PlainLines):
    """One line per epoch that stays, and below it a bar that moves about ten times a second."""

    def __init__(self, console: Console, plan: Plan) -> None:
        super().__init__(plan)
        self.console = console
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(max(SHORTEST, min(LONGEST, console.width - FIGURES))),
            TextColumn("step {task.completed}/{task.total}"), TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(), console=console, auto_refresh=False, transient=True,
        )  # fmt: skip
        self.drawn = 0.0
        self.task = TaskID(0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bar."""
        self.task = self.bar.add_task("epoch 1", total=self.plan.steps, figures="")
        self.bar.start()
        super().on_train_start(trainer, pl_module)

    def notice(self, text: str) -> None:
        """Above the bar."""
        self.bar.console.print(f"cnnctl: {text}", highlight=False, markup=False)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar, at most ten times a second: reading the figures waits for the device."""
        now = time.perf_counter()
        if now - self.drawn < REDRAWS:
            return
        self.drawn = now
        assert isinstance(pl_module, Task)
        sums = pl_module.tallies["train"].sums
        if not sums[-1]:  # no step of this epoch has been made yet
            return
        so_far = pl_module.means(sums)
        made = trainer.global_step - self.first
        speed = made * self.plan.global_batch / (now - self.started)
        self.bar.update(
            self.task,
            completed=trainer.global_step,
            description=f"epoch {trainer.current_epoch + 1}/{self.plan.epochs}",
            figures=f"loss {number(so_far['loss'])}  {pl_module.FIGURE} "
            f"{percent(so_far[pl_module.FIGURE])}  {count(round(speed))} img/s",
        )
        self.bar.refresh()

    def say(self, record: Mapping[str, float]) -> None:
        """Print above the bar, which has the time left; less where the terminal is narrow."""
        line = epoch_line(record, self.plan, self.best)
        if len(line) > self.console.width:
            line = short_line(record, self.plan)
        self.bar.console.print(line, highlight=False, no_wrap=True, overflow="ellipsis")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the bar away."""
        self.bar.stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave the terminal as it was."""
        self.bar.stop()


def record_of(trainer: pl.Trainer) -> EpochRecord:
    """The records of the epochs so far."""
    callbacks: list[Any] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue] - set in Trainer.__init__ by a connector
    return next(one for one in callbacks if isinstance(one, EpochRecord))


def judged(record: Mapping[str, float]) -> str:
    """The name of the figure by which the epochs of a record are judged."""
    return next(name for name in tasks.FIGURES.values() if f"val/{name}" in record)


def epoch_line(record: Mapping[str, float], plan: Plan, best: float) -> str:
    """One epoch in one line: `epoch 3/30  step 1170  loss 0.812  …  1,840 img/s`."""
    width, figure = len(str(plan.epochs)), judged(record)
    return (
        f"epoch {int(record['epoch']):{width}}/{plan.epochs}  "
        f"step {int(record['step']):{len(str(plan.steps))}}  "
        f"loss {number(record['train/loss']):<9} "
        f"{figure} {percent(record[f'train/{figure}']):>8}  "
        f"val/{figure} {percent(record[f'val/{figure}']):>8} (best {percent(best)})  "
        f"{count(round(record['images_per_second']))} img/s"
    )


def short_line(record: Mapping[str, float], plan: Plan) -> str:
    """The same for a narrow terminal: `epoch 3/30  loss 0.812  top1 70.11 %  val/top1 71.30 %`."""
    figure = judged(record)
    return (
        f"epoch {int(record['epoch']):{len(str(plan.epochs))}}/{plan.epochs}  "
        f"loss {number(record['train/loss']):<9} "
        f"{figure} {percent(record[f'train/{figure}']):>8}  "
        f"val/{figure} {percent(record[f'val/{figure}']):>8}"
    )
