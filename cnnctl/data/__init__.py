"""Data sets: one YAML file and one loader each."""

from __future__ import annotations

from collections.abc import Callable

from cnnctl.config import schema
from cnnctl.data import digits, folder
from cnnctl.data.source import Source

LOADERS: dict[str, Callable[[schema.Data], Source]] = {"digits": digits.load, "folder": folder.load}


def load(data: schema.Data) -> Source:
    """The data set that `data.name` names; raises DataError if it cannot be used."""
    return LOADERS[data.name](data)
