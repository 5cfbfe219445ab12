from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import audits
import pytest
from audits import MEMORY, UNTRAINED, layer, net
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from cnnctl.report import totals

ADAM = "32-true · adam · cpu"


def drawn(view: Callable[..., None], *args: Any, width: int = 120, **options: Any) -> list[str]:
    file = io.StringIO()
    view(Console(file=file, width=width, highlight=False, markup=False), *args, **options)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def changed(**changes: Any) -> dict[str, Any]:
    """The small net, with a few totals changed."""
    made = net(layer("conv1"))
    return made | {"totals": made["totals"] | changes}


def trained(**changes: Any) -> dict[str, Any]:
    """The small net, trained otherwise."""
    return net(layer("conv1"), memory=MEMORY | changes)


def test_the_totals_of_vgg16() -> None:
    assert drawn(totals.totals, audits.of("vgg16"), width=80) == [
        "one image",
        "parameters  138,357,544 · 138,344,128 without biases",
        "macs        15,470.3 M forward · 30,853.8 M backward · FLOPs are twice as many",
        "depth       16 weight layers on the longest path",
        "rows           15,237,608 values      60.95 MB      58.13 MiB  ← above",
        "slides         24,352,744 values      97.41 MB      92.90 MiB",
        "outputs        28,642,792 values     114.57 MB     109.26 MiB",
        "inference                             26.29 MB      25.07 MiB  alive at most",
        "",
        "one training step of 32 images  32-true · adam · cpu",
        "peak               4,601.07 MB   4,387.92 MiB",
        "reached in       backward of conv4_3, convolution_backward",
        "weights              553.43 MB     527.79 MiB",
        "gradients            522.89 MB     498.67 MiB",
        "optimizer state    1,106.86 MB   1,055.58 MiB",
        "batch                 19.27 MB      18.38 MiB",
        "activations        2,183.66 MB   2,082.50 MiB",
        "workspace            102.76 MB      98.00 MiB",
        "temporaries          112.20 MB     107.00 MiB",
        "kept               2,344.29 MB   2,235.68 MiB  for the backward pass",
    ]


@pytest.mark.parametrize("name", ["vgg16", "resnet18", "lenet5", "mobilenet_v2"])
def test_the_parts_add_up_to_the_peak(name: str) -> None:
    shown = drawn(totals.totals, audits.of(name))
    rows = shown[shown.index("") + 2 :]
    sizes = {
        row[:17].strip(): float(row[17:].split()[0].replace(",", ""))
        for row in rows
        if not row.startswith("reached in")
    }
    peak, kept = sizes.pop("peak"), sizes.pop("kept")
    assert sum(sizes.values()) == pytest.approx(peak, abs=0.005 * (len(sizes) + 1))
    saved = audits.of(name)["totals"]["conventions"]["saved"]["bytes"]
    assert kept in {round(saved / 1e6, 2), round(saved / 1e3, 2)}


def test_small_nets_are_told_in_thousands() -> None:
    shown = drawn(totals.totals, audits.of("lenet5"))
    assert shown[1] == "parameters  61,706 · 61,470 without biases"
    assert shown[2] == "macs        416.5 k forward · 715.4 k backward · FLOPs are twice as many"
    assert shown[4] == "rows                9,118 values      36.47 kB      35.62 KiB  ← above"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"frozen": 1000}, "parameters  38 · 36 without biases · frozen 1,000"),
        ({"buffers": 9_620}, "parameters  38 · 36 without biases · buffers 9,620"),
        (
            {"unused": {"params": 5, "names": ["aux"]}},
            "parameters  38 · 36 without biases · not used in this pass 5",
        ),
        ({"weight_layers": 1}, "depth       1 weight layer on the longest path"),
        ({"training_macs": None}, "macs        0.6 k forward · FLOPs are twice as many"),
    ],
)
def test_what_is_special_is_told(changes: dict[str, Any], line: str) -> None:
    assert line in drawn(totals.totals, changed(**changes))
    assert line not in drawn(totals.totals, changed())


@pytest.mark.parametrize("name", ["rows", "slides", "outputs", "saved", "peak"])
def test_the_convention_of_the_columns_is_marked_where_it_has_a_row(name: str) -> None:
    shown = drawn(totals.totals, net(layer("conv1"), convention=name))
    marked = [line.split()[0] for line in shown if line.endswith("← above")]
    assert marked == ([name] if name in totals.CONVENTION else [])


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, f"one training step of 2 images  {ADAM}"),
        ({"batch_size": 1}, f"one training step of 1 image  {ADAM}"),
        ({"batch_size": 1024}, f"one training step of 1,024 images  {ADAM}"),
        ({"accumulate": 4}, f"one training step of 4 × 2 images  {ADAM}"),
        ({"channels_last": True}, f"one training step of 2 images  {ADAM} · channels last"),
    ],
)
def test_how_a_step_is_made(changes: dict[str, Any], line: str) -> None:
    assert line in drawn(totals.totals, trained(**changes))


@pytest.mark.parametrize(
    ("where", "line"),
    [
        (
            {"phase": "update", "layer": None, "op": "addcdiv"},
            "reached in       update, addcdiv",
        ),
        (
            {"phase": "backward", "layer": "b" * 70, "op": "convolution_backward"},
            f"reached in       backward of {'b' * 70}, convolution_backward",
        ),
    ],
)
def test_where_the_peak_is_reached_is_told_whole(where: dict[str, Any], line: str) -> None:
    assert line in drawn(totals.totals, trained(where=where), width=80)


def test_without_a_step_there_is_its_reason() -> None:
    shown = drawn(totals.totals, net(layer("conv1"), memory=UNTRAINED))
    assert shown[-2:] == [
        "one training step of 2 images  32-true · adam · cpu", "not available: a reason",
    ]  # fmt: skip


def test_steps_that_are_alike_are_told_once() -> None:
    assert drawn(totals.steps, [trained(), trained()]) == ["step: 2 images · 32-true · adam · cpu"]
    other = trained(batch_size=3, optimizer="sgd") | {"name": "other"}
    assert drawn(totals.steps, [trained(), other]) == [
        "step of tiny: 2 images · 32-true · adam · cpu",
        "step of other: 3 images · 32-true · sgd · cpu",
    ]
    assert drawn(totals.steps, [trained(), net(layer("conv1"), memory=UNTRAINED)]) == [
        "step: 2 images · 32-true · adam · cpu", "no step of tiny: a reason",
    ]  # fmt: skip


def test_the_slides_total_is_explained_for_their_own_net_alone() -> None:
    text = " ".join(drawn(totals.notes, audits.of("vgg16"), folded=False))
    assert "15,237,608 values, 60.95 MB or 58.1 MiB. 24,352,744 values, 92.90 MiB, come" in text
    assert "a numerical match, not a documented intent." in text
    small = audits.of("vgg16") | {"input": [3, 64, 64]}
    for other in (small, audits.of("resnet18")):
        assert "slides print" not in " ".join(drawn(totals.notes, other, folded=False))


def test_notes_say_what_the_columns_mean() -> None:
    rows = "outputs of convolutions, pools and dense layers, and the image, as lectures list them"
    field = "field: pixels that one value sees, all: the whole image"
    assert drawn(totals.notes, net(layer("c")), folded=False) == [
        "", f"values, kB: {rows} (memory=rows)", field,
    ]  # fmt: skip
    star = net(layer("c", sees_enough=True), convention="peak")
    assert drawn(totals.notes, star, folded=True) == [
        "",
        "the most that is alive at one time in a training step (memory=peak)",
        f"{field}; *: the window sees nothing new",
        "×: so many equal blocks, each of them as its row and the rows below it",
    ]


@pytest.mark.parametrize(
    ("number", "of", "digits", "text"),
    [
        (None, "M", 2, "n/a"), (0, "k", 1, "0.0"), (60_950_432, "M", 2, "60.95"),
        (416_520, "k", 1, "416.5"), (4_601_070_000, "M", 0, "4,601"), (2.5e6, "M", 1, "2.5"),
    ],
)  # fmt: skip
def test_counts_and_bytes_in_thousands_and_millions(
    number: float | None, of: str, digits: int, text: str
) -> None:
    assert totals.scaled(number, of, digits) == text


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**12))
def test_a_total_is_never_told_in_a_unit_that_hides_it(total: int) -> None:
    of = totals.unit(total)
    assert of == ("k" if total < 10_000_000 else "M")
    assert total < 5 or totals.scaled(total, of) != "0.00"
