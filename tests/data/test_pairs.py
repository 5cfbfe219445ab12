from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from masked import NAMES, cells, held, load, mask, pairs, photo, refusal, save
from PIL import Image

from cnnctl.data.pairs import Held, Pairs, pixels


def one(root: Path) -> Pairs:
    """The pair 0 of a folder, alone."""
    source = load(root, split_seed=0)
    for split in source.splits:
        found = pairs(source, split)
        for index in range(len(found.labels)):
            if Path(found.name(index)).stem == "0":
                return found.pick(np.array([index]))
    raise AssertionError


def stored(file: Path, pixels_of: np.ndarray, orientation: int) -> None:
    """Saved so that a reader who follows EXIF sees `pixels_of`."""
    undone = {2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
              5: lambda a: a.swapaxes(0, 1), 6: np.rot90,
              7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: lambda a: np.rot90(a, -1)}  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(undone[orientation](pixels_of))).save(file, exif=exif)


def test_a_pair_is_image_and_mask(tmp_path) -> None:
    found = one(cells(tmp_path, 3))
    image, wanted = found.pair(0)
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 9, 12))
    assert (wanted.dtype, tuple(wanted.shape)) == (torch.uint8, (1, 9, 12))
    assert torch.equal(found[0], image)
    assert found.labels.tolist() == [0]


def test_sizes_that_differ_are_told(tmp_path) -> None:
    cells(tmp_path, 3)
    save(tmp_path / "masks/0.png", mask(0, height=9, width=11))
    text = (
        f"mask {tmp_path}/masks/0.png has 11x9 pixels, but image {tmp_path}/images/0.png has 12x9"
    )
    assert refusal(lambda: one(tmp_path).pair(0)) == text


@pytest.mark.parametrize("orientation", range(2, 9))
def test_both_turned_alike_are_one_pair(tmp_path, orientation) -> None:
    cells(tmp_path, 3)
    stored(tmp_path / "images/0.png", photo(0), orientation)
    stored(tmp_path / "masks/0.png", mask(0), orientation)
    image, wanted = one(tmp_path).pair(0)
    assert torch.equal(image, torch.from_numpy(photo(0)).permute(2, 0, 1))
    assert wanted.tolist() == [mask(0).tolist()]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_sizes_tell_that_a_mask_is_that_of_the_upright_image(tmp_path, orientation) -> None:
    cells(tmp_path, 3)
    stored(tmp_path / "images/0.png", photo(0), orientation)
    image, wanted = one(tmp_path).pair(0)
    assert torch.equal(image, torch.from_numpy(photo(0)).permute(2, 0, 1))
    assert wanted.tolist() == [mask(0).tolist()]
    save(tmp_path / "masks/0.png", np.rot90(mask(0)))  # that of the image as it is stored
    text = refusal(lambda: one(tmp_path).pair(0))
    assert text.endswith("images/0.png has 12x9, turned upright as its EXIF says")


@pytest.mark.parametrize(("orientation", "square"), [(2, False), (3, False), (4, False), (6, True)])
def test_where_sizes_do_not_tell_it_is_refused(tmp_path, orientation, square) -> None:
    cells(tmp_path, 3)
    width = 9 if square else 12
    stored(tmp_path / "images/0.png", photo(0, width=width), orientation)
    save(tmp_path / "masks/0.png", mask(0, width=width))
    image = tmp_path / "images/0.png"
    text = f"image {image} is stored turned (EXIF orientation {orientation}), and mask "
    text += f"{tmp_path}/masks/0.png does not say whether it is, too"
    hint = f"(store the image upright: mogrify -auto-orient {image})"
    assert refusal(lambda: one(tmp_path).pair(0)) == f"{text} {hint}"


def test_a_photo_of_a_camera_is_looked_at_too(tmp_path) -> None:
    cells(tmp_path, 3)
    (tmp_path / "images/0.png").unlink()
    stored(tmp_path / "images/0.jpg", photo(0), 3)
    assert "(EXIF orientation 3)" in refusal(lambda: one(tmp_path).pair(0))


@pytest.mark.parametrize("part", ["images", "masks"])
def test_what_cannot_be_read_is_named(tmp_path, part) -> None:
    cells(tmp_path, 3)
    (tmp_path / part / "0.png").write_bytes(b"")
    what = {"images": "image", "masks": "mask"}[part]
    text = f"cannot read {what} {tmp_path / part / '0.png'}: the file is empty"
    assert refusal(lambda: one(tmp_path).pair(0)) == text


def test_pairs_are_picked_together(tmp_path) -> None:
    found = pairs(load(cells(tmp_path, 8), val_fraction=0.2)).pick(np.array([4, 0, 2]))
    twice = found.pick(np.array([2, 1]))
    assert twice.name(0) == found.name(2)
    for index in range(2):
        number = int(Path(twice.name(index)).stem)
        assert twice.pair(index)[1].tolist() == [mask(number).tolist()]


def test_what_is_held() -> None:
    found = held((4, 5), (6, 3), (2, 2))
    assert found.bytes == 4 * (20 + 18 + 4)
    picked = found.pick(np.array([2, 0]))
    assert isinstance(picked, Held)
    assert [picked.name(index) for index in range(2)] == ["image 2", "image 0"]
    assert picked.pair(1)[0] is found.pair(0)[0]
    assert torch.equal(picked[0], found[2])
    assert picked.labels.tolist() == [0, 0]


@pytest.mark.parametrize(("count", "most"), [(5, 256), (5, 5), (7, 3), (1, 4)])
def test_pixels_of_each_class_in_some_masks(count, most) -> None:
    masks = [torch.from_numpy(mask(number, 3)) for number in range(count)]
    masks[0][0, :5] = 255  # ignored
    found = Held([(masks[0], one[None]) for one in masks], NAMES * count)
    looked = range(count) if most >= count else [0, (count - 1) // 2, count - 1]
    wanted = [sum(int((masks[place] == label).sum()) for place in looked) for label in range(3)]
    assert pixels(found, 3, most).tolist() == wanted
