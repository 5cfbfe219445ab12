from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnctl.data.augment.pca import EIGENVALUES, EIGENVECTORS, PcaColour
from cnnctl.data.draws import Draws


def draws(count: int, epoch: int = 0) -> Draws:
    return Draws(0, epoch, np.arange(count))


def test_a_colour_is_the_papers_formula() -> None:
    """Section 4.1: [p1, p2, p3][a1 l1, a2 l2, a3 l3]ᵀ is added to every pixel."""
    images = torch.rand(20, 3, 4, 5) * 255
    changed = PcaColour(0.1)(images.clone(), draws(20))
    axes, values = np.array(EIGENVECTORS), np.array(EIGENVALUES)
    for image, found, multiples in zip(
        images, changed, draws(20).normal("colour", 3).numpy(), strict=True
    ):
        shift = axes @ (0.1 * multiples * values) * 255
        expected = image + torch.from_numpy(shift).float()[:, None, None]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_the_axes_are_orthogonal_and_of_length_one() -> None:
    axes = np.array(EIGENVECTORS)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=2e-3)
    assert sorted(EIGENVALUES, reverse=True) == list(EIGENVALUES)
    first = axes[:, 0]
    assert np.ptp(first) < 0.02  # most of the variance is brightness: R, G and B alike


@pytest.mark.parametrize("deviation", [0.05, 0.1, 1])
def test_multiples_have_the_deviation(deviation) -> None:
    shifts = PcaColour(deviation).parameters(draws(20000)).double().numpy()
    along = shifts @ np.array(EIGENVECTORS) / 255 / np.array(EIGENVALUES)
    np.testing.assert_allclose(along.mean(0), 0, atol=0.05 * deviation)
    np.testing.assert_allclose(along.std(0), deviation, rtol=0.03)


def test_every_pixel_of_an_image_moves_alike_and_images_do_not() -> None:
    moved = PcaColour(0.1)(torch.zeros(50, 3, 6, 6), draws(50))
    assert torch.equal(moved, moved[:, :, :1, :1].expand_as(moved))
    assert len(moved[:, 0, 0, 0].unique()) == 50


def test_the_layout_is_kept_and_the_work_done_in_place() -> None:
    images = torch.zeros(5, 3, 6, 6).contiguous(memory_format=torch.channels_last)
    changed = PcaColour(0.1)(images, draws(5))
    assert changed.data_ptr() == images.data_ptr()
    assert changed.is_contiguous(memory_format=torch.channels_last)


def test_colours_follow_seed_and_epoch() -> None:
    change = PcaColour(0.1)
    assert torch.equal(change.parameters(draws(4)), change.parameters(draws(4)))
    assert not torch.equal(change.parameters(draws(4)), change.parameters(draws(4, epoch=1)))
    assert torch.equal(change.parameters(draws(4))[:2], change.parameters(draws(2)))
