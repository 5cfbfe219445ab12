from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from cnnctl.data.augment.erasing import AREA, RATIOS, TRIES, Erase
from cnnctl.data.draws import Draws


def draws(count: int, epoch: int = 0) -> Draws:
    return Draws(1, epoch, np.arange(count))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32), (3, 33)])
def test_every_image_is_torchvisions_erased_image(channels, size, layout) -> None:
    change, images = Erase(0.7), torch.randn(60, channels, size, size)
    changed = change(images.clone(memory_format=torch.preserve_format).to(memory_format=layout),
                     draws(60))  # fmt: skip
    boxes = change.parameters(draws(60), size, size).tolist()
    for image, found, (top, left, tall, wide) in zip(images, changed, boxes, strict=True):
        nothing = torch.zeros(channels, 1, 1)
        assert torch.equal(found, functional.erase(image, top, left, tall, wide, nothing))
    assert changed.is_contiguous(memory_format=layout)


def boxes_of(numbers: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """RandomErasing.make_params, fed with the numbers of one image (4, TRIES)."""
    low, high = (math.log(ratio) for ratio in RATIOS)
    for area, ratio, down, right in numbers.T:
        erased = height * width * (AREA[0] + area * (AREA[1] - AREA[0]))
        shape = math.exp(low + ratio * (high - low))
        tall, wide = round(math.sqrt(erased * shape)), round(math.sqrt(erased / shape))
        if tall < height and wide < width:
            return int(down * (height - tall + 1)), int(right * (width - wide + 1)), tall, wide
    return 0, 0, 0, 0


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 8), (3, 3), (1, 1)])
def test_rectangles_are_tried_as_torchvision_tries_them(height, width) -> None:
    numbers = draws(300).uniform("rectangle", 4 * TRIES).view(-1, 4, TRIES).numpy()
    found = Erase(1).parameters(draws(300), height, width)
    for box, row in zip(found.tolist(), numbers, strict=True):
        expected = boxes_of(row, height, width)
        assert tuple(box) == expected or (box[2] == expected[2] == 0)


def test_the_limits_are_torchvisions_defaults() -> None:
    theirs = v2.RandomErasing()
    assert (tuple(theirs.scale), tuple(theirs.ratio)) == (AREA, RATIOS)
    assert theirs.value == [0]


def test_rectangles_are_spread_as_torchvisions() -> None:
    ours = Erase(1).parameters(draws(3000), 32, 32).double()
    torch.manual_seed(0)
    theirs = [v2.RandomErasing().make_params([torch.zeros(3, 32, 32)]) for _ in range(3000)]
    rows = torch.tensor([[one[key] for key in "ijhw"] for one in theirs]).double()
    for column in range(4):
        assert ours[:, column].mean() == pytest.approx(rows[:, column].mean().item(), abs=0.7)
        assert ours[:, column].std() == pytest.approx(rows[:, column].std().item(), abs=0.6)
    area = (ours[:, 2] * ours[:, 3] / 32**2).mean().item()
    assert area == pytest.approx((rows[:, 2] * rows[:, 3] / 32**2).mean().item(), abs=0.01)


@pytest.mark.parametrize("probability", [0, 0.25, 0.9, 1])
def test_a_rectangle_is_erased_with_its_probability(probability) -> None:
    boxes = Erase(probability).parameters(draws(4000), 32, 32)
    share = (boxes[:, 2] > 0).float().mean().item()
    assert share == pytest.approx(probability, abs=0.03 if 0 < probability < 1 else 0)


def test_an_image_into_which_nothing_fits_is_left_alone() -> None:
    images = torch.ones(5, 3, 1, 1)
    assert torch.equal(Erase(1)(images.clone(), draws(5)), images)


def test_erasing_is_in_place_and_follows_seed_and_epoch() -> None:
    images = torch.ones(9, 1, 16, 16)
    first = Erase(1)(images, draws(9))
    assert first.data_ptr() == images.data_ptr()
    assert torch.equal(first, Erase(1)(torch.ones(9, 1, 16, 16), draws(9)))
    assert not torch.equal(first, Erase(1)(torch.ones(9, 1, 16, 16), draws(9, epoch=1)))
    assert torch.equal(first[:4], Erase(1)(torch.ones(4, 1, 16, 16), draws(4)))
