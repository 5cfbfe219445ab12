from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnctl.commands.completion import candidates
from cnnctl.data import digits
from cnnctl.nets.ways_up import ways

TILE, GAP, MARGIN, BELOW = 256, 22, 26, 50  # of the sheet, in pixels
NAMES = ["nearest", "bilinear", "bicubic", "transposed", "uneven", "unpool"]


@pytest.fixture
def cat() -> Path:
    """A wide picture in colour: red on the left, blue on the right."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, :48, 0] = pixels[:, 48:, 2] = np.arange(64)[:, None] + 150
    Image.fromarray(pixels).save("cat.png")
    return Path("cat.png")


def panel(file: str, number: int, side: int) -> np.ndarray:
    """The pixels of a panel of the sheet, uint8 (side, side, 3), enlarged ones taken back."""
    row, column = divmod(number, 4)
    left = MARGIN + column * (TILE + GAP)
    down = MARGIN + row * (TILE + BELOW + GAP) + TILE
    factor = 4  # 64 pixels are shown as 256
    with Image.open(file) as sheet:
        whole = np.asarray(sheet.convert("RGB"))
    return whole[down - factor * side : down, left : left + factor * side][::factor, ::factor]


def test_every_panel_is_what_its_way_makes_of_a_digit(cnnctl) -> None:
    outcome = cnnctl("upsample", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    image = digits.one(3, 64)
    found = ways(image.float() / 255, 4)
    shown = {"image": image.float() / 255, "max-pooled": found.pooled, **found.up}
    for number, values in enumerate(shown.values()):
        expected = (values[0] * 255).round().clamp(0, 255).numpy()
        seen = panel("upsample.png", number, values.shape[1])
        assert (seen == expected[..., None]).all(), number
    assert Path("upsample.png").stat().st_size < 200_000


def test_the_document_says_how_far_each_way_is_from_the_image(cnnctl) -> None:
    result = cnnctl("upsample", "by=2", "size=32", "output=here.png", "--json").document["result"]
    about = {"file": "here.png", "image": None, "by": 2, "size": 32}
    assert {name: result[name] for name in about} == about
    true = digits.one(3, 32).double() / 255
    found = ways(true.float(), 2)
    for row in result["ways"]:
        gaps = found.up[row["name"]].double().numpy() - true.numpy()
        assert row["rmse"] == pytest.approx(np.sqrt((gaps**2).mean()), rel=1e-5)
    assert [row["name"] for row in result["ways"]] == NAMES


def test_a_picture_is_seen_as_a_net_sees_it(cnnctl, cat: Path) -> None:
    """The short side resized, the centre kept, in colour."""
    assert cnnctl("upsample", str(cat)).code == 0
    with Image.open(cat) as opened:
        middle = np.asarray(opened)[:, 16:80]
    np.testing.assert_array_equal(panel("upsample.png", 0, 64), middle)
    pooled = middle.reshape(16, 4, 16, 4, 3).max((1, 3))
    np.testing.assert_array_equal(panel("upsample.png", 1, 16), pooled)
    nearest = pooled.repeat(4, 0).repeat(4, 1)
    np.testing.assert_array_equal(panel("upsample.png", 2, 64), nearest)


def test_people_read_a_table_and_where_the_picture_is(cnnctl) -> None:
    lines = cnnctl("upsample", "output=ways.png").out.splitlines()
    assert lines[0].split() == ["way", "up", "RMS", "error"]
    assert [line.split()[0] for line in lines[2:8]] == NAMES
    assert "5×5 of ones, stride 4" in lines[6]
    assert lines[-1] == "picture  ways.png"


def test_the_same_picture_is_the_same_bytes(cnnctl) -> None:
    for name in ("a.png", "b.png"):
        cnnctl("upsample", f"output={name}")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["by=3"], "by must be one of 2, 4, 8, got '3'"),
        (["size=4"], "size must be a whole number from 8 to 512, got '4' (pixels of a side)"),
        (["size=x"], "size must be a whole number from 8 to 512, got 'x' (pixels of a side)"),
        (["by=8", "size=30"], "size=30 is no multiple of by=8 (size=24)"),
        (["output=x.jpg"], "output must end in .png, got 'x.jpg' (output=x.png)"),
        (["output=no/x.png"], "output: cannot write no/x.png: there is no folder no"),
        (["outptu=x.png"], "unknown key 'outptu' (did you mean 'output'?)"),
        (["by=2", "by=4"], "by is given more than once"),
        (["a", "b"], "upsample takes one image, got a and b (cnnctl upsample cat.jpg)"),
        (["a.png"], "cannot read a.png: no such file"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_nothing_is_written(cnnctl, words: list[str], line: str) -> None:
    before = sorted(Path.cwd().iterdir())
    assert cnnctl("upsample", *words) == (2, "", f"cnnctl: error: {line}\n")
    assert sorted(Path.cwd().iterdir()) == before


def test_all_mistakes_are_told_at_once(cnnctl) -> None:
    assert len(cnnctl("upsample", "by=5", "size=0", "output=x").err.splitlines()) == 3


def test_what_is_no_picture_is_refused(cnnctl) -> None:
    Path("cat.png").write_text("meow")
    assert cnnctl("upsample", "cat.png").err == (
        "cnnctl: error: cannot read cat.png: not an image\n"
    )


def test_a_folder_in_place_of_the_picture_is_refused(cnnctl) -> None:
    Path("x.png").mkdir()
    text = "cnnctl: error: output: cannot write x.png: it is a folder\n"
    assert cnnctl("upsample", "output=x.png").err == text


def test_keys_and_their_words_are_completed() -> None:
    assert candidates(["upsample"], "") == ["by=", "output=", "size="]
    assert candidates(["upsample"], "by=") == ["by=2", "by=4", "by=8"]
    assert candidates(["upsample", "cat.png"], "s") == ["size="]


def test_help_says_what_it_takes(cnnctl) -> None:
    page = cnnctl("upsample", "--help").out
    assert page.startswith("usage: cnnctl upsample [IMAGE] [by=4] [size=64] [output=FILE.png]\n")
    for name in ("nearest", "bilinear", "bicubic", "transposed", "unpool"):
        assert name in page


def test_a_digit_is_that_of_the_data_set() -> None:
    digit = digits.one(3, 8)
    assert (digit.shape, digit.dtype) == ((1, 8, 8), torch.uint8)
    with np.load(Path(digits.__file__).with_name("digits.npz")) as arrays:
        expected = (arrays["images"][3].astype(np.float32) * 255 / 16).round()
    np.testing.assert_array_equal(digit[0], expected)
