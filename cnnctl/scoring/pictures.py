"""What a net says is on image files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnctl.config.schema import Train
from cnnctl.data import pictures
from cnnctl.data.pictures import Failed, Picture
from cnnctl.scoring.scorer import Scorer
from cnnctl.scoring.scores import Tell
from cnnctl.scoring.ways import Way

Document = dict[str, Any]


def predict(  # noqa: PLR0913 - what is asked, of whom, and how
    scorer: Scorer, files: Sequence[str], train: Train, way: Way, top: int, tell: Tell
) -> tuple[list[Document], list[Failed]]:
    """The `top` classes of every file, the likeliest first, and the files that cannot be read.

    Pixels are held of a few batches at a time, whatever the number of files.
    """
    predictions, failed, done = list[Document](), list[Failed](), 0
    data = train.data
    for batch in pictures.batches(files, data.channels, data.size, data.batch_size):
        failed += [one for one in batch if isinstance(one, Failed)]
        read = [one for one in batch if isinstance(one, Picture)]
        if read:
            logits = way(scorer, torch.stack([one.pixels for one in read]))
            for one, row in zip(read, logits, strict=True):
                if row.isfinite().all():
                    found = ranked(row, scorer.classes, top)
                    predictions.append(
                        {"file": pictures.shown(one.file), "top": found, "note": one.note}
                    )
                else:
                    failed.append(Failed(one.file, "what the net says of it is not finite"))
        done += len(batch)
        tell("predicting", done, len(files))
    return predictions, failed


def ranked(logits: Tensor, classes: Iterable[str], top: int) -> list[Document]:
    """The likeliest classes of one image; of equal ones the first, as argmax has it."""
    names = list(classes)
    order = logits.sort(descending=True, stable=True).indices[:top].tolist()
    chances = logits.softmax(0).tolist()
    return [{"class": names[place], "probability": chances[place]} for place in order]
