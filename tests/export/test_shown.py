from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from exports import pixels
from PIL import Image
from torch import Tensor

from cnnctl.data.source import Encoded, Images, Mapped, Source, Stored
from cnnctl.export.shown import CHUNK, RAW, choose


class Pngs:
    """Images of growing width, 20 pixels high, as files are."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int, /) -> bytes:
        pixels = np.full((20, 20 + index, 3), 20 * index, np.uint8)
        with io.BytesIO() as file:
            Image.fromarray(pixels).save(file, "PNG")
            return file.getvalue()

    def name(self, index: int) -> str:
        return f"{index}.png"

    def stamp(self) -> str:
        return ""


def stored(count: int, size: int = 16) -> Stored:
    values = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, size, size)
    return Stored(values.contiguous(), np.arange(count) % 3)


def source(images: Images) -> Source:
    return Source(("a", "b", "c"), {"test": images})


def first(shown: Tensor) -> list[int]:
    return shown[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("count", "picked"), [(4, [0, 2, 5, 7]), (10, list(range(10))), (99, list(range(10)))]
)
def test_images_are_spread_over_the_split(count: int, picked: list[int]) -> None:
    shown = choose(source(stored(10)), "test", count, 16)
    ((images, labels),) = shown.chunks()
    assert first(images) == picked
    assert labels.tolist() == [place % 3 for place in picked]
    assert len(shown) == len(picked)


def test_many_images_come_in_chunks_of_whole_batches() -> None:
    sizes = [len(labels) for _, labels in choose(source(stored(250)), "test", 250, 16).chunks()]
    assert sizes == [CHUNK, CHUNK, 58]
    assert CHUNK % 3 == CHUNK % 32 == 0


def test_images_are_shown_as_evaluate_reads_them() -> None:
    shown = choose(source(stored(5, size=30)), "test", 5, 16)
    ((images, _),) = shown.chunks()
    assert images.shape == (5, 1, 16, 16)
    assert images.dtype == torch.uint8


def test_raw_images_have_their_own_sizes() -> None:
    encoded = Encoded(Pngs(), np.arange(10) % 3, 3, least=16)
    raw, scaled = choose(source(encoded), "test", 10, 16).raw()
    assert not scaled
    assert [tuple(image.shape) for image, _ in raw] == [(1, 3, 20, 20 + i) for i in range(10)]
    assert [int(label) for _, label in raw] == [place % 3 for place in range(10)]


def test_what_was_decoded_into_a_cache_is_decoded_again() -> None:
    encoded = Encoded(Pngs(), np.zeros(10, np.int64), 3)
    mapped = Mapped(torch.zeros(10, 3, 16, 16, dtype=torch.uint8), encoded)
    raw, _ = choose(source(mapped), "test", 3, 16).raw()
    assert [image.shape[-1] for image, _ in raw] == [20, 23, 26]
    assert int(raw[2][0].max()) == 120


def test_images_that_all_fit_are_scaled() -> None:
    raw, scaled = choose(source(stored(9)), "test", 9, 16).raw()
    assert scaled
    assert {tuple(image.shape[-2:]) for image, _ in raw} == {(24, 32), (13, 16), (16, 20)}
    assert first(torch.cat([image[..., :1, :1] for image, _ in raw])) == list(range(9))


def test_a_few_raw_images_are_enough() -> None:
    images = Stored(pixels(100, 1, 20, 30), np.zeros(100, np.int64))
    raw, scaled = choose(source(images), "test", 100, 16).raw()
    assert RAW <= len(raw) <= 2 * RAW
    assert not scaled
