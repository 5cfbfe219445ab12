"""Images that a net has made anew of image files, and the document about them. Imports torch.

outputs/predict/2026-11-21_14-03-19_autoencoder_digits_7f3a/
    result.json    what --json prints; written last
    NAME.png       what the net makes of the image NAME, as large as the net sees it
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from cnnctl import runs
from cnnctl.commands import predicted
from cnnctl.commands.trained import Trained
from cnnctl.config.verbs import Predict
from cnnctl.data import pictures
from cnnctl.data.pictures import Failed, Picture
from cnnctl.errors import RunError
from cnnctl.report import progress
from cnnctl.report.result import Result
from cnnctl.scoring.reconstructions import WHITE, Asker, pixels
from cnnctl.scoring.scores import Tell
from cnnctl.tasks.reconstruct import likeness, parts

BROKEN = "what the net makes of it is not finite"
Answer = tuple[Picture, Tensor]  # a file, and what is made of it: intensities (C, H, W)


def result(
    one: Trained, predict: Predict, files: Sequence[str], failed: Sequence[Failed]
) -> Result:
    """Of the net `one`: what it makes of `files`; `failed` are what named no file.

    What is finished stays if it is stopped. Raises RunError if a folder cannot be written in.
    """
    began = time.perf_counter()
    asker = Asker(predicted.scorer(one), one.train, one.train.trainer.test_flip)
    place, names = predicted.folder(one, predict), predicted.Names()
    rows, more = list[dict[str, Any]](), list[Failed]()
    try:
        with progress.reading(one.train.progress) as tell:
            for answer in _answers(asker, files, tell):
                if isinstance(answer, Failed):
                    more.append(answer)
                else:
                    rows.append(_kept(*answer, place / f"{names(answer[0].file)}.png"))
        found = predicted.told(
            one, predict, "remade_files", began, rows, [*failed, *more],
            folder=str(place) if rows else None,
        )  # fmt: skip
        if rows:
            runs.write_json(place / runs.RESULT, found.data)
    except OSError as wrong:
        text = f"cannot write in {place}: {wrong.strerror or wrong}"
        raise RunError(text, "choose another folder with output=…") from wrong
    finally:
        if not any(place.glob("*.png")):
            shutil.rmtree(place, ignore_errors=True)
    return found


def _answers(asker: Asker, files: Sequence[str], tell: Tell) -> Iterator[Answer | Failed]:
    """Every file in its order: what is made of it, or why there is nothing."""
    data, done = asker.train.data, 0
    for batch in pictures.batches(files, data.channels, data.size, data.batch_size):
        read = [one for one in batch if isinstance(one, Picture)]
        made = iter(asker.asked(torch.stack([one.pixels for one in read])) if read else ())
        for one in batch:
            if isinstance(one, Failed):
                yield one
                continue
            found = next(made)
            yield (one, found) if found.isfinite().all() else Failed(one.file, BROKEN)
        done += len(batch)
        tell("predicting", done, len(files))


def _kept(picture: Picture, made: Tensor, file: Path) -> dict[str, Any]:
    """The row of a file, after what was made of it is written."""
    values = pixels(made).numpy()
    image = Image.fromarray(values[0] if len(values) == 1 else values.transpose(1, 2, 0))
    beside = file.with_name(f".{file.name}")
    try:
        image.save(beside, "PNG")
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
    true = picture.pixels.float() / WHITE
    (sums,) = parts(made[None], true[None], torch.ones(len(made))).double().tolist()
    return {
        "file": pictures.shown(picture.file), "image": pictures.shown(str(file)),
        **likeness(sums), "note": picture.note,
    }  # fmt: skip
