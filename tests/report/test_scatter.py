from __future__ import annotations

import json
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from cnnctl.errors import UsageError
from cnnctl.report import scatter

COSTS = json.loads((resources.files("cnnctl.nets") / "costs.json").read_text(encoding="utf-8"))
KNOWN = ("alexnet", "zfnet", "vgg16", "vgg19", "googlenet", "inception_v3", "inception_v4",
         "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "densenet121",
         "densenet161", "mobilenet_v1", "mobilenet_v2", "shufflenet_v2_x1_0", "efficientnet_b0",
         "efficientnet_b4", "xception")  # fmt: skip
PNG = b"\x89PNG\r\n\x1a\n"


def net(name: str, params: int | None = None, macs: int | None = None) -> dict[str, Any]:
    cost = COSTS.get(name, {})
    totals = {"params": cost.get("params", params), "macs": cost.get("macs", macs)}
    return {"name": name, "input": [3, 224, 224], "totals": totals}


def texts(nets) -> tuple[list[str], list[Any], Any]:
    """The names in the picture, their boxes in pixels, and that of the frame."""
    made = scatter.figure(nets)
    renderer = made.canvas.get_renderer()
    (axes,) = made.axes
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    return [text.get_text() for text in axes.texts], boxes, axes.get_window_extent(renderer)


def refused(path: str, *nets) -> str:
    with pytest.raises(UsageError) as caught:
        scatter.save(nets or [net("lenet5")], Path(path))
    return str(caught.value)


@pytest.mark.parametrize("ending", ["png", "PNG", "svg", "SVG"])
def test_the_ending_decides_what_is_written(ending, tmp_path) -> None:
    place = tmp_path / f"nets.{ending}"
    assert scatter.save([net("lenet5"), net("vgg16")], place) == str(place)
    written = place.read_bytes()
    if ending.lower() == "png":
        assert written.startswith(PNG)
        assert [int.from_bytes(written[at : at + 4]) for at in (16, 20)] == [1260, 840]
    else:
        root = ET.fromstring(written)  # noqa: S314 - our own text
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == [place.name]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_same_nets_give_the_same_file(ending, tmp_path) -> None:
    nets = [net(name) for name in KNOWN[:5]]
    one, other = (Path(scatter.save(nets, tmp_path / f"{n}.{ending}")) for n in (1, 2))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("path", "told"),
    [("nets.jpg", "--plot nets.png"), ("nets", "--plot nets.png"), (".", "--plot nets.png"),
     ("a/nets.pdf", "--plot a/nets.png")],
)  # fmt: skip
def test_other_endings_are_refused(path, told) -> None:
    text = refused(path)
    assert text == f"--plot takes a file that ends in .png or .svg, got '{path}' ({told})"
    assert not Path(path).is_file()


def test_a_folder_that_is_not_there_is_refused() -> None:
    assert refused("none/nets.png") == (
        "cannot write none/nets.png: No such file or directory "
        "(give a file in a folder that can be written to)"
    )


def test_what_stands_there_stays_if_the_picture_cannot_take_its_place(tmp_path) -> None:
    place = tmp_path / "nets.png"
    place.mkdir()
    assert refused(str(place)).startswith(f"cannot write {place}: ")
    assert list(tmp_path.glob("*nets*")) == [place]
    assert list(tmp_path.glob(".nets*")) == []


@pytest.mark.parametrize(
    ("params", "macs", "word"), [(0, 5, "parameters"), (5, 0, "multiply-adds")]
)
def test_a_net_without_costs_has_no_place(params, macs, word) -> None:
    Path("nets.png").write_bytes(b"old")
    assert refused("nets.png", net("lenet5"), net("odd", params, macs)) == (
        f"odd has no {word}: it has no place in the picture (leave out odd, or --plot)"
    )
    assert Path("nets.png").read_bytes() == b"old"


@pytest.mark.parametrize("names", [KNOWN[:1], KNOWN[:3], KNOWN], ids=len)
def test_up_to_twenty_names_stand_apart_and_in_the_frame(names) -> None:
    told, boxes, frame = texts([net(name) for name in names])
    assert sorted(told) == sorted(names)
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert frame.x0 <= box.x0 <= box.x1 <= frame.x1
        assert frame.y0 <= box.y0 <= box.y1 <= frame.y1


def test_all_nets_of_the_zoo_have_their_names_in_a_larger_picture() -> None:
    nets = [net(name) for name in COSTS]
    told, boxes, frame = texts(nets)
    names = [name for text in told for line in text.split("\n") for name in line.split(", ")]
    assert sorted(names) == sorted(COSTS)
    assert len(names) > len(told)
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    assert frame.width > texts(nets[:2])[2].width


def test_the_lines_to_names_move_no_mark() -> None:
    (axes,) = scatter.figure([net(name) for name in COSTS]).axes
    assert axes.lines
    assert not axes.get_autoscale_on()


def test_a_name_is_text_and_no_formula() -> None:
    told, _, _ = texts([net("a$x^2$", 5, 7)])
    assert told == ["a$x^2$"]


def test_marks_stand_at_the_costs_on_logarithmic_axes() -> None:
    made = scatter.figure([net("vgg16"), net("resnet50")])
    (axes,) = made.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.collections[0].get_offsets().tolist() == [
        [15_470_264_320, 138_357_544], [3_857_973_248, 25_557_032],
    ]  # fmt: skip
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("multiply-adds per image", "parameters")


@pytest.mark.parametrize(
    ("inputs", "title"),
    [(([3, 32, 32], [3, 32, 32]), "One image, 3×32×32"),
     (([3, 32, 32], [1, 28, 28]), "One image of each net's own size")],
)  # fmt: skip
def test_the_title_says_of_which_images_the_costs_are(inputs, title) -> None:
    nets = [net("vgg16") | {"input": size} for size in inputs]
    assert scatter.figure(nets).axes[0].get_title(loc="left") == title


def test_nets_of_the_same_costs_share_a_place() -> None:
    nets = [net("a", 1, 2), net("b", 3, 2), net("c", 1, 2)]
    assert scatter.places(nets) == {(2, 1): ["a", "c"], (2, 3): ["b"]}


def test_marks_on_top_of_each_other_are_named_together_and_crowds_come_first() -> None:
    marks = {(1, 1): (0, 0), (2, 2): (500, 0), (3, 3): (503, 0), (4, 4): (520, 0)}
    assert scatter.together(marks, 4) == {
        (2, 2): [(2, 2), (3, 3)], (4, 4): [(4, 4)], (1, 1): [(1, 1)],
    }  # fmt: skip
    assert list(scatter.together(marks, 4)) == [(2, 2), (4, 4), (1, 1)]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e9, "1 G"), (2e7, "20 M"), (3e5, "300 k"), (1e12, "1 T"), (10, "10"), (1e13, "10 T")],
)
def test_ticks_have_prefixes(value, text) -> None:
    assert scatter.prefixed(value) == text
