"""Discs, squares and triangles on noise, with exact masks: nothing to get, nothing to guess."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from cnnctl.config.images import Data
from cnnctl.config.masks import Shapes
from cnnctl.data.pairs import Held
from cnnctl.data.source import Images, Source
from cnnctl.data.split import divide

CLASSES = ("background", "disc", "square", "triangle")
MOST = 4  # shapes of an image
RADIUS = (1 / 12, 1 / 4)  # of a shape, as a share of the image's side
# Of a colour with each before it, in some channel; 8 times this is below 1, or a grey image could
# have no colour left for its last shape.
CONTRAST = 0.12


def load(data: Data) -> Source:
    """As many images as configured, all of them fixed by data.split_seed and their numbers.

    Raises DataError if there are too few for one image in every split.
    """
    assert isinstance(data, Shapes)
    parts = divide(np.zeros(data.images, np.int64), data, ())
    splits: dict[str, Images] = {}
    for name, numbers in parts.items():
        found = [draw(data, int(number)) for number in numbers]
        splits[name] = Held(found, [f"image {number}" for number in numbers])
    return Source(CLASSES, splits, drawn=("val", "test"))


def draw(data: Shapes, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Image uint8 (channels, size, size) and mask uint8 (1, size, size) of this number.

    A pixel belongs to the shape on top of those that its centre is in.
    """
    random = np.random.default_rng((data.split_seed, number))
    side = data.size
    y, x = np.mgrid[0:side, 0:side] + 0.5
    mask = np.zeros((side, side), np.uint8)
    colours = [random.uniform(0.1, 0.9, data.channels)]
    image = np.broadcast_to(colours[0][:, None, None], (data.channels, side, side)).copy()
    for _ in range(random.integers(1, MOST + 1)):
        kind = int(random.integers(1, len(CLASSES)))
        radius = side * random.uniform(*RADIUS)
        middle = random.uniform(radius, side - radius, 2)
        turn = random.uniform(0, 2 * np.pi)
        inside = INSIDE[kind](x - middle[0], y - middle[1], radius, turn)
        colours.append(_other(colours, random))
        mask[inside] = kind
        image[:, inside] = colours[-1][:, None]
    image += random.normal(0, data.noise, image.shape)
    levels = (image.clip(0, 1) * 255).round().astype(np.uint8)
    return torch.from_numpy(levels), torch.from_numpy(mask)[None]


def _other(colours: list[np.ndarray], random: np.random.Generator) -> np.ndarray:
    """A colour that can be told from these: shapes may lie on one another."""
    while True:
        found = random.uniform(0, 1, colours[0].shape)
        if np.abs(found - colours).max(1).min() >= CONTRAST:
            return found


def _disc(x: np.ndarray, y: np.ndarray, radius: float, _: float) -> np.ndarray:
    return x**2 + y**2 < radius**2


def _polygon(
    corners: int, x: np.ndarray, y: np.ndarray, radius: float, turn: float
) -> np.ndarray:  # fmt: skip
    """The regular polygon with its corners on the circle of `radius`."""
    near = radius * np.cos(np.pi / corners)  # of a side, from the middle
    angles = turn + 2 * np.pi * np.arange(corners) / corners
    inside = [x * np.cos(angle) + y * np.sin(angle) < near for angle in angles]
    return np.logical_and.reduce(inside)


INSIDE = {1: _disc, 2: partial(_polygon, 4), 3: partial(_polygon, 3)}
