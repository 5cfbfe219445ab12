"""What goes with a choice of the command line where nothing else is chosen: masks with a U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cnnctl.config import catalog, paths, tasks
from cnnctl.config.masks import MASKS
from cnnctl.config.overrides import key_of

DATA, MODEL = "data=shapes", "model=unet_small"


def completed(overrides: Sequence[str], extra: list[Path] | None = None) -> list[str]:
    """The overrides, and before them the data of a net for masks, or the net of such data.

    The defaults of conf/train.yaml are for classes of images; a recipe says all by itself.
    """
    chosen = {key_of(text): text.partition("=")[2] for text in overrides}
    if "recipe" in chosen:
        return list(overrides)
    if "data" not in chosen and "model" in chosen and _segments(chosen["model"], extra):
        return [DATA, *overrides]
    if "model" not in chosen and "data" in chosen and set(_names(chosen["data"])) <= set(MASKS):
        return [MODEL, *overrides]
    return list(overrides)


def _names(choice: str) -> list[str]:
    """One, or those of a multirun."""
    return [name.strip() for name in choice.split(",")]


def _segments(model: str, extra: list[Path] | None) -> bool:
    """Whether all nets of a choice give a class of each pixel."""
    files = paths.config_files(extra).get("model", {})
    theirs = [f"torchvision/{name}" for name in tasks.TORCHVISION]
    return all(
        name in theirs
        or (name in files and tasks.of(catalog.facts(files[name], files)) == "segment")
        for name in _names(model)
    )
