"""Small images with masks, in memory and as files, for tests of the data pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cnnctl import data, runs
from cnnctl.config import paths
from cnnctl.config.masks import MASKS, Masks
from cnnctl.config.read import read
from cnnctl.data.pairs import Held, Pairs
from cnnctl.data.source import Source
from cnnctl.errors import DataError

NAMES = ["background", "cell"]
HEIGHT, WIDTH = 9, 12
Both = tuple[torch.Tensor, torch.Tensor]


def mask(number: int, classes: int = 2, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Random classes uint8 (H, W), another mask for every number."""
    return np.random.default_rng(number).integers(0, classes, (height, width)).astype(np.uint8)


def photo(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Noise uint8 (H, W, 3)."""
    shape = (height, width, 3)
    return np.random.default_rng(1000 + number).integers(0, 256, shape).astype(np.uint8)


def save(file: Path, pixels: np.ndarray, **how: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **how)


def cells(root: Path, count: int, split: str = ".", scale: int = 1) -> Path:
    """root/split/images and masks, 0.png, 1.png and so on; mask values are multiples of `scale`."""
    for number in range(count):
        save(root / split / f"images/{number}.png", photo(number))
        save(root / split / f"masks/{number}.png", mask(number) * np.uint8(scale))
    return root


def section(name: str, **changes: Any) -> Masks:
    """conf/data/NAME.yaml with changes."""
    numbers = runs.read_config(paths.conf_dir() / "data" / f"{name}.yaml")
    found, problems = read(MASKS[name], numbers | changes, "data")
    assert problems == []
    assert found is not None
    return found


def folder(root: Path | str, **changes: Any) -> Masks:
    return section("folder_masks", **({"root": str(root), "size": 8, "classes": NAMES} | changes))


def load(root: Path | str, **changes: Any) -> Source:
    return data.load(folder(root, **changes))


def refusal(work: Callable[[], Any]) -> str:
    with pytest.raises(DataError) as caught:
        work()
    text = str(caught.value)
    assert "\n" not in text
    return text


def pairs(source: Source, split: str = "train") -> Pairs:
    found = source.splits[split]
    assert isinstance(found, Pairs)
    return found


def names(source: Source, split: str) -> list[str]:
    found = source.splits[split]
    return [Path(found.name(index)).name for index in range(len(found.labels))]


def coded(count: int, height: int = 16, width: int = 20, classes: int = 4) -> Both:
    """Masks uint8 (B, 1, H, W) in blocks of 4, and images that are 60 times their masks."""
    blocks = np.random.default_rng(count).integers(0, classes, (count, height // 4, width // 4))
    masks = torch.from_numpy(blocks.repeat(4, 1).repeat(4, 2).astype(np.uint8))[:, None]
    return (60 * masks).expand(-1, 3, -1, -1).contiguous(), masks


def held(*sizes: tuple[int, int]) -> Held:
    """Pairs in memory: an image tells line and column of each pixel, its mask the sum of both."""
    found = []
    for height, width in sizes:
        lines, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        image = torch.stack((lines, columns, torch.zeros_like(lines))).to(torch.uint8)
        found.append((image, (image[0] + image[1])[None]))
    return Held(found, [f"image {number}" for number in range(len(sizes))])
