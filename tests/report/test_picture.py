from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from cnnctl.errors import UsageError
from cnnctl.report import picture


def drawn(title: str = "one") -> Figure:
    made = Figure(figsize=(2, 1), dpi=100)
    FigureCanvasAgg(made)
    picture.framed(made.add_subplot()).set_title(title)
    return made


def test_the_ending_says_the_format() -> None:
    assert picture.save(drawn, Path("one.png")) == "one.png"
    with Image.open("one.png") as made:
        assert made.size == (200, 100)
    picture.save(drawn, Path("one.SVG"))
    assert Path("one.SVG").read_text().lstrip().startswith("<?xml")
    assert sorted(path.name for path in Path.cwd().glob("one*")) == ["one.SVG", "one.png"]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_same_picture_is_the_same_bytes(ending: str) -> None:
    for name in ("one", "two"):
        picture.save(drawn, Path(f"{name}.{ending}"))
    assert Path(f"one.{ending}").read_bytes() == Path(f"two.{ending}").read_bytes()


def test_a_script_that_the_font_does_not_have_is_no_warning() -> None:
    picture.save(lambda: drawn("猫"), Path("cat.png"))
    assert Path("cat.png").exists()


@pytest.mark.parametrize("name", ["one.gif", "one", "one.png.bak"])
def test_another_ending_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"a file that ends in \.png or \.svg, got 'one"):
        picture.save(drawn, Path(name))
    assert not Path(name).exists()


def test_what_cannot_be_written_leaves_what_was_there() -> None:
    Path("taken.png").mkdir()
    with pytest.raises(UsageError, match=r"cannot write taken\.png: Is a directory"):
        picture.save(drawn, Path("taken.png"))
    with pytest.raises(UsageError, match=r"cannot write none/one\.png: No such file"):
        picture.save(drawn, Path("none/one.png"))
    assert [path.name for path in Path.cwd().iterdir() if path.name != "home"] == ["taken.png"]
