from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.mirror import mirrored, reflected

SIDES = st.integers(1, 7)


def by_numpy(images: torch.Tensor, margin: int, tall: int, wide: int) -> np.ndarray:
    height, width = images.shape[2:]
    rows = (margin, tall - margin - height)
    columns = (margin, wide - margin - width)
    return np.pad(images.numpy(), ((0, 0), (0, 0), rows, columns), mode="reflect")


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_borders_are_those_of_numpy_however_wide(height, width, margin, below, right) -> None:
    images = torch.arange(2 * 3 * height * width).view(2, 3, height, width)
    tall, wide = margin + height + below, margin + width + right
    found = mirrored(images, margin, tall, wide)
    assert found.shape == (2, 3, tall, wide)
    np.testing.assert_array_equal(found.numpy(), by_numpy(images, margin, tall, wide))


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.int64])
@pytest.mark.parametrize(("margin", "tall"), [(1, 7), (9, 23)])
def test_narrow_and_wide_borders_keep_the_type(dtype, margin, tall) -> None:
    images = torch.arange(25).view(1, 1, 5, 5).to(dtype)
    found = mirrored(images, margin, tall, tall)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.numpy(), by_numpy(images, margin, tall, tall))


def test_the_pixel_at_the_edge_is_not_doubled() -> None:
    row = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    assert mirrored(row, 0, 1, 8).flatten().tolist() == [1, 2, 3, 2, 1, 2, 3, 2]
    assert mirrored(row, 2, 5, 7)[0, 0, 0].tolist() == [3, 2, 1, 2, 3, 2, 1]


def test_one_pixel_is_repeated() -> None:
    pixel = torch.full((1, 1, 1, 1), 5.0)
    assert (mirrored(pixel, 3, 9, 8) == 5).all()


def test_nothing_to_add_is_the_same_tensor() -> None:
    images = torch.randn(1, 2, 4, 5)
    assert mirrored(images, 0, 4, 5) is images


@pytest.mark.parametrize("length", [1, 2, 3, 8])
def test_places_go_back_and_forth(length) -> None:
    line = [*range(length), *range(length - 2, 0, -1)] or [0]
    places = torch.arange(-3 * len(line), 3 * len(line))
    assert reflected(places, length).tolist() == [line[int(one) % len(line)] for one in places]


def test_gradients_of_all_copies_come_together() -> None:
    for margin, tall in ((2, 9), (11, 27)):
        images = torch.randn(1, 1, 5, 5, requires_grad=True)
        mirrored(images, margin, tall, tall).sum().backward()
        assert images.grad is not None
        copies = np.bincount(
            by_numpy(torch.arange(25).view(1, 1, 5, 5), margin, tall, tall).ravel()
        )
        np.testing.assert_array_equal(images.grad.flatten().numpy(), copies)
