"""Where the records of the epochs go: metrics.csv always, wandb if asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from cnnctl import runs
from cnnctl.config import schema
from cnnctl.errors import RunError
from cnnctl.training import ranks, wandb_run


class CsvLogger(Logger):
    """One row per epoch in metrics.csv, appended, so that a resumed run goes on below.

    Lightning's CSVLogger deletes an existing file, rewrites all rows when a column is new,
    and puts training and validation on different rows.
    """

    def __init__(self, run: Path) -> None:
        super().__init__()
        self.file = run / runs.METRICS
        self._resumes = self.file.exists()

    @property
    def name(self) -> str:
        """Required by Lightning."""
        return "csv"

    @property
    def version(self) -> str:
        """Required by Lightning: the run's name."""
        return self.file.parent.name

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one record; the first one writes the header. Metrics are fractions in 0..1."""
        try:
            if self._resumes:
                self._forget(metrics["step"])
            with self.file.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, metrics.keys())
                if file.tell() == 0:
                    writer.writeheader()
                writer.writerow({name: f"{value:.6g}" for name, value in metrics.items()})
        except OSError as wrong:
            raise RunError(f"cannot write {self.file}: {wrong.strerror}") from wrong

    def _forget(self, step: float) -> None:
        """Leave out what a run had written after the checkpoint that it was resumed from."""
        self._resumes = False
        try:
            with self.file.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            if any(None in row for row in rows):
                raise ValueError("a row is longer than the header")  # noqa: TRY301
            kept = [row for row in rows if None not in row.values() and float(row["step"]) < step]
        except (csv.Error, ValueError, KeyError) as wrong:
            raise RunError(f"{self.file} is no table of epochs", "remove it") from wrong
        text = io.StringIO()
        if kept:
            writer = csv.DictWriter(text, kept[0].keys())
            writer.writeheader()
            writer.writerows(kept)
        runs.write(self.file, text.getvalue())

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Nothing: config.yaml has them."""


def build(logger: schema.Logger, run: Path, config: dict[str, Any]) -> list[Logger]:
    """metrics.csv, and what the group `logger` asks for."""
    loggers: list[Logger] = [CsvLogger(run)]
    if isinstance(logger, schema.Wandb) and ranks.rank() == 0:
        loggers.append(wandb_run.start(logger, run, config))
    return loggers


def told(loggers: Sequence[Logger]) -> dict[str, Any]:
    """What the result says about loggers other than metrics.csv."""
    found = [logger for logger in loggers if isinstance(logger, WandbLogger)]
    return {"wandb": wandb_run.told(found[0])} if found else {}


def close(logger: Logger) -> None:
    """End a wandb run, also after a failure; metrics.csv needs no end."""
    if isinstance(logger, WandbLogger):
        logger.experiment.finish()
