"""The data set `folder`: its section of a configuration, its images, its refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnctl import runs
from cnnctl.config import paths
from cnnctl.config.images import Folder
from cnnctl.config.read import read
from cnnctl.data import folder
from cnnctl.data.files import Files
from cnnctl.data.source import Part, Source
from cnnctl.errors import DataError

PETS = {"cat": 4, "dog": 4}
LAYOUT = "(it must hold train/<class>/<image>, or <class>/<image>)"
KINDS = "(a folder, .tar, .zip, .csv, .parquet, shards like a-{000..127}.tar, or hf://NAME)"
ENDINGS = "(known endings: .bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp)"


def section(root: str | Path, **changes: Any) -> Folder:
    numbers = runs.read_config(paths.conf_dir() / "data" / "folder.yaml")
    numbers |= {"root": str(root), "size": 32, **changes}
    found, problems = read(Folder, numbers, "data")
    assert problems == []
    assert found is not None
    return found


def load(root: str | Path, **changes: Any) -> Source:
    return folder.load(section(root, **changes))


def refusal(root: str | Path, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(root, **changes)
    return str(caught.value)


def names(source: Source, split: str) -> list[str]:
    images = source.splits[split]
    return [images.name(index) for index in range(len(images.labels))]


def part(root: Path, labels: list[int], classes: str = "ab") -> Part:
    """Files that need not be there."""
    paths = [root / f"{number}.png" for number in range(len(labels))]
    return Part(Files.of(paths), np.array(labels), tuple(classes))
