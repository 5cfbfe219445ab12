from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import by_pil, half_bright, saved, scene
from PIL import Image

from cnnctl.data import decode
from cnnctl.errors import DataError

ORIENTATION = 0x0112  # the EXIF tag
# Where the corners of the stored image 0 1 / 2 3 are seen, row by row, for each orientation.
CORNERS = {1: "0123", 2: "1032", 3: "3210", 4: "2301", 5: "0213", 6: "2031", 7: "3120", 8: "1302"}


@pytest.fixture
def quick(monkeypatch) -> list[bool]:
    """For every call of torchvision's decoder, whether it has decoded."""
    calls: list[bool] = []
    whole = decode._quick

    def counted(data: bytes) -> torch.Tensor | None:
        found = whole(data)
        calls.append(found is not None)
        return found

    monkeypatch.setattr(decode, "_quick", counted)
    return calls


JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {}, "progressive": {"progressive": True}, "full chroma": {"subsampling": 0},
    "restarts": {"restart_marker_blocks": 2}, "comment": {"comment": b"\xff\xd9"},
}  # fmt: skip


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_usual_jpegs_are_decoded_by_torchvision_to_the_pixels_of_pil(quick, mode, options) -> None:
    data = saved(scene(mode=mode), "JPEG", **options)
    image = decode.image(data, 3, "a")
    assert quick == [True]
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 32, 48))
    assert torch.equal(image, by_pil(data))


def test_a_grey_jpeg_is_grey_by_torchvision_and_a_coloured_one_by_pil(quick) -> None:
    grey, coloured = saved(scene(mode="L"), "JPEG"), saved(scene(), "JPEG")
    assert torch.equal(decode.image(grey, 1, "a"), by_pil(grey, "L"))
    assert quick == [True]
    assert torch.equal(decode.image(coloured, 1, "a"), by_pil(coloured, "L"))
    assert quick == [True]


def test_jpegs_of_printers_are_decoded_by_pil(quick) -> None:
    data = saved(scene(mode="CMYK"), "JPEG")
    assert torch.equal(decode.image(data, 3, "a"), by_pil(data))
    assert quick == []


def test_png_is_left_to_pil_since_damage_would_end_the_process(quick) -> None:
    row = b"\x09" + bytes(24)  # there is no filter 9

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    data = (
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(row * 8)) + chunk(b"IEND", b"")
    )
    with pytest.raises(DataError, match=r"^cannot read image a\.png: "):
        decode.image(data, 3, "a.png")
    assert quick == []


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("form", "by_torchvision"), [("JPEG", [True]), ("PNG", []), ("TIFF", [])])
def test_photos_stand_upright_as_their_camera_says(
    quick, form, orientation, by_torchvision
) -> None:
    grey = np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((16, 8), np.uint8))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = saved(Image.fromarray(grey), form, exif=exif)
    image = decode.image(data, 1, "a")
    high = (32, 16) if orientation < 5 else (16, 32)
    assert tuple(image.shape) == (1, *high)
    corners = image[0, [0, 0, -1, -1], [0, -1, 0, -1]].float() / 80
    assert "".join(str(round(level)) for level in corners.tolist()) == CORNERS[orientation]
    assert quick == by_torchvision


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_changes_nothing(quick, orientation) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = saved(scene(), "JPEG", exif=exif)
    assert torch.equal(decode.image(data, 3, "a"), by_pil(saved(scene(), "JPEG")))
    assert quick == [True]


def test_an_orientation_in_xmp_is_followed_too(quick) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    data = saved(scene(), "JPEG", xmp=xmp)
    assert tuple(decode.image(data, 3, "a").shape) == (3, 48, 32)
    assert quick == []


@pytest.mark.parametrize(
    ("least", "size"),
    [(113, (112, 160)), (57, (112, 160)), (56, (56, 80)), (29, (56, 80)), (28, (28, 40)),
     (15, (28, 40)), (14, (14, 20)), (1, (14, 20))],
)  # fmt: skip
def test_a_large_jpeg_may_be_decoded_at_a_part_of_its_size(least, size) -> None:
    for mode in ("L", "RGB", "CMYK"):
        data = saved(scene(160, 112, mode), "JPEG", quality=95)
        for channels in (1, 3):
            image = decode.image(data, channels, "a", least)
            assert tuple(image.shape) == (channels, *size)
            reference = decode.image(data, channels, "a").float()[None]
            small = torch.nn.functional.interpolate(reference, size, mode="area")[0]
            assert (small - image.float()).abs().mean() < 4


def test_what_is_no_jpeg_keeps_its_size_and_so_does_a_small_jpeg(quick) -> None:
    assert tuple(decode.image(saved(scene(), "PNG"), 3, "a", 4).shape) == (3, 32, 48)
    assert quick == []
    assert tuple(decode.image(saved(scene(), "JPEG"), 3, "a", 17).shape) == (3, 32, 48)
    assert quick == [True]


def test_a_part_of_its_size_stands_upright_too() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = saved(half_bright().resize((80, 160)), "JPEG", exif=exif)
    image = decode.image(data, 3, "a", 20).float()
    assert tuple(image.shape) == (3, 20, 40)
    assert image[:, :, :15].mean() < 5
    assert image[:, :, -15:].mean() > 250


def test_a_jpeg_that_ends_early_is_refused_although_its_preview_is_whole(quick) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 1
    preview = b"Exif\0\0" + exif.tobytes()[6:] + saved(scene(16, 16), "JPEG")
    data = saved(scene(), "JPEG")
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview + data[2:]
    assert torch.equal(decode.image(data, 3, "a"), by_pil(saved(scene(), "JPEG")))
    with pytest.raises(DataError, match=r"truncated \(\d+ bytes not processed\)$"):
        decode.image(data[:-100], 3, "a")
    assert quick == [True, False]


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_an_image_too_large_to_be_meant_is_refused(monkeypatch, quick, form) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 32 * 48 // 2 - 1)
    text = r"a: Image size \(1536 pixels\) exceeds limit of 1534 pixels"
    with pytest.raises(DataError, match=text):
        decode.image(saved(scene(), form), 3, "a")
    assert quick == []


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]), st.data())
def test_damage_of_any_kind_is_a_data_error(form, data) -> None:
    content = bytearray(saved(half_bright(), form))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(0, len(content)))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL also warns of damage that it can live with
        with contextlib.suppress(DataError):
            assert decode.image(content, 3, "a").dtype == torch.uint8


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_behind_the_mark_of_a_jpeg_have_a_head_or_none(data) -> None:
    assert decode._frame(b"\xff\xd8" + data) is None or b"\x08" in data


def test_a_torchvision_without_its_decoder_is_no_loss_but_of_time(quick, monkeypatch) -> None:
    monkeypatch.setattr(torch.ops, "image", object())
    data = saved(scene(), "JPEG")
    assert torch.equal(decode.image(data, 3, "a"), by_pil(data))
    assert quick == [False]
