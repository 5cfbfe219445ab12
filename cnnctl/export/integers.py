"""What arithmetic in integers costs, in top-1: the errors of logits say little about it."""

from __future__ import annotations

import math
from typing import Any

from cnnctl.errors import ExportError
from cnnctl.scoring.compare import mcnemar, paired
from cnnctl.scoring.intervals import wilson

HINT = "nothing was kept"


def lost(proven: dict[str, Any], drop: float) -> dict[str, Any]:
    """The loss on the images of the proof, its 95 % interval, and the p-value of there being none.

    Raises ExportError if it is more than `drop`.
    """
    share = proven["top1_eager"] - proven["top1_export"]
    low, high = _interval(proven)
    if share > drop:
        text = f"int8 loses {100 * share:.2f} points of top-1, {100 * drop:.2f} may go"
        text += f"; 95 % interval {100 * low:.2f} to {100 * high:.2f}, on {proven['n']:,} images"
        enough = math.ceil(round(share * 1e4, 6)) / 1e4  # rounded down, it would be refused again
        raise ExportError(text, f"{HINT}; drop={enough:g} would take it")
    p = mcnemar(proven["only_export_right"], proven["only_eager_right"])
    return {"top1_lost": share, "interval": [low, high], "p": p, "drop": drop}


def require_resized(proven: dict[str, Any], drop: float) -> None:
    """Raise ExportError if the file is worse on images that it resizes itself.

    These are few, so that one alone may be more than `drop`. Worse is what is not chance: the
    whole interval of the loss lies above `drop`, or the interval of the share of images on which
    net and file name the same class lies below that of images of the net's size.
    """
    raw = proven["raw"]
    if raw is None:
        return
    low, high = _interval(raw)
    if low > drop:
        text = f"int8 loses {100 * low:.0f} to {100 * high:.0f} points of top-1 (95 % interval) on"
        raise ExportError(f"{text} images of other sizes, {100 * drop:.2f} may go", HINT)
    (usual, _), (_, most) = _agreed(proven), _agreed(raw)
    if most < usual:
        text = f"on images of other sizes int8 names the net's class in {100 * most:.0f} % at most"
        raise ExportError(f"{text}, in {100 * usual:.0f} % at least on others", HINT)


def _interval(found: dict[str, Any]) -> list[float]:
    """Of the share of images that the file loses."""
    return paired(found["only_eager_right"], found["only_export_right"], found["n"])


def _agreed(found: dict[str, Any]) -> list[float]:
    interval = wilson(round(found["top1_agreement"] * found["n"]), found["n"])
    assert interval is not None  # there are images
    return interval
