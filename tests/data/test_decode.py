from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from cnnctl.data import decode
from cnnctl.errors import DataError

ORIENTATION = 0x0112  # the EXIF tag
# Where the corners of the stored image 0 1 / 2 3 are seen, row by row, for each orientation.
CORNERS = {1: "0123", 2: "1032", 3: "3210", 4: "2301", 5: "0213", 6: "2031", 7: "3120", 8: "1302"}


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def half_bright(mode: str = "RGB") -> Image.Image:
    """8 wide, 16 high, white above and black below."""
    pixels = np.zeros((16, 8, 3), np.uint8)
    pixels[:8] = 255
    return Image.fromarray(pixels).convert(mode)


def scene(width: int = 48, height: int = 32, mode: str = "RGB") -> Image.Image:
    """Smooth patches of many colours."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def by_pil(data: bytes, mode: str = "RGB") -> torch.Tensor:
    """What PIL alone makes of it: (C, H, W)."""
    with Image.open(io.BytesIO(data)) as opened:
        pixels = np.array(ImageOps.exif_transpose(opened).convert(mode))
    return torch.from_numpy(pixels).reshape(*pixels.shape[:2], -1).permute(2, 0, 1)


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


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_pixel_becomes_bytes_of_the_same_brightness(mode, channels) -> None:
    image = half_bright("RGB" if mode.startswith("I") else mode)
    if mode.startswith("I"):
        wide = np.asarray(half_bright("L")).astype(np.uint16 if mode == "I;16" else np.int32)
        image = Image.fromarray(wide * 257)
    pixels = decode.image(saved(image, "TIFF"), channels, "a")
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (channels, 16, 8))
    assert pixels[:, :8].unique().tolist() == [255]
    assert pixels[:, 8:].unique().tolist() == [0]


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "TIFF", "PPM", "WEBP"])
def test_every_format_holds_the_same_image(form) -> None:
    data = saved(half_bright(), form, **({"lossless": True} if form == "WEBP" else {}))
    assert torch.equal(decode.image(data, 3, "a"), by_pil(saved(half_bright(), "BMP")))


def test_sixteen_bits_keep_their_shades() -> None:
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    data = saved(Image.fromarray(ramp), "PNG")
    assert decode.image(data, 1, "a").flatten().tolist() == list(range(256))


def test_a_transparent_palette_is_read_without_a_warning() -> None:
    data = saved(half_bright("P"), "PNG", transparency=bytes([0, 128]))
    assert decode.image(data, 3, "a")[:, :8].unique().tolist() == [255]


@pytest.mark.parametrize("alpha", [0, 128, 255])
@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (10, 200, 30)), ("LA", (90,))])
def test_what_is_transparent_keeps_the_colour_that_is_stored_for_it(mode, colour, alpha) -> None:
    data = saved(Image.new(mode, (2, 2), (*colour, alpha)), "PNG")
    wanted = colour if len(colour) == 3 else colour * 3
    assert decode.image(data, 3, "a")[:, 0, 0].tolist() == list(wanted)


def test_floating_point_pixels_are_refused_since_they_have_no_scale() -> None:
    data = saved(Image.new("F", (8, 8), 0.5), "TIFF")
    with pytest.raises(DataError, match=r"a\.tif: floating-point pixels have no scale; save it"):
        decode.image(data, 1, "a.tif")


def test_colour_becomes_grey_by_its_luminance() -> None:
    data = saved(Image.new("RGB", (2, 2), (255, 0, 0)), "PNG")
    assert decode.image(data, 1, "a").unique().tolist() == [76]


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "the file is empty"), (b"just text", "not an image"), (b"\xff\xd8\xff", "not an image")],
)
def test_what_is_no_image_is_named(data, reason) -> None:
    with pytest.raises(DataError) as caught:
        decode.image(data, 3, "x/a.jpg")
    assert str(caught.value) == f"cannot read image x/a.jpg: {reason}"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_an_image_that_ends_early_is_refused(form) -> None:
    data = saved(scene(), form)
    for share in (0.2, 0.5, 0.8):
        with pytest.raises(DataError, match=r"^cannot read image a: "):
            decode.image(data[: int(share * len(data))], 3, "a")


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


def test_the_head_is_found_behind_fillers_and_comments() -> None:
    data = saved(scene(), "JPEG", comment=b"\xff\xc0 no frame")
    padded = data[:2] + b"\xff\xff\xff" + data[3:]
    assert decode._frame(data) == decode._frame(padded) == (32, 48, 3)


def test_a_torchvision_without_its_decoder_is_no_loss_but_of_time(quick, monkeypatch) -> None:
    monkeypatch.setattr(torch.ops, "image", object())
    data = saved(scene(), "JPEG")
    assert torch.equal(decode.image(data, 3, "a"), by_pil(data))
    assert quick == [False]
