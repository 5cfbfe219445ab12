from __future__ import annotations

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree as ET

import audits
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.report import drawing, page
from cnnctl.report.chain import chain

NETS = ("lenet5", "mlp", "vgg16", "resnet50", "googlenet", "densenet_bc100_12", "mobilenet_v1",
        "efficientnet_b0")  # fmt: skip
NAMES = st.text("abmW._ 1×…", min_size=1, max_size=30)
OUTPUTS = st.lists(st.integers(1, 3000), min_size=0, max_size=4)


def check(made: drawing.Drawing) -> None:
    """No text leaves the picture or reaches into another one; nor does any shape leave it."""
    boxes = [label.box for label in made.labels]
    for left, top, right, bottom in boxes:
        assert left >= 0
        assert top >= 0
        assert right <= made.width
        assert bottom <= made.height
    for one, other in combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] + 4
        assert apart or other[3] <= one[1] + 4
    for x, y in (point for shape in (*made.shapes, *made.lines) for point in points(shape)):
        assert 0 <= x <= made.width
        assert 0 <= y <= made.height


def points(shape: drawing.Shape) -> list[tuple[float, float]]:
    pairs = [point.split(",") for point in shape.points.split()]
    return [(float(x), float(y)) for x, y in pairs]


def sides(net) -> list[tuple[float, float, float]]:
    """Height, thickness and lean of each box."""
    shapes = drawing.draw(net, titled=False).shapes
    found = []
    for shape in shapes:
        corners = points(shape)
        if shape.style.endswith("front"):
            wide, high = corners[2][0] - corners[0][0], corners[2][1] - corners[0][1]
            found.append((high, wide, 0.0))
        elif shape.style.endswith("side"):
            found[-1] = (*found[-1][:2], corners[1][0] - corners[0][0])
    return [(round(high, 1), round(wide, 1), round(lean, 1)) for high, wide, lean in found]


@pytest.mark.parametrize("titled", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_texts_stay_in_the_picture_and_apart(name, titled) -> None:
    made = drawing.draw(audits.of(name), titled=titled)
    check(made)
    assert made.width <= drawing.WIDTH + 2 * drawing.MARGIN


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(NAMES, OUTPUTS), min_size=1, max_size=12), NAMES)
def test_texts_stay_apart_whatever_the_names_and_sizes(steps, title) -> None:
    layers = [
        audits.layer(name.replace(".", "-") + str(number), output=output, params=7**number)
        for number, (name, output) in enumerate(steps)
    ]
    check(drawing.draw(audits.net(*layers, name=title), titled=True))


@pytest.mark.parametrize("name", NETS)
def test_each_step_has_a_box_with_its_name_shape_and_parameters(name) -> None:
    net = audits.of(name)
    texts = [label.text for label in drawing.draw(net, titled=False).labels]
    for step in chain(net):
        assert step.label in texts
        assert "×".join(map(str, step.output)) in texts
        assert step.params == 0 or f"{step.params:,} params" in texts
    assert len(sides(net)) == len(chain(net))


def test_the_title_has_the_totals() -> None:
    made = drawing.draw(audits.of("vgg16"), titled=True)
    assert [label.text for label in made.labels[:3]] == [
        "vgg16", "image 3×224×224 · 138,357,544 parameters", "15.47 G multiply-adds per image",
    ]  # fmt: skip
    bare = drawing.draw(audits.of("vgg16"), titled=False)
    assert len(bare.labels) == len(made.labels) - 3
    assert bare.height < made.height


def test_folded_blocks_say_how_many_they_are() -> None:
    texts = [label.text for label in drawing.draw(audits.of("resnet50"), titled=False).labels]
    assert [text for text in texts if text.startswith("×") and text[1:].isdigit()] == [
        "×2", "×3", "×5", "×2",
    ]  # fmt: skip


def test_larger_maps_are_higher_and_deeper_and_more_channels_thicker() -> None:
    outputs = ([64, 64, 64], [64, 16, 16], [256, 16, 16], [256, 16, 64])
    layers = [audits.layer(f"l{n}", output=output) for n, output in enumerate(outputs)]
    _, large, small, many, wide = sides(audits.net(*layers))
    assert large[0] > small[0] == many[0] == wide[0]
    assert large[1] == small[1] < many[1] == wide[1]
    assert large[2] == wide[2] > small[2] == many[2]


def test_sides_grow_with_the_square_root() -> None:
    layers = [audits.layer(f"l{n}", output=[64, n, n]) for n in (16, 64, 256)]
    _, *found = sides(audits.net(*layers))
    steps = [high - drawing.FLAT for high, _, _ in found]
    assert steps[1] == pytest.approx(2 * steps[0], abs=0.3)
    assert steps[2] == pytest.approx(drawing.TALL - drawing.FLAT, abs=0.1)


def test_a_vector_is_a_bar_and_a_sequence_a_square_of_its_places() -> None:
    layers = [
        audits.layer("map", output=[768, 14, 14]),
        audits.layer("tokens", output=[196, 768]),
        audits.layer("fc", "dense", output=[1000]),
        audits.layer("half", "dense", output=[250]),
    ]
    _, image, tokens, fc, half = sides(audits.net(*layers))
    assert tokens == pytest.approx(image, abs=0.11)
    assert (fc[0], fc[2]) == (drawing.TALL, 0)
    assert half[0] - drawing.FLAT == pytest.approx((fc[0] - drawing.FLAT) / 2, abs=0.3)


def test_rows_break_where_the_page_ends_and_arrows_lead_on() -> None:
    layers = [audits.layer(f"a_rather_long_name_{n}") for n in range(12)]
    made = drawing.draw(audits.net(*layers), titled=False)
    names = [label for label in made.labels if label.style == "name"]
    lines = sorted({label.y for label in names})
    assert len(lines) == 3
    assert [label.text for label in names][1:] == [layer["name"] for layer in layers]
    for one, other in pairwise(names):
        assert other.x > one.x or other.y > one.y
    assert len(made.lines) == len(names) - 1 + len(lines) - 1  # a broken arrow is two
    assert len([shape for shape in made.shapes if shape.style == "tip"]) == len(made.lines)


def test_a_single_layer_wider_than_the_page_has_a_row_of_its_own() -> None:
    made = drawing.draw(audits.net(audits.layer("x" * 200)), titled=False)
    check(made)
    assert made.width > drawing.WIDTH


def test_widths_are_not_less_than_in_a_broad_font() -> None:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    told = ("2,359,808 params", "512×28×28", "conv4_2 … conv4_6", "max pool 3×3 /2 p1", "WMmw@%",
            "3 weight layers each", "illicit", "inception_a1", *drawing.LEGEND)  # fmt: skip
    for text in told:
        for style, size in drawing.SIZE.items():
            weight = "normal" if style in {"fact", "note"} else "bold"
            font = FontProperties(family="DejaVu Sans", weight=weight)
            real = TextPath((0, 0), text, size=size, prop=font).get_extents().width
            assert drawing.extent(text, style) >= real, (text, style)
            assert drawing.extent(text, style) <= 1.6 * real, (text, style)


@pytest.mark.parametrize("name", NETS)
def test_as_a_file_it_is_xml_with_its_own_style(name) -> None:
    root = ET.fromstring(page.svg(audits.of(name)))  # noqa: S314 - our own text
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    _, _, wide, high = map(float, root.attrib["viewBox"].split())
    assert (float(root.attrib["width"]), float(root.attrib["height"])) == (wide, high)
    texts = root.findall(".//{*}text")
    assert len(texts) > 5
    for text in texts:
        assert 0 <= float(text.attrib["x"]) <= wide
        assert 0 <= float(text.attrib["y"]) <= high
        assert text.text
    style = root.find("{*}style").text
    assert "prefers-color-scheme: dark" in style
    used = {one for element in root.iter() for one in element.attrib.get("class", "").split()}
    assert {one for one in used if one not in {"drawing", "d-front", "d-fact"}} <= set(
        re.findall(r"\.(d-\w+)", style)
    )


def test_names_are_text_in_the_file() -> None:
    hostile = "</title><script>&"
    net = audits.net(audits.layer(hostile.replace("/", ""), "join"), name=hostile)
    root = ET.fromstring(page.svg(net))  # noqa: S314 - our own text
    assert root.find("{*}title").text == f"{hostile}: 0 parameters, image 1×4×4"
    assert hostile in [text.text for text in root.findall(".//{*}text")]
    assert root.find(".//{*}script") is None
