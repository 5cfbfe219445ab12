"""Data sets: one YAML file and one loader each."""

from __future__ import annotations

from collections.abc import Callable

from cnnctl.config.images import Data
from cnnctl.data import digits, fake, folder, folder_masks, published, published_masks, shapes
from cnnctl.data.catalog import SETS
from cnnctl.data.source import Source

LOADERS: dict[str, Callable[[Data], Source]] = {
    "digits": digits.load,
    "fake": fake.load,
    "folder": folder.load,
    "folder_masks": folder_masks.load,
    **dict.fromkeys(SETS, published.load),
    **dict.fromkeys(published_masks.SETS, published_masks.load),
    "shapes": shapes.load,
}


def load(data: Data) -> Source:
    """The data set that `data.name` names; raises DataError if it cannot be used."""
    return LOADERS[data.name](data)
