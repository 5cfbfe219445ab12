from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from masked import section

from cnnctl import data
from cnnctl.config.masks import Shapes
from cnnctl.data import shapes
from cnnctl.data.pairs import Held
from cnnctl.data.source import Source

CORNERS = {2: 4, 3: 3}


def drawn(number: int, **changes: object) -> tuple[np.ndarray, np.ndarray]:
    """Image (C, H, W) and mask (H, W) of this number."""
    numbers = section("shapes", **changes)
    assert isinstance(numbers, Shapes)
    image, mask = shapes.draw(numbers, number)
    return image.numpy(), mask[0].numpy()


def load(**changes: object) -> Source:
    return data.load(section("shapes", **({"images": 30, "size": 16} | changes)))


def inside(kind: int, x: float, y: float, radius: float, turn: float) -> bool:
    """Whether a point lies in a shape: a disc, or left of every edge from corner to corner."""
    if kind == 1:
        return math.hypot(x, y) < radius
    count = CORNERS[kind]
    angles = [turn + (2 * corner + 1) * math.pi / count for corner in range(count)]
    corners = [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]
    edges = zip(corners, corners[1:] + corners[:1], strict=True)
    return all((x2 - x1) * (y - y1) > (y2 - y1) * (x - x1) for (x1, y1), (x2, y2) in edges)


def traced(number: int, side: int, channels: int) -> np.ndarray:
    """The mask by a loop over pixels and corners, of the same draws."""
    random = np.random.default_rng((0, number))
    colours = [random.uniform(0.1, 0.9, channels)]
    mask = np.zeros((side, side), np.uint8)
    for _ in range(random.integers(1, 5)):
        kind = int(random.integers(1, 4))
        radius = side * random.uniform(1 / 12, 1 / 4)
        x, y = random.uniform(radius, side - radius, 2)
        turn = random.uniform(0, 2 * np.pi)
        while True:
            colour = random.uniform(0, 1, channels)
            if all(max(abs(colour - other)) >= 0.12 for other in colours):
                break
        colours.append(colour)
        for row in range(side):
            for column in range(side):
                if inside(kind, column + 0.5 - x, row + 0.5 - y, radius, turn):
                    mask[row, column] = kind
    return mask


@pytest.mark.parametrize("channels", [1, 3])
def test_a_pixel_belongs_to_the_shape_that_its_centre_is_in(channels) -> None:
    numbers = {"mean": [0.5] * channels, "std": [0.2] * channels}
    for number in range(12):
        _, mask = drawn(number, size=40, channels=channels, **numbers)
        assert np.array_equal(mask, traced(number, 40, channels))


@pytest.mark.parametrize("channels", [1, 3])
def test_without_noise_every_colour_is_one_shape(channels) -> None:
    """So the mask can be told from the image, whatever lies on what."""
    numbers = {"mean": [0.5] * channels, "std": [0.2] * channels}
    for number in range(40):
        image, mask = drawn(number, size=48, noise=0, channels=channels, **numbers)
        found = np.unique(np.concatenate([image, mask[None]]).reshape(channels + 1, -1), axis=1)
        colours = found[:-1].T.astype(int)
        assert len(np.unique(colours, axis=0)) == len(colours)  # none of two classes
        apart = np.abs(colours[:, None] - colours[None]).max(2) + 255 * np.eye(len(colours))
        assert apart.min() >= 0.12 * 255 - 1
        assert 2 <= len(colours) <= 5


def test_all_kinds_are_there_and_none_reaches_beyond_the_image() -> None:
    found = np.stack([drawn(number)[1] for number in range(200)])
    assert set(np.unique(found)) == {0, 1, 2, 3}
    for kind in (1, 2, 3):
        assert 80 < (found == kind).any((1, 2)).sum() < 160
    border = np.concatenate([found[:, 0], found[:, -1], found[:, :, 0], found[:, :, -1]])
    assert (border == 0).mean() > 0.97  # shapes touch it at most


def test_noise_is_as_strong_as_configured() -> None:
    still, noisy = (drawn(3, size=200, noise=noise)[0].astype(float) for noise in (0, 0.05))
    middle = (still > 60) & (still < 195)  # nothing is cut off there
    assert (noisy - still)[middle].std() / 255 == pytest.approx(0.05, rel=0.03)
    assert (noisy - still)[middle].mean() / 255 == pytest.approx(0, abs=0.001)


def test_splits_are_those_of_the_seed() -> None:
    source = load()
    assert source.sizes == {"train": 21, "val": 3, "test": 6}
    assert source.drawn == ("val", "test")
    assert source.classes == ("background", "disc", "square", "triangle")
    names = {
        split: [images.name(index) for index in range(len(images.labels))]
        for split, images in source.splits.items()
    }
    everything = [name for some in names.values() for name in some]
    assert sorted(everything) == sorted(f"image {number}" for number in range(30))
    assert load().digest() == source.digest() != load(split_seed=1).digest()
    for split, images in source.splits.items():
        assert isinstance(images, Held)
        for index, name in enumerate(names[split]):
            image, mask = drawn(int(name.split()[1]), size=16)
            assert np.array_equal(images.pair(index)[0], image)
            assert np.array_equal(images.pair(index)[1][0], mask)


def test_an_image_depends_on_seed_and_number_alone() -> None:
    for number in (0, 7):
        first, second = drawn(number), drawn(number, images=50, val_fraction=0.4)
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(drawn(0)[0], drawn(1)[0])
    assert not np.array_equal(drawn(0)[0], drawn(0, split_seed=1)[0])


def test_larger_images_show_the_same() -> None:
    for number in range(10):
        small, large = drawn(number, size=40)[1], drawn(number, size=120)[1]
        assert (large[1::3, 1::3] == small).mean() > 0.995  # centres of the same pixels


def test_folds_and_a_data_set_that_is_too_small() -> None:
    folds = [load(folds=3, fold=fold) for fold in range(3)]
    assert [fold.sizes for fold in folds] == [{"train": 16, "val": 8, "test": 6}] * 3
    text = "the data set has too few images for train, val, test"
    with pytest.raises(data.folder.DataError, match=text):
        load(images=2)


def test_mean_and_deviation_of_the_file_are_those_of_the_images() -> None:
    numbers = section("shapes")
    found = data.load(numbers).splits["train"]
    assert isinstance(found, Held)
    pixels = torch.stack([image for image, _ in found.found]).double().transpose(0, 1).flatten(1)
    assert (pixels.mean(1) / 255).tolist() == pytest.approx(numbers.mean, abs=0.0006)
    assert (pixels.std(1, correction=0) / 255).tolist() == pytest.approx(numbers.std, abs=0.0006)
