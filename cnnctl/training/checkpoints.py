"""When checkpoints are written: last.ckpt to go on from, best.ckpt to test and to use."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import distributed

from cnnctl import runs, weights
from cnnctl.config.duration import Interval
from cnnctl.errors import CheckpointError, DataError, TrainingError
from cnnctl.tasks.task import Task
from cnnctl.training.stop import Stop
from cnnctl.training.store import link

LONG = 10  # seconds of measuring that are worth a checkpoint before it


class Checkpoints(pl.Callback):
    """Writes last.ckpt as often as `every` says, and both when val has its best figure so far.

    Of two epochs with the same figure the one with the lower val/loss is better. A signal that
    `stop` has noted, and images that can no longer be read, end the run with a checkpoint.
    """

    def __init__(self, folder: Path, entry: str, every: Interval, stop: Stop) -> None:
        self.folder = folder
        self.entry = entry
        self.every = every
        self.stop = stop
        self.best: tuple[float, float, int] | None = None
        self.saved = -1  # step of the last checkpoint
        self.epochs = 0  # since then
        self.clock = time.perf_counter()
        self.measuring = float("inf")  # seconds that measuring took the last time
        self.measured = 0.0  # when it began
        self.agreed = Agreed()

    def state_dict(self) -> dict[str, Any]:
        """Kept in every checkpoint."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.best = state_dict["best"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what a checkpoint says about itself."""
        checkpoint[weights.ENTRY] = self.entry

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Name the best once more: a run may have been killed between writing and naming it."""
        self._name(trainer, pl_module)

    def _name(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        place = pl_module.place
        fresh = self.best is not None and self.best[2] + 1 == place.epoch and place.begun == 0
        if fresh and trainer.is_global_zero:
            link(self.folder / runs.LAST, self.folder / runs.BEST)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here on a signal waits for the end of a step."""
        self._name(trainer, pl_module)  # a net that is shared out has been read by now only
        if self.best is not None and not (self.folder / runs.BEST).is_file():
            text = f"{self.folder / runs.BEST} is gone, which no later epoch may equal"
            raise CheckpointError(text, f"begin anew: remove {self.folder / runs.LAST}")
        self.saved, self.clock = trainer.global_step, time.perf_counter()
        self.agreed.start(trainer.world_size)
        self.stop.waits = True

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Between two steps: save if it is time, or if the run has to end."""
        assert isinstance(pl_module, Task)
        if pl_module.gradient.parts:  # within a step that has several batches
            return
        caught, due = self.agreed.on(self.stop.caught, self._due(trainer.global_step))
        if due or (caught and self.saved < trainer.global_step):
            self.save(trainer)
        self._end(trainer, caught)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save before a long measurement, which may be interrupted."""
        self.measured = time.perf_counter()
        if self.measuring > LONG and trainer.global_step > self.saved:
            self.save(trainer)

    def on_validation_batch_end(  # noqa: PLR0913 - a hook of Lightning
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Nobody waits for the end of a long measurement."""
        if self.measuring > LONG and trainer.world_size == 1:
            self._end(trainer, self.stop.caught)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """How long it took."""
        seconds = time.perf_counter() - self.measured
        self.measuring = trainer.strategy.broadcast(seconds)  # all have to come to one conclusion

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save if it is time, or if this epoch is the best."""
        assert isinstance(pl_module, Task)
        val, self.epochs = pl_module.figures["val"], self.epochs + 1
        score = (val[pl_module.FIGURE], -val["loss"] if math.isfinite(val["loss"]) else -math.inf)
        better = self.best is None or score > tuple(self.best[:2])
        if better:
            self.best = (*score, trainer.current_epoch)
        due = self._due(trainer.global_step)
        caught, due = self.agreed.now(self.stop.caught, due)
        if due or better or caught:
            self.save(trainer)
        if better and trainer.is_global_zero:
            link(self.folder / runs.LAST, self.folder / runs.BEST)
        trainer.strategy.barrier()  # no process may read best.ckpt before it is there
        self._end(trainer, caught)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The last weights, and nothing to wait for any more.

        Raises TrainingError if processes that made the same steps have other weights.
        """
        assert isinstance(pl_module, Task)
        self.agreed.end()
        learned = dict(pl_module.net.named_parameters())
        if not pl_module.sharded and not self.agreed.same(weights.sha256(learned)):
            raise TrainingError(
                "the processes have ended with different weights", "hardware.devices=1"
            )
        if self.epochs:
            self.save(trainer)
        self.stop.waits = False
        self._end(trainer, self.stop.caught)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Images that cannot be read take no step away that has been made."""
        between = isinstance(pl_module, Task) and not pl_module.gradient.parts
        fetching = isinstance(exception, DataError) and trainer.training and between
        if fetching and trainer.world_size == 1 and 0 <= self.saved < trainer.global_step:
            self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Write last.ckpt; every process takes part."""
        trainer.save_checkpoint(self.folder / runs.LAST, weights_only=False)
        self.saved, self.epochs, self.clock = trainer.global_step, 0, time.perf_counter()
        self.agreed.end()  # what was asked for meanwhile is done by now

    def _due(self, step: int) -> bool:
        if self.every.unit == "steps":
            return step - self.saved > self.every.amount - most_of(self.every)
        if self.every.unit == "epochs":
            return self.epochs >= self.every.amount
        return time.perf_counter() - self.clock >= self.every.amount

    def _end(self, trainer: pl.Trainer, caught: int) -> None:
        if caught:
            self.agreed.end()
            raise self.stop.error(caught, f" after step {trainer.global_step}")


def most_of(every: Interval) -> int:
    """How many steps may come at a time, if one of the first ones can be the last before it."""
    return max(1, int(every.amount) // 4)


class Agreed:
    """What one process wants, all do: their answers are exchanged while the next step is made.

    So all come to the same end, and nobody waits. With one process there is nothing to exchange.
    """

    def __init__(self) -> None:
        self.group: Any = None
        self.asked: tuple[Any, torch.Tensor] | None = None

    def start(self, world: int) -> None:
        """Connect the processes; on the CPU, whatever they train on."""
        if world > 1:
            self.group = distributed.new_group(backend="gloo")

    def on(self, caught: int, due: bool) -> tuple[int, bool]:  # noqa: FBT001 - the answer has the same two
        """The answer of all to the last question; the first time: nothing."""
        if self.group is None:
            return caught, due
        before = self.end()
        answer = torch.tensor([caught, int(due)])
        work = distributed.all_reduce(
            answer, distributed.ReduceOp.MAX, group=self.group, async_op=True
        )
        self.asked = (work, answer)
        return int(before[0]), bool(before[1])

    def now(self, caught: int, due: bool) -> tuple[int, bool]:  # noqa: FBT001 - as above
        """The answer of all to this question, for which they wait."""
        if self.group is None:
            return caught, due
        self.on(caught, due)
        answer = self.end()
        return int(answer[0]), bool(answer[1])

    def same(self, text: str) -> bool:
        """Whether all processes say the same."""
        if self.group is None:
            return True
        told: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(told, text, group=self.group)
        return len(set(told)) == 1

    def end(self) -> torch.Tensor:
        """Wait for the exchange that is under way."""
        if self.asked is None:
            return torch.zeros(2, dtype=torch.int64)
        work, answer = self.asked
        self.asked = None
        work.wait()
        return answer
