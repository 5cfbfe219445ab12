from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from images import picture
from pictures import half_bright, saved, scene
from PIL import Image
from snapshots import png, written

from cnnctl.data import decode, pictures
from cnnctl.data.files import Files
from cnnctl.data.reading import Whole
from cnnctl.data.source import Encoded
from cnnctl.errors import DataError

SIZE = 8


def refused(name: str, size: int = SIZE) -> str:
    with pytest.raises(DataError) as caught:
        pictures.read(name, 3, size)
    return str(caught.value)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("form", "high", "wide"), [("JPEG", 90, 61), ("PNG", 20, 31), ("GIF", 8, 8)]
)
def test_the_pixels_are_those_of_an_evaluation(
    form: str, high: int, wide: int, channels: int
) -> None:
    name = written("a.bin", picture(1, high, wide, "RGB", form))
    split = Encoded(Files.of([name]), np.zeros(1, np.int64), channels).at_least(SIZE)
    found = pictures.read(name, channels, SIZE)
    assert (found.pixels.dtype, tuple(found.pixels.shape)) == (torch.uint8, (channels, SIZE, SIZE))
    assert torch.equal(found.pixels, Whole(SIZE)(split[0]))
    assert (found.file, found.note) == (name, None)


@pytest.mark.parametrize(
    ("form", "modes"),
    [
        ("PNG", "1 L LA P RGB RGBA I;16"),
        ("TIFF", "1 L LA P PA RGB RGBA CMYK YCbCr I;16"),
        ("JPEG", "1 L RGB CMYK YCbCr"),
        ("GIF", "1 L LA P RGB RGBA"),
        ("WEBP", "L P RGB RGBA"),
    ],
)
def test_every_kind_of_pixel_is_read_in_every_format_that_has_it(form: str, modes: str) -> None:
    for mode in modes.split():
        image = half_bright("L" if mode == "I;16" else "RGB")
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
        elif mode == "PA":
            image = image.convert("P").convert("PA")
        else:
            image = image.convert(mode)
        pixels = pictures.read(written("a", saved(image, form)), 3, SIZE).pixels
        assert pixels[:, 0].min() > 245, mode
        assert pixels[:, -1].max() < 10, mode


def test_inverted_cmyk_of_photoshop_has_the_right_brightness() -> None:
    data = saved(half_bright("CMYK"), "JPEG")
    assert b"Adobe" in data  # PIL writes as Photoshop does: inverted, and marked so
    pixels = pictures.read(written("a.jpg", data), 1, SIZE).pixels
    assert (int(pixels[0, 0, 0]) > 245, int(pixels[0, -1, 0]) < 10) == (True, True)


def test_a_photo_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = half_bright().rotate(90, expand=True)  # bright at the left, as the sensor had it
    pixels = pictures.read(written("a.jpg", saved(lying, "JPEG", exif=exif)), 3, SIZE).pixels
    upright = decode.image(saved(half_bright(), "PNG"), 3, "a")
    assert (pixels.float() - Whole(SIZE)(upright).float()).abs().mean() < 8


@pytest.mark.parametrize(
    ("form", "note"),
    [("GIF", "first of 3 frames"), ("PNG", "first of 3 frames"), ("WEBP", "first of 3 frames"),
     ("TIFF", "first of 3 pages"), ("MPO", None)],
)  # fmt: skip
def test_of_several_pictures_the_first_is_taken_and_it_is_said(form: str, note: str | None) -> None:
    frames = [Image.new("RGB", (16, 16), (level, level, level)) for level in (200, 100, 0)]
    name = written("a", saved(frames[0], form, save_all=True, append_images=frames[1:]))
    found = pictures.read(name, 3, SIZE)
    assert found.note == note
    assert abs(int(found.pixels.float().mean()) - 200) < 3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"just text", "not an image"),
        (b"%PDF-1.7", "not an image: PDF, save the page as PNG"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "not an image: HEIC, save it as JPEG or PNG"),
        (b"\0\0\0\x18ftypmp42" + bytes(40), "not an image: a film, save a frame as PNG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "not an image: JPEG XL, save it as JPEG or PNG"),
        (b"\xff\x0a" + bytes(40), "not an image: JPEG XL, save it as JPEG or PNG"),
        (b"\xef\xbb\xbf\n<SVG xmlns=", "not an image: SVG, a drawing; save it as PNG"),
        (b'<?xml version="1.0"?><svg', "not an image: XML or SVG; save a drawing as PNG"),
        (b"  <!DOCTYPE html><html>", "not an image: a web page"),
        (b"PK\x03\x04" + bytes(40), "not an image: a zip archive, unpack it"),
        (b"version https://git-lfs.github.com/spec/v1", "not an image: a Git LFS pointer, fetch the file with: git lfs pull"),  # noqa: E501 - the text in one piece
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "EPS, a drawing; save it as PNG"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused_with_what_it_is(data: bytes, reason: str) -> None:
    assert refused(written("a.jpg", data)) == reason


def test_what_cannot_be_decoded_is_refused_with_the_reason_alone() -> None:
    half = saved(scene(200, 200), "JPEG")
    assert refused(written("a.jpg", half[: len(half) // 2])).startswith("image file is truncated")
    floats = saved(Image.new("F", (8, 8), 0.5), "TIFF")
    text = "floating-point pixels have no scale; save it with 8 or 16 bits"
    assert refused(written("a.tif", floats)) == text


def test_what_is_no_file_is_refused() -> None:
    Path("folder.jpg").mkdir()
    Path("link.jpg").symlink_to("gone.jpg")
    os.mkfifo("pipe.jpg")
    assert refused("gone.jpg") == "no such file"
    assert refused("link.jpg") == "the link leads nowhere"
    assert refused("folder.jpg") == refused("pipe.jpg") == "not a file"


def test_a_file_that_may_not_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def shut(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    name = written("a.png", saved(scene(), "PNG"))
    monkeypatch.setattr(Image, "open", shut)
    assert refused(name) == "Permission denied"


def test_an_error_of_any_kind_is_about_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    name = written("a.png", saved(scene(), "PNG"))
    for wrong, reason in ((IndexError("tile 3"), "tile 3"), (KeyError(), "KeyError")):
        monkeypatch.setattr(decode, "image", lambda *_, wrong=wrong: (_ for _ in ()).throw(wrong))
        assert refused(name) == f"damaged: {reason}"


@pytest.mark.parametrize("side", [10_000, 60_000])  # PIL warns of the first, refuses the second
def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    monkeypatch.setattr(decode, "image", None)
    name = written("a.png", png(side, side))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = "more than 89,478,485 pixels, which may exhaust the memory; make it smaller"
        assert refused(name) == text


def test_a_line_that_would_become_a_bomb_when_resized_is_refused() -> None:
    name = written("a.png", png(20_000, 1, bytes(20_001)))
    assert pictures.read(name, 3, SIZE).pixels.sum() == 0
    assert refused(name, 224) == "20000 x 1 pixels are too long and thin for 224 x 224"
