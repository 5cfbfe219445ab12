from __future__ import annotations

import contextlib
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnctl.data import folder
from cnnctl.errors import DataError


def half_bright(mode: str = "RGB") -> Image.Image:
    """8 wide, 16 high, white above and black below."""
    pixels = np.zeros((16, 8, 3), np.uint8)
    pixels[:8] = 255
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize(
    ("orientation", "bright"), [(1, "top"), (3, "bottom"), (6, "right"), (8, "left")]
)
def test_photos_stand_upright_as_their_camera_says(tmp_path, orientation, bright) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    half_bright().save(tmp_path / "a.jpg", exif=exif, quality=100)
    image = folder.read_image(tmp_path / "a.jpg", 3).float()
    assert tuple(image.shape) == ((3, 16, 8) if bright in ("top", "bottom") else (3, 8, 16))
    halves = {
        "top": image[:, :4], "bottom": image[:, -4:], "left": image[:, :, :4],
        "right": image[:, :, -4:],
    }  # fmt: skip
    assert halves[bright].mean() > 250
    assert image.mean().item() == pytest.approx(127.5, abs=3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_pixel_becomes_bytes_of_the_same_brightness(tmp_path, mode, channels) -> None:
    image = half_bright("RGB" if mode.startswith("I") else mode)
    if mode.startswith("I"):
        wide = np.asarray(half_bright("L")).astype(np.uint16 if mode == "I;16" else np.int32)
        image = Image.fromarray(wide * 257)
    image.save(tmp_path / "a.tif")
    pixels = folder.read_image(tmp_path / "a.tif", channels)
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (channels, 16, 8))
    assert pixels[:, :8].unique().tolist() == [255]
    assert pixels[:, 8:].unique().tolist() == [0]


def test_sixteen_bits_keep_their_shades(tmp_path) -> None:
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    assert folder.read_image(tmp_path / "a.png", 1).flatten().tolist() == list(range(256))


def test_a_transparent_palette_is_read_without_a_warning(tmp_path) -> None:
    half_bright("P").save(tmp_path / "a.png", transparency=bytes([0, 128]))
    assert folder.read_image(tmp_path / "a.png", 3)[:, :8].unique().tolist() == [255]


def test_floating_point_pixels_are_refused_since_they_have_no_scale(tmp_path) -> None:
    Image.new("F", (8, 8), 0.5).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: floating-point pixels have no scale; save it"):
        folder.read_image(tmp_path / "a.tif", 1)


def test_colour_becomes_grey_by_its_luminance(tmp_path) -> None:
    Image.new("RGB", (2, 2), (255, 0, 0)).save(tmp_path / "a.png")
    assert folder.read_image(tmp_path / "a.png", 1).unique().tolist() == [76]


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["png", "jpg", "gif", "bmp", "tif", "webp"]), st.data())
def test_damage_of_any_kind_is_a_data_error(tmp_path, ending, data) -> None:
    file = tmp_path / f"a.{ending}"
    half_bright().save(file)
    content = bytearray(file.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL also warns of damage that it can live with
        with contextlib.suppress(DataError):
            assert folder.read_image(file, 3).dtype == torch.uint8
