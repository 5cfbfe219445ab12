from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from images import Album, encoded, mixed, picture
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from cnnctl.data.draws import Draws
from cnnctl.data.order import Ticket
from cnnctl.data.reading import Reader, Whole, Window
from cnnctl.data.source import Encoded, Mapped, Stored

CENTRE = torch.full((40,), 0.5, dtype=torch.float64)


def noise(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(math.prod(shape))
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def stored(count: int, size: int = 8, channels: int = 3) -> Stored:
    return Stored(noise(count, channels, size, size), np.arange(count, dtype=np.int64) % 2)


def recomputed(
    height: int, width: int, area: tuple[float, float], draws: list[float]
) -> tuple[int, int, int, int]:
    """The box of torchvision's RandomResizedCrop.get_params, from these numbers in [0, 1)."""
    numbers = iter(draws)
    for _ in range(10):
        share = area[0] + (area[1] - area[0]) * next(numbers)
        ratio = math.exp(math.log(0.75) + (math.log(4 / 3) - math.log(0.75)) * next(numbers))
        w = round(math.sqrt(share * height * width * ratio))
        h = round(math.sqrt(share * height * width / ratio))
        vertical, horizontal = next(numbers), next(numbers)
        if 0 < w <= width and 0 < h <= height:
            return (
                math.floor(vertical * (height - h + 1)),
                math.floor(horizontal * (width - w + 1)),
                h,
                w,
            )
    h, w = height, width
    if width / height < 0.75:
        h = round(width / 0.75)
    elif width / height > 4 / 3:
        w = round(height * (4 / 3))
    return (height - h) // 2, (width - w) // 2, h, w


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from([(0.08, 1.0), (0.5, 0.5), (1.0, 1.0), (0.001, 0.01)]),
    st.integers(0, 10**6),
)
def test_a_window_is_the_box_of_torchvision(height, width, area, sample) -> None:
    draws = Draws(0, 0, np.array([sample])).uniform("crop", Window.draws)[0]
    top, left, tall, wide = found = Window(8, area).box(height, width, draws)
    assert found == recomputed(height, width, area, draws.tolist())
    assert 0 <= top <= top + tall <= height
    assert 0 <= left <= left + wide <= width
    assert tall > 0
    assert wide > 0


@pytest.mark.parametrize(("height", "width"), [(100, 100), (60, 200), (200, 60)])
def test_windows_are_distributed_as_torchvisions(height, width) -> None:
    count, area = 3000, (0.08, 1.0)
    rows = Draws(1, 0, np.arange(count)).uniform("crop", Window.draws)
    window = Window(8, area)
    ours = torch.tensor([window.box(height, width, row) for row in rows]).double()
    torch.manual_seed(0)
    crop, image = v2.RandomResizedCrop(8, scale=area), torch.empty(1, height, width)
    params = [crop.make_params([image]) for _ in range(count)]
    names = ("top", "left", "height", "width")
    theirs = torch.tensor([[one[name] for name in names] for one in params]).double()
    for power in (1, 2):
        expected = theirs.pow(power).mean(0)
        spread = theirs.pow(power).std(0) * math.sqrt(2 / count)
        assert ((ours.pow(power).mean(0) - expected).abs() <= 4 * spread + 1e-9).all()


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [
        (100, 30, (30, 0, 40, 30)),
        (30, 100, (0, 30, 30, 40)),
        (50, 50, (0, 0, 50, 50)),
        (1000, 1, (499, 0, 1, 1)),
    ],
)
def test_where_no_window_fits_the_centre_is_taken(height, width, box) -> None:
    widest = CENTRE.clone()
    widest[0::4] = 1 - 2**-53  # the whole area
    widest[1::4] = 0.0 if height == width else 0.5  # a tall shape does not fit into a square
    assert Window(8, (1.0, 1.0)).box(height, width, widest) == box


@pytest.mark.parametrize(("height", "width"), [(40, 64), (8, 8), (9, 300), (1, 1)])
def test_the_pixels_of_a_window_are_its_box_resized(height, width) -> None:
    image = noise(3, height, width)
    window = Window(16, (0.08, 1))
    for row in Draws(3, 1, np.arange(5)).uniform("crop", Window.draws):
        box = window.box(height, width, row)
        expected = functional.resized_crop(image, *box, [16, 16], antialias=True)
        assert torch.equal(window(image, row), expected)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (20, 20), (31, 17), (9, 40), (5, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_whole_image_of_a_batch_is_that_of_each_image(height, width, channels) -> None:
    images = noise(6, channels, height, width)
    view = Whole(16)
    found = view(images)
    assert tuple(found.shape) == (6, channels, 16, 16)
    assert found.dtype == torch.uint8
    for image, pixels in zip(images, found, strict=True):
        assert torch.equal(view(image), pixels)


def test_the_whole_image_keeps_its_shape_and_loses_its_long_ends() -> None:
    image = torch.zeros(1, 20, 60, dtype=torch.uint8)
    image[:, :, 20:40] = 200
    assert torch.equal(Whole(20)(image), torch.full((1, 20, 20), 200, dtype=torch.uint8))
    assert Whole(20)(image[:, :, :20]) is not None
    same = noise(3, 20, 20)
    assert Whole(20)(same) is same


def batch(reader: Reader, samples: list[int], epoch: int | None) -> torch.Tensor:
    (pixels,) = reader.__getitems__([Ticket(np.array(samples), epoch)])
    assert pixels.images.dtype == torch.uint8
    assert pixels.labels.tolist() == [sample % 2 for sample in samples]
    assert pixels.ticket.samples.tolist() == samples
    return pixels.images


@pytest.mark.parametrize("view", [Whole(8), Window(8, (0.08, 1.0))], ids=["whole", "window"])
@pytest.mark.parametrize("kind", ["stored", "encoded"])
def test_an_image_does_not_depend_on_its_batch(view, kind) -> None:
    images = stored(12, 11) if kind == "stored" else encoded(mixed(12))
    reader = Reader(images, view, seed=4)
    whole = batch(reader, list(range(12)), 2)
    for samples in ([7], [3, 7, 1], [7, 7], list(range(11, -1, -1))):
        assert torch.equal(batch(reader, samples, 2), whole[samples])


def test_windows_change_with_seed_and_epoch_and_image() -> None:
    same = stored(2, 32).pick(np.zeros(2, np.int64))
    same.labels = np.array([0, 1])
    reader, other = (Reader(same, Window(8, (0.08, 1.0)), seed) for seed in (0, 1))
    found = [batch(one, [0, 1], epoch) for one in (reader, other) for epoch in (0, 1)]
    distinct = {pixels.numpy().tobytes() for pair in found for pixels in pair}
    assert len(distinct) == 8
    assert torch.equal(batch(reader, [0, 1], 0), found[0])


def test_images_in_memory_in_a_map_and_in_files_give_the_same_pixels() -> None:
    files = [picture(number, 8, 8) for number in range(10)]
    fresh = encoded(files)
    pixels = torch.stack([fresh[index] for index in range(10)])
    order = np.array([4, 9, 0, 3])
    choices = [Stored(pixels, fresh.labels), Mapped(pixels, fresh), fresh]
    for view in (Whole(8), Whole(6), Window(5, (0.08, 1.0))):
        found = []
        for images in choices:
            reader = Reader(images.pick(order), view, seed=0)
            assert len(reader) == 4
            ticket = Ticket(np.array([3, 1, 2]), 5)
            found.append(reader.batch(ticket))
        for one in found[1:]:
            assert torch.equal(one.images, found[0].images)
            assert torch.equal(one.labels, found[0].labels)


def test_measuring_draws_nothing() -> None:
    reader = Reader(encoded(mixed(6)), Whole(8), seed=0)
    assert torch.equal(batch(reader, [0, 5, 2], None), batch(reader, [0, 5, 2], 3))


def test_several_tickets_are_several_batches_and_each_image_is_read_once() -> None:
    album = Album([picture(number, 9, 9) for number in range(6)])
    images = Encoded(album, np.arange(6) % 2, 3)
    reader = Reader(images, Whole(8), seed=0)
    tickets = [Ticket(np.array(part), 0) for part in ([5, 0], [1], [2, 4, 3])]
    assert [len(pixels.images) for pixels in reader.__getitems__(tickets)] == [2, 1, 3]
    assert album.reads == [1] * 6
