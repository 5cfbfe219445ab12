from __future__ import annotations

import numpy as np
import pytest
import torch
from masked import held
from torch.nn.functional import interpolate

from cnnctl.data.draws import Draws
from cnnctl.data.order import Ticket
from cnnctl.data.pair_reading import Cut, Entire, PairReader, resized
from cnnctl.data.reading import Window

NONE = torch.empty(0)


def ticket(*samples: int, epoch: int | None = None) -> Ticket:
    return Ticket(np.array(samples), epoch)


def test_the_whole_image_with_the_mask_as_it_is() -> None:
    image, mask = held((20, 30)).pair(0)
    same = Entire(None)(image, mask)
    assert same.image is image
    assert same.mask is mask
    smaller = Entire(10)(image, mask)
    assert smaller.image.shape == (3, 10, 15)
    assert smaller.mask is mask


@pytest.mark.parametrize(("short", "size"), [(10, (10, 15)), (40, (40, 60)), (20, (20, 30))])
def test_the_short_side_is_resized_and_masks_get_no_new_value(short, size) -> None:
    image, mask = held((20, 30)).pair(0)
    mask = mask // 25 * 100
    found, classes = resized(image, short), resized(mask, short, exact=True)
    assert found.shape[1:] == classes.shape[1:] == size
    assert set(classes.unique().tolist()) <= set(mask.unique().tolist())
    wanted = interpolate(
        image[None].float(), size, mode="bilinear", antialias=True, align_corners=False
    )
    assert float((found - wanted[0]).abs().max()) <= 1
    lines = ((np.arange(size[0]) + 0.5) * 20 / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * 30 / size[1]).astype(int)
    assert np.array_equal(classes[0].numpy(), mask[0].numpy()[lines][:, columns])


@pytest.mark.parametrize("short", [None, 20])
def test_what_fits_is_not_touched(short) -> None:
    image, _ = held((20, 30)).pair(0)
    assert resized(image, short) is image


@pytest.mark.parametrize("draw", [0.0, 0.3, 0.5, 0.99])
def test_a_window_is_a_part_of_both(draw) -> None:
    image, mask = held((20, 30)).pair(0)
    found, classes = Cut(8, None, None)(image, mask, torch.tensor([draw, 0.99 - draw]))
    top, left = int(draw * 13), int((0.99 - draw) * 23)
    assert torch.equal(found, image[:, top : top + 8, left : left + 8])
    assert torch.equal(classes, mask[:, top : top + 8, left : left + 8])


def test_every_place_of_a_window_is_as_likely() -> None:
    image, mask = held((10, 9)).pair(0)
    cut, rows = Cut(8, None, None), Draws(0, 0, np.arange(3000)).uniform("crop", 2)
    places = [tuple(cut(image, mask, row).image[:2, 0, 0].tolist()) for row in rows]
    counts = [places.count((top, left)) for top in range(3) for left in range(2)]
    assert sum(counts) == 3000
    assert 400 < min(counts) <= max(counts) < 600  # 500 each, deviation 20


@pytest.mark.parametrize(("height", "width"), [(5, 30), (30, 5), (4, 3), (1, 6), (8, 8)])
def test_what_a_small_image_lacks_is_mirrored(height, width) -> None:
    image, mask = held((height, width)).pair(0)
    found, classes = Cut(8, None, None)(image, mask, torch.tensor([0.5, 0.5]))
    assert found.shape == (3, 8, 8)
    lacking = [max(0, 8 - side) for side in (height, width)]
    sides = [(one // 2, one - one // 2) for one in lacking]
    around = np.pad(mask.numpy(), ((0, 0), *sides), mode="reflect")
    top, left = (max(0, (side - 7) // 2) if side > 8 else 0 for side in (height, width))
    assert np.array_equal(classes.numpy(), around[:, top : top + 8, left : left + 8])
    assert torch.equal(found[0] + found[1], classes[0])


def test_a_crop_of_a_random_area_is_one_of_both() -> None:
    image, mask = held((40, 50)).pair(0)
    cut, window = Cut(16, None, (0.3, 0.9)), Window(16, (0.3, 0.9))
    assert cut.draws == window.draws
    for row in Draws(0, 0, np.arange(20)).uniform("crop", cut.draws):
        found, classes = cut(image, mask, row)
        assert torch.equal(found, window(image, row))
        top, left, tall, wide = window.box(40, 50, row)
        lines = top + ((np.arange(16) + 0.5) * tall / 16).astype(int)
        columns = left + ((np.arange(16) + 0.5) * wide / 16).astype(int)
        assert np.array_equal(classes[0].numpy(), mask[0].numpy()[lines][:, columns])
        assert float(((found[0].int() + found[1]) - classes[0].int()).abs().float().mean()) < 2


def test_resizing_comes_before_the_window() -> None:
    image, mask = held((20, 30)).pair(0)
    row = torch.tensor([0.9, 0.2])
    found, classes = Cut(8, 10, None)(image, mask, row)
    small, low = resized(image, 10), resized(mask, 10, exact=True)
    wanted = Cut(8, None, None)(small, low, row)
    assert torch.equal(found, wanted.image)
    assert torch.equal(classes, wanted.mask)


def test_training_reads_batches_of_windows() -> None:
    pairs = held((20, 30), (9, 12), (40, 8), (5, 5))
    reader = PairReader(pairs, Cut(8, None, None), 7)
    asked = ticket(3, 0, 6, epoch=2)  # beyond the last it goes on from the first
    (found,) = reader.__getitems__([asked])
    assert (found.images.shape, found.labels.shape) == ((3, 3, 8, 8), (3, 1, 8, 8))
    assert found.ticket.samples.tolist() == [3, 0, 6]
    rows = Draws(7, 2, np.array([3, 0, 6])).uniform("crop", 2)
    for place, (sample, row) in enumerate(zip((3, 0, 2), rows, strict=True)):
        image, mask = Cut(8, None, None)(*pairs.pair(sample), row)
        assert torch.equal(found.images[place], image)
        assert torch.equal(found.labels[place], mask)
    again = reader.batch(asked)
    assert torch.equal(again.images, found.images)
    assert len(reader) == 4


def test_what_an_image_is_does_not_depend_on_its_batch() -> None:
    reader = PairReader(held((20, 30), (9, 12), (40, 28)), Cut(8, None, None), 0)
    whole = reader.batch(ticket(0, 1, 2, epoch=5))
    for place in range(3):
        alone = reader.batch(ticket(place, epoch=5))
        assert torch.equal(alone.images[0], whole.images[place])
        assert torch.equal(alone.labels[0], whole.labels[place])
    other = reader.batch(ticket(0, 1, 2, epoch=6))
    assert not torch.equal(other.images, whole.images)


def test_measuring_has_a_batch_for_each_size() -> None:
    pairs = held((9, 12), (20, 30), (9, 12), (12, 9), (9, 12))
    found = list(PairReader(pairs, Entire(None), 0).batches(ticket(0, 1, 2, 3, 4)))
    assert [batch.images.shape for batch in found] == [
        (3, 3, 9, 12), (1, 3, 20, 30), (1, 3, 12, 9)
    ]  # fmt: skip
    assert [batch.ticket.samples.tolist() for batch in found] == [[0, 2, 4], [1], [3]]
    for batch in found:
        for image, mask, sample in zip(*batch[:2], batch.ticket.samples.tolist(), strict=True):
            assert torch.equal(image, pairs.pair(sample)[0])
            assert torch.equal(mask, pairs.pair(sample)[1])


def test_masks_of_several_sizes_below_images_of_one() -> None:
    """Resized images may be alike where their masks are not."""
    found = list(PairReader(held((20, 30), (10, 15)), Entire(10), 0).batches(ticket(0, 1)))
    assert [batch.images.shape[2:] for batch in found] == [(10, 15), (10, 15)]
    assert [batch.labels.shape[2:] for batch in found] == [(20, 30), (10, 15)]


@pytest.mark.parametrize(("most", "sizes"), [(300, [2, 2, 1]), (150, [1] * 5), (None, [5])])
def test_large_images_come_in_smaller_batches(most, sizes) -> None:
    reader = PairReader(held(*[(10, 15)] * 5), Entire(None), 0, most)
    found = list(reader.batches(ticket(0, 1, 2, 3, 4)))
    assert [len(batch.images) for batch in found] == sizes
    assert [one for batch in found for one in batch.ticket.samples.tolist()] == [0, 1, 2, 3, 4]


def test_large_masks_below_small_images_come_in_smaller_batches() -> None:
    """Answers are made as large as the masks."""
    reader = PairReader(held(*[(20, 30)] * 5), Entire(10), 0, 1200)
    assert [len(batch.images) for batch in reader.batches(ticket(0, 1, 2, 3, 4))] == [2, 2, 1]


def test_a_batch_of_one_size_is_one() -> None:
    with pytest.raises(ValueError, match="too many values"):
        PairReader(held((4, 4), (5, 5)), Entire(None), 0).batch(ticket(0, 1))
