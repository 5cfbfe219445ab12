"""The file that keeps what a net says of the pixels of each image."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from cnnctl.data.pictures import shown
from cnnctl.scoring import masks_figures
from cnnctl.scoring.masks import MaskScores
from cnnctl.scoring.predictions import DIGITS, pyarrow

COLUMNS = ("file", "pixels", "miou", "dice", "pixel_accuracy", "boundary_f1", "loss")
Figure = float | None


def rows(found: MaskScores) -> Iterator[tuple[str, int, Figure, Figure, Figure, Figure, Figure]]:
    """The values of COLUMNS for every image; None where it has no such figure."""
    columns = masks_figures.by_image(found)
    values = zip(*(columns[name].tolist() for name in COLUMNS[1:]), strict=True)
    for file, (pixels, *several) in zip(found.names, values, strict=True):
        miou, dice, accuracy, edge, loss = (None if math.isnan(one) else one for one in several)
        yield file, pixels, miou, dice, accuracy, edge, loss


def write(found: MaskScores, file: Path) -> None:
    """Keep them as .csv or .parquet, one row per image."""
    if file.suffix == ".parquet":
        pa, writer = pyarrow()
        name, pixels, *several = zip(*rows(found), strict=True)
        arrays = [
            pa.array([shown(one) for one in name], pa.string()),
            pa.array(pixels, pa.int64()),
            *(pa.array(one, pa.float64()) for one in several),
        ]
        writer.write_table(pa.table(arrays, names=list(COLUMNS)), file)
        return
    with file.open("w", encoding="utf-8", errors="surrogateescape", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, pixels, *several in rows(found):
            writer.writerow([name, pixels, *(_text(one) for one in several)])


def _text(value: Figure) -> str:
    return "" if value is None else f"{value:.{DIGITS}g}"
