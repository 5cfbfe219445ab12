"""Data sets: one YAML file and one loader each."""

from __future__ import annotations

from collections.abc import Callable

from cnnctl.config.images import Data
from cnnctl.data import digits, folder
from cnnctl.data.source import Source

LOADERS: dict[str, Callable[[Data], Source]] = {"digits": digits.load, "folder": folder.load}


def load(data: Data) -> Source:
    """The data set that `data.name` names; raises DataError if it cannot be used."""
    return LOADERS[data.name](data)
