"""What is said when a step gives no number, or takes more memory than there is."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cnnctl import runs
from cnnctl.data.module import DataModule
from cnnctl.data.order import Ticket
from cnnctl.data.source import Source
from cnnctl.errors import TrainingError
from cnnctl.tasks import finding, nonfinite
from cnnctl.tasks.gradient import is_oom
from cnnctl.tasks.steps import Explained, Steps


def explainer(task: Steps, module: DataModule, source: Source, run: Path) -> Explained:
    """Looks for the first value that is not finite, in the same batches read once more.

    The names of all images of the step go into nonfinite.json in the run folder.
    """
    images = source.splits["train"]

    def explain(tickets: Sequence[Ticket]) -> tuple[TrainingError, bool]:
        parts, seeds = [], []
        for ticket in tickets:
            some = task.gradient.cut(*module.again(ticket)[:2])
            parts += some
            seeds += [ticket.word, *[None] * (len(some) - 1)]
        found = nonfinite.examine(task.net, parts, seeds)
        names = [
            images.name(int(sample) % len(images.labels))
            for ticket in tickets
            for sample in ticket.samples
        ]
        when = {
            "step": task.trainer.global_step + 1,
            "epoch": task.place.epoch + 1,
            "batch": tickets[0].number + 1,
        }
        if found is not None or task.trainer.world_size == 1:
            runs.write_json(run / finding.FILE, finding.document(found, **when, names=names))
        broken = found is not None and found.cause == "weights"
        return finding.message(found, **when, names=names, run=run), not broken

    return explain


@contextlib.contextmanager
def told(advice: Callable[[], TrainingError]) -> Iterator[None]:
    """An error that says that the memory is used up becomes one that says what fits."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_oom(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they keep the tensors of the step
        raise advice() from None
