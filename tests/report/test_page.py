from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources

import audits
import pytest

from cnnctl import __version__
from cnnctl.report import page

VOID = {"meta", "rect", "polygon", "polyline", "br", "link", "img", "input"}
NETS = ("lenet5", "resnet20", "vgg16", "googlenet", "densenet_bc100_12")
HOSTILE = '<script>alert("1")</script>&'


class Page(HTMLParser):
    """The elements of a page; tags have to be balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []  # tag and class
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[tuple[tuple[str, str], ...], str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append((tag, self.tags[-1][1].get("class", "")))

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop()[0] == tag, self.getpos()

    def handle_data(self, data) -> None:
        if data.strip():
            self.texts.append((tuple(self.open), data.strip()))

    def inside(self, tag: str) -> list[str]:
        return [text for path, text in self.texts if path[-1][0] == tag]

    def named(self, kind: str) -> list[dict[str, str]]:
        return [attrs for _, attrs in self.tags if kind in attrs.get("class", "").split()]


def shown(*nets) -> Page:
    return Page(page.html(nets))


def cells(text: str, name: str) -> list[str]:
    """The cells of the first layer with this name."""
    (row,) = re.findall(rf'title="{re.escape(name)}".*?</tr>', text, re.DOTALL)[:1]
    return re.findall(r"<td [^>]*>([^<]*)</td>", row)


@pytest.mark.parametrize("name", NETS)
def test_the_page_is_whole_and_needs_nothing_else(name) -> None:
    text = page.html([audits.of(name)])
    made = Page(text)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert not {"script", "link", "img", "iframe", "object", "base"} & {tag for tag, _ in made.tags}
    assert not [attrs for _, attrs in made.tags if {"src", "onclick", "onload"} & set(attrs)]
    assert "url(" not in text
    assert "@import" not in text
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">')


@pytest.mark.parametrize("name", NETS)
def test_every_layer_stands_on_the_page_or_in_a_fold(name) -> None:
    net = audits.of(name)
    text = page.html([net])
    made = Page(text)
    names = {text for path, text in made.texts if path[-1][0] in {"th", "b"}}
    for layer in net["layers"]:
        assert layer["name"].rpartition(".")[2] in names
    titles = [attrs["title"] for tag, attrs in made.tags if tag == "th" and "title" in attrs]
    order = [layer["name"] for layer in net["layers"]]
    assert titles == [title for title in order if title in set(titles)]
    folded = sum(int(times) - 1 for times in re.findall(r"<em>×(\d+)</em>", text))
    assert (len(titles) == len(order)) == (folded == 0)


def test_blocks_can_be_opened_and_equal_ones_are_folded() -> None:
    text = page.html([audits.of("resnet50")])
    summaries = re.findall(r"<details( open)?>\n<summary.*?<b>(.*?)</b>(?: <em>(.*?)</em>)?", text)
    assert [(name, times) for shut, name, times in summaries if not shut] == [
        ("conv2_1", ""), ("conv2_2 … conv2_3", "×2"), ("conv3_1", ""),
        ("conv3_2 … conv3_4", "×3"), ("conv4_1", ""), ("conv4_2 … conv4_6", "×5"),
        ("conv5_1", ""), ("conv5_2 … conv5_3", "×2"),
    ]  # fmt: skip
    assert {name for shut, name, _ in summaries if shut} == {"branch", "shortcut"}
    assert text.count("each of the 5, fields from the first to the last") == 1


def test_a_fold_counts_all_its_blocks_and_its_parts_are_of_one() -> None:
    blocks = [*audits.residual("a", 1), *audits.residual("b", 5)]
    text = page.html([audits.net(audits.layer("x"), *blocks, *[audits.layer("y")] * 9)])
    summary = text[text.index("<b>a … b</b>") :]
    assert re.findall(r'class="params[^>]*>([^<]*)', summary)[0] == "152"
    assert re.findall(r'class="field">([^<]*)', summary)[0] == "9"
    assert cells(text, "a.branch.conv1")[5:] == ["38", "576", "3–7", "1"]
    assert cells(text, "a.add")[5:] == ["0", "0", "5–9", "1"]


@pytest.mark.parametrize("name", NETS)
def test_the_rows_that_are_not_inside_a_block_add_up_to_the_totals(name) -> None:
    net = audits.of(name)
    found = {"params": 0, "macs": 0}
    for path, text in shown(net).texts:
        kinds = [kind for _, kind in path]
        words = kinds[-1].split()
        if words and words[0] in found and "parts" not in kinds and "row head" not in kinds:
            found[words[0]] += int(text.replace(",", ""))
    assert found == {key: net["totals"][key] for key in found}


def test_a_layer_has_its_figures_with_their_units() -> None:
    text = page.html([audits.of("vgg16")])
    conv = cells(text, "conv1_2")
    assert conv[:4] == ["3×3 p1", "64×224×224", "3,211,264", "12.845"]
    assert conv[5:] == ["36,928", "1,849,688,064", "5", "1"]
    heads = Page(text).inside("span") + Page(text).inside("small")
    for word in ("multiply-adds", "per image", "MB", "MB, batch 32", "px", "values"):
        assert word in heads


def test_bars_are_shares_of_the_largest_row() -> None:
    text = page.html([audits.of("vgg16")])
    widest = {
        key: max(float(share) for share in re.findall(rf'class="{key}" style="--s:([\d.]+)"', text))
        for key in ("params", "macs", "bytes")
    }
    assert widest == {"params": 1.0, "macs": 1.0, "bytes": 1.0}
    (fc8,) = re.findall(r'title="fc8".*?</tr>', text, re.DOTALL)
    assert 'class="params" style="--s:0.040">4,097,000<' in fc8  # of the 102,764,544 of fc6


def test_the_memory_of_a_step_is_a_stack_of_all_parts() -> None:
    made = shown(audits.net())
    parts = [attrs for _, attrs in made.tags if "flex-grow" in attrs.get("style", "")]
    shares = [float(attrs["style"].partition(":")[2]) for attrs in parts]
    assert shares == [0.16, 0.16, 0.32, 0.04, 0.32]
    assert [attrs["title"] for attrs in parts] == [
        "weights: 2.00 MB", "gradients: 2.00 MB", "optimizer state: 4.00 MB", "batch: 500.0 kB",
        "activations: 4.00 MB",
    ]  # fmt: skip
    assert "32.0 %" in made.inside("td")
    assert ": backward of conv1, convolution_backward." in " ".join(made.inside("p"))


def test_every_part_of_the_peak_that_is_known_has_a_colour() -> None:
    style = page.html([audits.net()])
    for part in (*audits.MEMORY["at_peak"], "temporaries", "workspace"):
        assert f".stack .m-{part}, .alive .m-{part} {{ background: var(--" in style


def test_a_net_that_cannot_be_trained_says_why() -> None:
    made = shown(audits.net(memory=audits.UNTRAINED))
    assert "not available: a reason" in made.inside("p")
    assert made.named("stack") == []
    assert "n/a" in made.inside("b")


def test_what_is_not_available_is_said_so() -> None:
    unknown = dict.fromkeys(("activations", "bytes", "kept_bytes", "receptive_field", "jump"))
    text = page.html([audits.net(audits.layer("odd", "join", **unknown))])
    assert cells(text, "odd") == ["", "2×4×4", "n/a", "n/a", "n/a", "0", "0", "n/a", "n/a"]


def test_light_and_dark_follow_the_reader_and_numbers_stand_below_each_other() -> None:
    text = page.html([audits.of("lenet5")])
    assert text.count("@media (prefers-color-scheme: dark)") == 2  # the page, the drawing
    assert "font-variant-numeric: tabular-nums" in text
    assert "@media (max-width:" in text
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert re.search(r"\.head \{ position: sticky; top: 0;", text)


def test_layers_that_only_training_has_stand_apart() -> None:
    only = audits.net(training_layers=[audits.layer("aux.fc", "dense", params=5)])
    text = page.html([only])
    assert text.index("Only in training") < text.index('title="aux.fc"')
    assert "Only in training" not in page.html([audits.net()])


def test_budgets_and_other_steps_are_shown_where_they_are_asked_for() -> None:
    fit = {"name": "3GB", "budget": 3, "reserve": 0, "batch_size": 7, "peak": 2_500_000}
    other = {"precision": "bf16-mixed", "optimizer": "sgd", "batch_size": 8, "peak": 1_500_000}
    made = shown(audits.net(budget=[fit | {"wanted": 2, "fits": False}], what_if=[other]))
    assert {"3GB", "bf16-mixed"} <= set(made.inside("th"))
    assert {"does not fit", "1.50 MB"} <= set(made.inside("td"))
    assert len(made.named("over")) == 1
    assert len(shown(audits.net()).named("plain")) == 1  # the conventions alone


def test_the_convention_of_the_columns_is_marked() -> None:
    text = page.html([audits.of("vgg16", "slides")])
    assert re.findall(r'<tr class="chosen"><th scope="row">(\w+)', text) == ["slides"]
    assert "(memory=slides)" in text


def test_several_nets_are_compared_and_linked() -> None:
    nets = [audits.of(name) for name in ("vgg16", "lenet5", "resnet50")]
    made = shown(*nets)
    assert made.inside("h1") == ["3 nets compared"]
    assert made.inside("h2") == ["vgg16", "lenet5", "resnet50"]
    assert made.inside("a") == made.inside("h2")
    links = [attrs["href"] for tag, attrs in made.tags if tag == "a"]
    ids = [attrs["id"] for _, attrs in made.tags if "id" in attrs]
    assert links == [f"#{one}" for one in ids] == ["#net-1", "#net-2", "#net-3"]
    assert {"138,357,544", "61,706", "483 px"} <= set(made.inside("td"))


def test_steps_that_were_made_differently_say_so_in_their_rows() -> None:
    other = audits.net(memory=audits.MEMORY | {"batch_size": 9})
    same, mixed = page.html([audits.net()] * 2), page.html([audits.net(), other])
    assert "Training step: batch 2 · 32-true · adam · cpu." in same
    assert "Training step:" not in mixed
    assert "<small>batch 9 · 32-true · adam · cpu</small>" in mixed


def test_names_are_text_and_never_markup() -> None:
    net = audits.net(audits.layer(HOSTILE, "join"), name=HOSTILE, about=HOSTILE)
    made = shown(net, net)
    assert "script" not in {tag for tag, _ in made.tags}
    assert made.inside("h2") == [HOSTILE] * 2
    assert HOSTILE not in page.svg(net)


def test_the_same_audit_gives_the_same_page_with_the_version_that_made_it() -> None:
    text = page.html([audits.of("lenet5")])
    assert text == page.html([audits.of("lenet5")])
    assert f'<meta name="generator" content="cnnctl {__version__}">' in text


def test_templates_are_part_of_the_package() -> None:
    names = {file.name for file in (resources.files("cnnctl.report") / "templates").iterdir()}
    assert {"page.html", "page.css", "drawing.svg", "drawing.css"} <= names
