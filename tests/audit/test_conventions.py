from __future__ import annotations

from math import prod

import pytest
from audited import chain, layer, subject, told
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cnnctl.audit import conventions
from cnnctl.audit.document import Subject
from cnnctl.audit.forward import forward
from cnnctl.audit.geometry import CONV, DENSE, JOIN, NORM, POOL, RESIZE, SILENT
from cnnctl.audit.trace import Row

MIB = 2**20


def counted(net: Subject) -> dict[str, int]:
    """Values of one image by every convention that has any."""
    found = told(net)["totals"]["conventions"]
    return {name: found[name]["values"] for name in ("rows", "slides", "outputs")}


def by_hand(net: Subject, convention: str) -> dict[str, int]:
    """The values that each row adds, those that add none left out."""
    rows = forward(net.net, net.input).walk.rows
    found = {row.name: conventions.values(row, convention) for row in rows}
    return {name: values for name, values in found.items() if values}


def test_vgg16_as_its_own_rows_add_up_and_as_the_slides_print_it() -> None:
    found = told(subject("vgg16"))["totals"]["conventions"]
    assert found["rows"]["values"] == 15_237_608
    assert found["slides"]["values"] == 24_352_744
    assert found["rows"]["bytes"] == 60_950_432
    assert f"{found['rows']['bytes'] / MIB:.2f}" == "58.13"
    assert f"{found['slides']['bytes'] / MIB:.2f}" == "92.90"


@pytest.mark.parametrize(
    ("name", "mib"), [("vgg_a", "34.8"), ("vgg_b", "53.2"), ("vgg_d", "58.1"), ("vgg_e", "63.1")]
)
def test_the_rows_of_the_table_of_vgg_in_mib(name, mib) -> None:
    assert f"{4 * counted(subject(name))['rows'] / MIB:.1f}" == mib


def test_the_rows_of_vgg16_are_those_that_the_lecture_lists() -> None:
    sides = {1: 224, 2: 112, 3: 56, 4: 28, 5: 14}
    maps = {1: 64, 2: 128, 3: 256, 4: 512, 5: 512}
    convolutions = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}
    wanted = {}
    for stage, side in sides.items():
        for number in range(1, convolutions[stage] + 1):
            wanted[f"conv{stage}_{number}"] = maps[stage] * side**2
        wanted[f"pool{stage}"] = maps[stage] * (side // 2) ** 2
    wanted |= {"fc6": 4096, "fc7": 4096, "fc8": 1000}
    assert by_hand(subject("vgg16"), "rows") == wanted
    assert counted(subject("vgg16"))["rows"] == sum(wanted.values()) + 3 * 224**2


def test_slides_add_the_inputs_of_convolutions_and_dense_layers() -> None:
    net = subject("lenet5")
    inputs = {"c1": 1024, "c3": 1176, "c5": 400, "f6": 120, "output": 84}
    rows, slides = by_hand(net, "rows"), by_hand(net, "slides")
    assert {name: slides[name] - rows[name] for name in rows if slides[name] > rows[name]} == inputs
    assert counted(net)["slides"] - counted(net)["rows"] == sum(inputs.values())


class Made(nn.Module):
    """Every kind of row that a hand-made net can have, by functions rather than layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout()
        self.up = nn.Upsample(scale_factor=2)
        self.fc = nn.Linear(2 * 8 * 8, 3)

    def forward(self, image: Tensor) -> Tensor:
        value = self.act(self.norm(self.conv(image)))
        value = self.up(self.drop(value + image))
        return self.fc(value.reshape(value.shape[0], -1)).softmax(1)


def test_a_net_made_by_hand_counts_as_its_conventions_say() -> None:
    net = Subject("made", Made().eval(), (2, 4, 4))
    assert by_hand(net, "rows") == {"conv": 32, "up": 128, "fc": 3}
    assert by_hand(net, "slides") == {"conv": 32 + 32, "up": 128, "fc": 3 + 128}
    assert by_hand(net, "outputs") == {
        "conv": 32, "norm": 32, "add": 32, "up": 128, "fc": 3, "softmax": 3,
    }  # fmt: skip
    image = 32
    assert counted(net) == {"rows": 163 + image, "slides": 323 + image, "outputs": 230}


def test_in_place_and_idle_layers_make_nothing_new() -> None:
    net = chain((2, 4, 4), conv=nn.Conv2d(2, 3, 1), act=nn.ReLU(inplace=True),
                same=nn.Identity(), drop=nn.Dropout(), flat=nn.Flatten())  # fmt: skip
    assert by_hand(net, "outputs") == {"conv": 48}
    assert layer(told(net), "act")["values"] == 48


def test_pixel_shuffling_is_a_resize_and_what_only_copies_counts_not() -> None:
    net = chain((4, 4, 4), up=nn.PixelShuffle(2), pad=nn.ZeroPad2d(1), flat=nn.Flatten())
    assert [row["kind"] for row in told(net)["layers"]] == ["input", "resize", "silent", "silent"]
    assert by_hand(net, "rows") == {"up": 64}


SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)
KINDS = st.sampled_from([CONV, DENSE, POOL, NORM, RESIZE, JOIN, SILENT])


@settings(deadline=None, max_examples=50)
@given(KINDS, SHAPES, SHAPES, st.booleans())
def test_what_a_row_adds_by_each_convention(kind, inputs, output, made) -> None:
    row = Row("x", "X", 0, kind, inputs=inputs, output=output, values=prod(output), made=made)
    rows, slides, outputs = (
        conventions.values(row, name) for name in ("rows", "slides", "outputs")
    )
    assert slides - rows == (prod(inputs) if kind in {CONV, DENSE} else 0)
    assert outputs == (prod(output) if made else 0)
    assert rows == (prod(output) if kind in {CONV, DENSE, POOL, RESIZE} else 0)


def test_every_convention_is_told_in_words() -> None:
    assert list(conventions.MEANING) == ["rows", "slides", "outputs", "saved", "peak"]
    found = told(subject("perceptron"))["totals"]["conventions"]
    assert {name: one["meaning"] for name, one in found.items()} == conventions.MEANING
