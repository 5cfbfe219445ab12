"""What Lightning and torch say that our user has no use for, switched off by name."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

from cnnctl.errors import DataError, TrainingError


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's lines about devices, ranks and tips, each switched off by name."""
    chatty = (
        "pytorch_lightning.utilities.rank_zero",
        "lightning_fabric.utilities.distributed",
        "pytorch_lightning.trainer.connectors.signal_connector",  # a stopped rank is told once
    )
    levels = {name: logging.getLogger(name).level for name in chatty}
    for name in chatty:
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for text in (
            r"The '\w+_dataloader' does not have many workers",  # the plan shows data.workers
            r"Both mixed precision and an auto_wrap_policy were specified to FSDP",
            r"FSDP with `\S+` enables computation in lower precision",
            r"GPU available but not used",  # the plan shows the device
            r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 under newer torch
        ):
            warnings.filterwarnings("ignore", text)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def plain_errors(hint: str | None = None) -> Iterator[None]:
    """An error of the data in a loader process in one line: torch puts its traceback around it.

    `hint` says how to go on once the data is mended.
    """
    try:
        yield
    except RuntimeError as wrong:
        if not str(wrong).startswith("DataLoader worker"):
            raise
        text = "a process that decodes images was ended from outside, perhaps for want of memory"
        raise TrainingError(text, "data.workers=0, or fewer") from wrong
    except DataError as wrong:
        _, around, text = wrong.message.rpartition(f"{DataError.__name__}: ")
        raise DataError(text.strip() if around else wrong.message, wrong.hint or hint) from None
