from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnctl.data import survey
from cnnctl.data.files import Files
from cnnctl.data.reading import Whole
from cnnctl.data.source import Encoded, Stored
from cnnctl.data.survey import header, joined, named_after

SIZE = 16


def picture(seed: int, width: int = SIZE, height: int = SIZE, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def saved(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def encoded(folder: Path, files: dict[str, bytes], channels: int = 3) -> Encoded:
    paths = [folder / name for name in files]
    for path, data in zip(paths, files.values(), strict=True):
        path.write_bytes(data)
    return Encoded(Files.of(paths), np.zeros(len(paths), np.int64), channels)


def looked(images: Encoded | Stored, size: int = SIZE) -> survey.Survey:
    return survey.survey(images, Whole(size), lambda *_: None)


def test_nothing_stops_at_a_broken_image(tmp_path: Path) -> None:
    whole = saved(picture(0), "JPEG")
    files = {
        "a.jpg": whole, "empty.jpg": b"", "cut.jpg": whole[: len(whole) // 2], "text.png": b"hello",
        "cut.png": saved(picture(1), "PNG")[:200],
    }  # fmt: skip
    images = encoded(tmp_path, files)
    (tmp_path / "text.png").write_text("hello")
    found = looked(images)
    assert list(found.broken) == [1, 2, 3, 4]
    assert (found.broken[1], found.broken[3]) == ("the file is empty", "not an image")
    assert not any(str(tmp_path) in reason for reason in found.broken.values())
    assert found.sound.tolist() == [True, False, False, False, False]
    assert found.count == SIZE * SIZE


def test_a_file_that_is_gone_is_broken(tmp_path: Path) -> None:
    images = encoded(tmp_path, {"a.png": saved(picture(0), "PNG")})
    (tmp_path / "a.png").unlink()
    found = looked(images)
    assert found.broken == {0: "No such file or directory"}
    assert found.count == 0


@pytest.mark.parametrize(
    ("name", "kind", "misnamed"),
    [
        ("a.jpg", "PNG", "PNG"), ("a.png", "JPEG", "JPEG"), ("a.JPEG", "JPEG", None),
        ("a.gif", "BMP", "BMP"), ("a.tif", "TIFF", None), ("a", "PNG", None),
        ("a.xyz", "PNG", None),
        ("a.pgm", "PPM", None), ("a.jpg", "WEBP", "WEBP"),
    ],
)  # fmt: skip
def test_an_ending_promises_a_format(
    tmp_path: Path, name: str, kind: str, misnamed: str | None
) -> None:
    found = looked(encoded(tmp_path, {name: saved(picture(0), kind)}))
    assert found.misnamed == ({0: misnamed} if misnamed else {})
    assert found.formats == {kind: 1}


def test_formats_and_modes_are_counted(tmp_path: Path) -> None:
    files = {
        "a.png": saved(picture(0), "PNG"), "b.png": saved(picture(1, mode="L"), "PNG"),
        "c.png": saved(picture(2, mode="RGBA"), "PNG"), "d.jpg": saved(picture(3), "JPEG"),
        "e.jpg": saved(picture(4, mode="CMYK"), "JPEG"),
    }  # fmt: skip
    found = looked(encoded(tmp_path, files))
    assert found.formats == {"PNG": 3, "JPEG": 2}
    assert found.modes == {"RGB": 2, "L": 1, "RGBA": 1, "CMYK": 1}
    assert found.broken == {}


def test_equal_files_and_equal_pixels_have_equal_hashes(tmp_path: Path) -> None:
    first = saved(picture(0), "PNG")
    files = {"a.png": first, "b.png": first, "c.bmp": saved(picture(0), "BMP"),
             "d.png": saved(picture(1), "PNG")}  # fmt: skip
    found = looked(encoded(tmp_path, files))
    assert found.files[0] == found.files[1] != found.files[2]
    assert found.pixels[0] == found.pixels[1] == found.pixels[2] != found.pixels[3]
    assert (found.thumbs[0] == found.thumbs[2]).all()


def test_the_same_bytes_in_another_shape_are_another_image() -> None:
    pixels = torch.arange(64, dtype=torch.uint8)
    wide = looked(Stored(pixels.view(1, 1, 4, 16), np.zeros(1, np.int64)), 4)
    tall = looked(Stored(pixels.view(1, 1, 16, 4), np.zeros(1, np.int64)), 4)
    assert wide.pixels[0] != tall.pixels[0]
    assert (wide.sizes.tolist(), tall.sizes.tolist()) == ([[4, 16]], [[16, 4]])


def test_sizes_are_height_and_width_as_it_is_seen(tmp_path: Path) -> None:
    turned = picture(0, width=20, height=12)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    file = io.BytesIO()
    turned.save(file, "JPEG", exif=exif)
    files = {"a.png": saved(picture(0, 20, 12), "PNG"), "b.jpg": file.getvalue()}
    assert looked(encoded(tmp_path, files)).sizes.tolist() == [[12, 20], [20, 12]]


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_deviation_are_those_of_all_pixels(tmp_path: Path, channels: int) -> None:
    files = {f"{seed}.png": saved(picture(seed), "PNG") for seed in range(5)}
    images = encoded(tmp_path, files, channels)
    pixels = torch.stack([images[index] for index in range(5)]).double() / 255
    found = looked(images)
    assert found.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist())
    assert found.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist())


def test_mean_is_that_of_what_the_net_sees(tmp_path: Path) -> None:
    image = Image.new("RGB", (60, 20), "white")
    image.paste("black", (20, 0, 40, 20))  # the centre, which is kept
    found = looked(encoded(tmp_path, {"a.png": saved(image, "PNG")}), 20)
    assert found.mean == [0, 0, 0]
    assert found.count == 400


def test_images_in_memory_have_no_files() -> None:
    pixels = torch.randint(0, 256, (80, 1, 8, 8), dtype=torch.uint8)
    done: list[tuple[int, int]] = []
    images = Stored(pixels, np.zeros(80, np.int64))
    found = survey.survey(images, Whole(8), lambda *told: done.append(told))
    assert done == [(32, 80), (64, 80), (80, 80)]
    assert not found.files.any()
    assert (found.formats, found.modes, found.broken) == ({}, {}, {})
    assert len(np.unique(found.pixels)) == 80
    assert found.mean == pytest.approx([pixels.double().mean().item() / 255])


def test_a_stack_is_cut_before_it_gets_large(monkeypatch: pytest.MonkeyPatch) -> None:
    images = Stored(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), np.zeros(10, np.int64))
    monkeypatch.setattr(survey, "MOST", 3 * 64)
    stacks = survey._stacks(images, range(10), survey.Survey.empty(10))
    assert [len(rows) for rows, _ in stacks] == [3, 3, 3, 1]


def test_splits_are_joined_one_after_the_other(tmp_path: Path) -> None:
    first = encoded(tmp_path, {"a.png": saved(picture(0), "PNG"), "b.png": b""})
    second = encoded(tmp_path, {"c.png": saved(picture(1), "JPEG"), "d.jpg": b"x"})
    parts = [looked(first), looked(second)]
    whole = joined(parts)
    assert list(whole.broken) == [1, 3]
    assert whole.misnamed == {2: "JPEG"}
    assert whole.pixels.tolist() == [*parts[0].pixels, *parts[1].pixels]
    assert whole.formats == {"PNG": 1, "JPEG": 1}


def test_the_first_bytes_tell_an_image() -> None:
    assert header(saved(picture(0), "JPEG")[:700]) == ("JPEG", "RGB")
    assert header(saved(picture(0, mode="L"), "PNG")) == ("PNG", "L")
    assert header(b"") is None
    assert header(b"GIF is not what it seems") is None
    assert named_after("a/b.JPG") == "JPEG"
    assert named_after("a.mpo") == "JPEG"
    assert named_after("a/b.jpg/c") is None
