from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from masked import mask, refusal
from PIL import Image

from cnnctl.config.legend import Legend
from cnnctl.data.files import Files
from cnnctl.data.mask_files import MaskImages, classes, values

TWO = Legend(("a", "b"), (0, 1))
COLOURS = Legend(("a", "b", "c"), (0xFF0000, 0x00FF00, 0x0A0B0C), (0xFFFFFF,), coloured=True)
PALETTE = [255, 0, 0, 0, 255, 0, 10, 11, 12, 255, 255, 255]
PLACES = np.array([[0, 1, 2], [3, 2, 1]], np.uint8)  # of the palette


def stored(picture: Image.Image, form: str = "PNG", **how: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **how)
    return stream.getvalue()


def indexed() -> Image.Image:
    picture = Image.fromarray(PLACES)
    picture.putpalette(PALETTE)
    return picture


def told(data: bytes, legend: Legend = TWO) -> str:
    return refusal(lambda: classes(values(data, legend.coloured, "m.png"), legend, "m.png"))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_levels_of_grey_are_what_stands_in_the_file(form) -> None:
    wanted = mask(1, 256)
    found = values(stored(Image.fromarray(wanted), form), coloured=False, name="m")
    assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
def test_of_a_palette_the_index_counts_not_the_colour(form) -> None:
    found = values(stored(indexed(), form), coloured=False, name="m")
    assert found.tolist() == PLACES.tolist()


def test_sixteen_bits_keep_their_levels() -> None:
    wanted = np.array([[0, 1, 255, 256, 65535]], np.uint16)
    found = values(stored(Image.fromarray(wanted)), coloured=False, name="m")
    assert found.tolist() == wanted.tolist()
    legend = Legend(("a", "b", "c"), (0, 256, 65535), (1, 255))
    assert classes(found, legend, "m").tolist() == [[0, 255, 255, 1, 2]]


@pytest.mark.parametrize("value", [-1, 65536])
def test_what_is_beyond_sixteen_bits_is_no_class(value) -> None:
    """Not even of a legend whose last value is where -1 would point to."""
    data = stored(Image.fromarray(np.array([[0, 1], [value, 1]], np.int32)), "TIFF")
    legend = Legend(("a", "b", "c"), (0, 1, 65535))
    wanted = f"mask m.png has the value {value} (save masks with 0 to 65535)"
    assert told(data, legend) == wanted


def test_white_of_one_bit_is_white() -> None:
    picture = Image.fromarray(np.array([[0, 255, 255]], np.uint8)).convert("1")
    assert values(stored(picture), coloured=False, name="m").tolist() == [[0, 255, 255]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_grey_that_is_saved_as_colour_is_grey(mode) -> None:
    wanted = mask(2, 256)
    picture = Image.fromarray(wanted).convert(mode)
    if mode != "RGB":
        picture.putalpha(Image.fromarray(mask(3, 256)))
    assert values(stored(picture), coloured=False, name="m").tolist() == wanted.tolist()


@pytest.mark.parametrize("mode", ["P", "RGB", "RGBA"])
def test_colours_by_their_table(mode) -> None:
    picture = indexed() if mode == "P" else indexed().convert(mode)
    if mode == "RGBA":
        picture.putalpha(0)  # the colour that is stored counts
    found = classes(values(stored(picture), coloured=True, name="m"), COLOURS, "m")
    assert (found.dtype, found.tolist()) == (torch.uint8, [[0, 1, 2], [255, 2, 1]])


def test_grey_is_a_colour_too() -> None:
    data = stored(Image.fromarray(np.array([[0, 7]], np.uint8)))
    legend = Legend(("a", "b"), (0x000000, 0x070707), coloured=True)
    assert classes(values(data, coloured=True, name="m"), legend, "m").tolist() == [[0, 1]]


def test_every_class_by_a_naive_loop() -> None:
    found = np.random.default_rng(0).permutation(256).reshape(16, 16)
    order = np.random.default_rng(1).permutation(256)
    legend = Legend(tuple(map(str, range(250))), tuple(order[:250].tolist()),
                    tuple(order[250:].tolist()))  # fmt: skip
    made = classes(found, legend, "m")
    for row in range(16):
        for column in range(16):
            place = int(np.flatnonzero(order == found[row, column])[0])
            assert int(made[row, column]) == (place if place < 250 else 255)


def test_an_unknown_value_is_named_with_how_often_and_where() -> None:
    pixels = np.zeros((5, 6), np.uint8)
    pixels[3, 2] = pixels[4, 5] = 9
    text = (
        "mask m.png has the unknown value 9 in 2 pixels, first in row 3, column 2, counted from 0"
    )
    data = stored(Image.fromarray(pixels))
    legend = Legend(("a", "b", "c"), (0, 1, 2), (255,))
    hint = "(known are 0, 1, 2; to leave it out: data.ignore=[255, 9])"
    assert told(data, legend) == f"{text} {hint}"
    assert told(data) == f"{text} (data.values=[0, 9])"  # as many values as classes
    pixels[0] = [20, 21, 22, 23, 24, 25]
    assert "value 20 in 1 pixel, first in row 0, column 0" in told(stored(Image.fromarray(pixels)))
    assert "; and 9, 21, 22, 23, 24, … (" in told(stored(Image.fromarray(pixels)))


def test_an_unknown_colour_is_shown_as_one() -> None:
    data = stored(Image.new("RGB", (2, 1), (1, 2, 255)))
    assert "has the unknown value '#0102ff' in 2 pixels" in told(data, COLOURS)


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_what_is_lossy_is_refused_whatever_its_name(form) -> None:
    text = f"mask m.png is stored as {form} (it mixes the values of neighbours; save masks as PNG)"
    assert told(stored(Image.fromarray(mask(0)), form)) == text


def test_a_gif_is_refused_since_its_indices_change() -> None:
    data = stored(indexed(), "GIF")
    text = "mask m.png is stored as GIF (whoever saves it numbers its colours anew; save masks as"
    assert told(data).startswith(text)


def test_a_tiff_may_hide_a_jpeg() -> None:
    data = stored(Image.fromarray(mask(0)), "TIFF", compression="jpeg")
    assert told(data).startswith("mask m.png is stored as TIFF (it mixes")


def test_the_other_kind_of_mask_is_told() -> None:
    colour = stored(Image.new("RGB", (2, 2), (1, 2, 3)))
    text = "mask m.png is in colour, but the values of the classes are numbers"
    assert told(colour) == f"{text} (give the colour of each class: data.values=['#000000', …])"
    deep = stored(Image.fromarray(np.zeros((2, 2), np.uint16)))
    text = "mask m.png has levels of grey, but the values of the classes are colours"
    assert told(deep, COLOURS) == f"{text} (give the level of each class: data.values=[0, …])"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello", "not an image"),
        (stored(Image.fromarray(mask(0, 256, 64, 64)))[:900], "image file is truncated"),
        (stored(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"), "pixels of mode F are no"),
    ],
)
def test_what_cannot_be_read(data, reason) -> None:
    assert told(data).startswith(f"cannot read mask m.png: {reason}")


def test_several_pictures_in_a_file() -> None:
    frames = [Image.fromarray(mask(number)) for number in range(2)]
    data = stored(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert told(data) == "mask m.png has several pictures (save each as a file)"


def test_a_mask_is_turned_as_its_exif_says() -> None:
    wanted = mask(5)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    data = stored(Image.fromarray(np.rot90(wanted)), exif=exif)
    assert values(data, coloured=False, name="m").tolist() == wanted.tolist()


def test_files_by_number_and_name(tmp_path: Path) -> None:
    for number in range(4):
        Image.fromarray(mask(number)).save(tmp_path / f"{number}.png")
    found = MaskImages(Files.of([tmp_path / f"{number}.png" for number in range(4)]), TWO)
    picked = found.pick(np.array([3, 1])).pick(np.array([1]))
    assert (picked.name(0), picked.turned(0)) == (str(tmp_path / "1.png"), 1)
    assert picked[0].tolist() == mask(1).tolist()
    (tmp_path / "1.png").unlink()
    text = f"cannot read mask {tmp_path / '1.png'}: No such file or directory"
    assert refusal(lambda: picked[0]) == text
