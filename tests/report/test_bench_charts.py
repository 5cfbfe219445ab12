from __future__ import annotations

import json
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from cnnctl.errors import UsageError
from cnnctl.report import bench_charts

COSTS = json.loads((resources.files("cnnctl.nets") / "costs.json").read_text(encoding="utf-8"))
TOP1 = {
    "alexnet_tv": 0.56522, "vgg16": 0.71592, "vgg19": 0.72376, "resnet18": 0.69758,
    "resnet152_v1_5": 0.78312, "wide_resnet50_2": 0.78468, "densenet161": 0.77138,
    "resnet101_v1_5": 0.77374, "mobilenet_v2": 0.71878, "shufflenet_v2_x0_5": 0.60552,
}  # fmt: skip
OF = "ImageNet, as it is stated"


def net(name: str, **changes: Any) -> dict[str, Any]:
    cost = COSTS[name]
    seconds = cost["macs"] / 4e10
    found = {"engine": "eager", "batch": 1, "median": seconds, "p95": 1.3 * seconds}
    return {
        "name": name, "params": cost["params"], "macs": cost["macs"], "input": [3, 224, 224],
        "rows": [found], "top1": TOP1.get(name), "top1_of": OF if name in TOP1 else None,
    } | changes  # fmt: skip


def data(*nets: dict[str, Any], **changes: Any) -> dict[str, Any]:
    found = list(nets) or [net(name) for name in TOP1]
    about = {"device": "cpu", "device_name": "A CPU", "threads": 2, "precision": "32-true"}
    return {**about, "nets": found} | changes


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_both_charts_are_one_file(ending, tmp_path) -> None:
    place = tmp_path / f"zoo.{ending}"
    assert bench_charts.save(data(), place) == str(place)
    written = place.read_bytes()
    if ending == "png":
        assert written.startswith(b"\x89PNG")
    else:
        assert ET.fromstring(written).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own text
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == [place.name]
    again = tmp_path / f"again.{ending}"
    bench_charts.save(data(), again)
    assert again.read_bytes() == written


def test_top1_stands_against_multiply_adds_with_parameters_as_areas() -> None:
    costs, _ = bench_charts.figure(data()).axes
    assert (costs.get_xscale(), costs.get_yscale()) == ("log", "linear")
    assert costs.get_ylabel() == "top-1 accuracy, %"
    assert costs.get_title(loc="left") == f"top-1: {OF}"
    bubbles = costs.collections[0]
    assert bubbles.get_offsets()[1].tolist() == [COSTS["vgg16"]["macs"], pytest.approx(71.592)]
    areas = dict(zip(TOP1, bubbles.get_sizes(), strict=True))
    ratio = COSTS["vgg16"]["params"] / COSTS["resnet152_v1_5"]["params"]
    assert areas["vgg16"] / areas["resnet152_v1_5"] == pytest.approx(ratio)
    assert [text.get_text() for text in costs.get_legend().get_texts()] == ["10 M", "100 M"]


@pytest.mark.parametrize(
    "other",
    [net("xception"), net("resnet34", top1=0.9, top1_of="test split of digits")],
    ids=["unknown", "other images"],
)
def test_without_a_common_top1_there_are_parameters(other) -> None:
    costs, _ = bench_charts.figure(data(net("vgg16"), other)).axes
    assert (costs.get_xscale(), costs.get_yscale()) == ("log", "log")
    assert costs.get_ylabel() == "parameters"
    assert costs.get_legend() is None
    assert costs.collections[0].get_offsets()[0].tolist() == [
        COSTS["vgg16"]["macs"], COSTS["vgg16"]["params"],
    ]  # fmt: skip


def test_runs_on_the_same_images_have_their_own_top1() -> None:
    of = "test split of digits"
    nets = [net("lenet5", top1=0.98, top1_of=of), net("mlp", top1=0.95, top1_of=of)]
    assert bench_charts.accuracy(nets) == of
    costs, _ = bench_charts.figure(data(*nets)).axes
    assert costs.collections[0].get_offsets()[:, 1].tolist() == [98, 95]


def test_bars_are_times_of_one_image_in_the_given_order() -> None:
    nets = [net("resnet18"), net("vgg16")]
    for one in nets:
        one["rows"][0]["batch"] = 4
    _, times = bench_charts.figure(data(*nets)).axes
    assert [text.get_text() for text in times.get_yticklabels()] == ["resnet18", "vgg16"]
    assert times.yaxis_inverted()
    widths = [bar.get_width() for bar in times.patches]
    assert widths == [pytest.approx(1e3 * one["rows"][0]["median"] / 4) for one in nets]
    assert times.get_title(loc="left") == "forward pass of 4 images\neager, 32-true, 2 threads"


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"threads": 1}, "1 thread"),
        ({"device": "gpu", "device_name": "NVIDIA H200"}, "NVIDIA H200"),
    ],
)
def test_the_title_says_on_what_it_was_measured(changes, where) -> None:
    _, times = bench_charts.figure(data(**changes)).axes
    assert times.get_title(loc="left") == f"forward pass of one image\neager, 32-true, {where}"


def test_names_stand_apart_and_in_the_frame() -> None:
    made = bench_charts.figure(data())
    renderer = made.canvas.get_renderer()
    costs = made.axes[0]
    frame = costs.get_window_extent(renderer)
    boxes = [text.get_window_extent(renderer) for text in costs.texts]
    assert sorted(text.get_text() for text in costs.texts) == sorted(TOP1)
    key = costs.get_legend().get_window_extent(renderer)
    for one, other in combinations([*boxes, key], 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert frame.x0 <= box.x0 <= box.x1 <= frame.x1
        assert frame.y0 <= box.y0 <= box.y1 <= frame.y1


def test_nothing_is_cut_off_at_the_edge() -> None:
    long = "2026-11-21_19-09-44_lenet5_digits_2d11"
    nets = [net("resnet18"), net("lenet5") | {"name": long}]
    nets[0]["rows"][0]["engine"] = "onnxruntime"
    made = bench_charts.figure(data(*nets))
    renderer = made.canvas.get_renderer()
    for axes in made.axes:
        for part in (axes.xaxis.label, axes.yaxis.label, axes._left_title):
            box = part.get_window_extent(renderer)
            assert box.x0 >= 0
            assert box.x1 <= made.bbox.x1


def refused(found: dict[str, Any], path: str) -> str:
    with pytest.raises(UsageError) as caught:
        bench_charts.save(found, Path(path))
    return str(caught.value)


def test_a_net_without_figures_has_no_place() -> None:
    text = "vgg16 has no parameters or multiply-adds that are known (leave out vgg16, or --plot)"
    for key in ("params", "macs"):
        assert refused(data(net("vgg16", **{key: None})), "zoo.png") == text
    assert not Path("zoo.png").exists()


def test_places_that_cannot_be_written_are_refused() -> None:
    assert refused(data(), "zoo.pdf").startswith("--plot takes a file that ends in .png or .svg")
    assert refused(data(), "none/zoo.png") == (
        "cannot write none/zoo.png: No such file or directory "
        "(give a file in a folder that can be written to)"
    )
    Path("zoo.png").mkdir()
    assert refused(data(), "zoo.png").startswith("cannot write zoo.png: ")
    assert list(Path().glob(".zoo*")) == []


def test_a_net_without_figures_is_not_drawn() -> None:
    costs, times = bench_charts.figure(
        data(net("vgg16"), net("resnet18"), net("vgg19", rows=[]))
    ).axes
    assert [label.get_text() for label in times.get_yticklabels()] == ["vgg16", "resnet18"]
    assert len(costs.collections[0].get_offsets()) == 2
