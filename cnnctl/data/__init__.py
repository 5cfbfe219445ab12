"""Data sets: one YAML file and one loader each."""

from __future__ import annotations

from collections.abc import Callable

from cnnctl.config.images import Data
from cnnctl.data import digits, fake, folder, published, shapes
from cnnctl.data.catalog import SETS
from cnnctl.data.source import Source

LOADERS: dict[str, Callable[[Data], Source]] = {
    "digits": digits.load,
    "fake": fake.load,
    "folder": folder.load,
    **dict.fromkeys(SETS, published.load),
    "shapes": shapes.load,
}


def load(data: Data) -> Source:
    """The data set that `data.name` names; raises DataError if it cannot be used."""
    return LOADERS[data.name](data)
