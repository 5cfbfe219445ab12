from __future__ import annotations

import numpy as np
import pytest
import torch
from pictures import by_pil, half_bright, saved, scene
from PIL import Image

from cnnctl.data import decode
from cnnctl.errors import DataError


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


def test_the_head_is_found_behind_fillers_and_comments() -> None:
    data = saved(scene(), "JPEG", comment=b"\xff\xc0 no frame")
    padded = data[:2] + b"\xff\xff\xff" + data[3:]
    assert decode._frame(data) == decode._frame(padded) == (32, 48, 3)
