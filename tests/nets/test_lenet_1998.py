from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy
from zoo import build, count, on_meta, outputs, refused, spec

from cnnctl.audit.forward import Cost, cost
from cnnctl.errors import NetError
from cnnctl.nets.codes import LENGTH, codes
from cnnctl.nets.lenet_1998 import Rbf, Subsample, table_conv

GREY = (1, 32, 32)
TABLE = spec("lenet5_1998").table
FULL = [list(range(6))] * 16


def arithmetic() -> Cost:
    """Trainable values as section II.B prints them; multiply-adds by the connections of C3."""
    params = [6 * 26, 6 * 2, 60 * 25 + 16, 16 * 2, 120 * (16 * 25 + 1), 84 * 121]
    macs = [6 * 25 * 28**2, 60 * 25 * 10**2, 120 * 16 * 25, 120 * 84]
    return Cost(sum(params), sum(macs))


def connections(layer: nn.Module, table: list[list[int]]) -> list[list[int]]:
    """The input maps that each output map depends on."""
    found = []
    for number in range(len(table)):
        image = torch.randn(1, 6, 5, 5, requires_grad=True)
        layer(image)[:, number].sum().backward()
        assert image.grad is not None
        found.append(image.grad.abs().sum((0, 2, 3)).nonzero().flatten().tolist())
    return found


def test_it_is_that_of_figure_2_with_the_papers_counts() -> None:
    net = on_meta("lenet5_1998")
    found = {name: (shape, count(getattr(net, name))) for name, shape in outputs(net, GREY).items()}
    assert {name: value for name, value in found.items() if not name.endswith("_act")} == {
        "c1": ((6, 28, 28), 156), "s2": ((6, 14, 14), 12), "c3": ((16, 10, 10), 1516),
        "s4": ((16, 5, 5), 32), "c5": ((120, 1, 1), 48_120), "flatten": ((120,), 0),
        "f6": ((84,), 10_164), "output": ((10,), 0),
    }  # fmt: skip
    assert [name for name in found if name.endswith("_act")] == [
        "c1_act", "s2_act", "c3_act", "s4_act", "c5_act", "f6_act",
    ]  # fmt: skip
    assert count(net) == 60_000


def test_the_cost_is_that_of_plain_arithmetic() -> None:
    assert cost(spec("lenet5_1998"), num_classes=10, shape=GREY) == arithmetic()
    assert arithmetic() == Cost(60_000, 325_680)


def test_table_1_has_60_connections_ten_from_every_map_of_s2() -> None:
    assert Counter(map(len, TABLE)) == {3: 6, 4: 9, 6: 1}
    assert Counter(chain(*TABLE)) == dict.fromkeys(range(6), 10)
    assert len(set(TABLE)) == 16


def test_every_map_of_c3_sees_the_maps_of_its_row_alone() -> None:
    assert connections(build("lenet5_1998").c3, TABLE) == [list(row) for row in TABLE]


@pytest.mark.parametrize("table", [TABLE, FULL, [[5], [0, 3], [1], [4, 2]]])
def test_a_table_is_a_convolution_without_the_absent_weights(table) -> None:
    layer, value = table_conv(table, 5), torch.randn(2, 6, 8, 8)
    weight = torch.zeros(len(table), 6, 5, 5)
    own = iter([part for branch in layer.values() for part in branch.conv.weight])
    for number, row in enumerate(table):
        weight[number, list(row)] = next(own)
    bias = torch.cat([branch.conv.bias for branch in layer.values()])
    torch.testing.assert_close(layer(value), conv2d(value, weight, bias))
    assert count(layer) == sum(25 * len(row) + 1 for row in table)


def test_with_every_connection_it_has_900_parameters_more() -> None:
    assert count(on_meta("lenet5_1998", table=FULL)) == 60_900


def test_subsampling_is_the_sum_times_a_coefficient_plus_a_bias() -> None:
    layer = Subsample(2)
    square = torch.tensor([[1.0, 2], [3, 4]]).expand(1, 2, 2, 2)
    assert layer(square).flatten().tolist() == [2.5, 2.5]
    layer.load_state_dict(
        {
            "coefficient": torch.tensor([2.0, -1]).reshape(2, 1, 1),
            "bias": torch.tensor([0.5, 3]).reshape(2, 1, 1),
        }
    )
    assert layer(square).flatten().tolist() == [20.5, -7]


def test_weights_start_within_2_4_over_the_fan_in() -> None:
    net = build("lenet5_1998")
    fans = {net.c1: 25, net.c5: 400, net.f6: 120}
    fans |= {b.conv: 25 * len(b.pick.maps) // b.conv.groups for b in net.c3.values()}
    assert list(fans.values())[3:] == [75, 100, 150]
    for layer, fan in fans.items():
        assert 0.9 * 2.4 / fan < layer.weight.abs().max() <= 2.4 / fan
        assert not layer.bias.any()


def test_an_output_unit_measures_the_squared_distance_to_its_code() -> None:
    layer, value = Rbf(10), torch.randn(3, LENGTH)
    expected = [[-sum((x - w) ** 2 for x, w in zip(row, code, strict=True)) for code in codes(10)]
                for row in value.tolist()]  # fmt: skip
    torch.testing.assert_close(layer(value), torch.tensor(expected))
    at_codes = layer(torch.tensor(codes(10)))
    assert at_codes.argmax(1).tolist() == list(range(10))
    assert at_codes.diagonal().tolist() == [0] * 10


def test_codes_are_kept_with_the_weights_but_do_not_learn() -> None:
    net = on_meta("lenet5_1998")
    assert list(net.output.parameters()) == []
    assert net.state_dict()["output.codes"].shape == (10, 84)


@pytest.mark.parametrize("classes", [2, 10, 11, 1000])
def test_every_class_has_a_code_of_its_own(classes) -> None:
    made = codes(classes)
    assert len({tuple(code) for code in made}) == classes
    assert {len(code) for code in made} == {84}
    assert set(chain(*made)) == {-1, 1}
    assert codes(classes) == made


def test_the_codes_of_up_to_ten_classes_are_the_digits() -> None:
    picture = ["".join(" #"[pixel > 0] for pixel in codes(10)[7][7 * y : 7 * y + 7])
               for y in range(12)]  # fmt: skip
    assert picture == [
        "#######", "     ##", "     ##", "    ## ", "    ## ", "   ##  ",
        "   ##  ", "  ##   ", "  ##   ", " ##    ", " ##    ", " ##    ",
    ]  # fmt: skip
    assert codes(4) == codes(10)[:4]


def distances() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return 20 * torch.rand(8, 10), torch.randint(0, 10, (8,))


@pytest.mark.parametrize("rubbish", [0, 10, 35.5])
def test_the_loss_is_equation_9(rubbish) -> None:
    y, labels = distances()
    j = torch.tensor(float(rubbish))
    expected = y[range(8), labels] + ((-j).exp() + (-y).exp().sum(1)).log()
    found = on_meta("lenet5_1998", rubbish=rubbish).loss(-y, labels)
    torch.testing.assert_close(found, expected.mean())


@pytest.mark.parametrize("change", [{"rubbish": None}, {"rubbish": None, "output": "linear"}])
def test_without_rubbish_the_loss_is_cross_entropy(change) -> None:
    y, labels = distances()
    found = on_meta("lenet5_1998", **change).loss(-y, labels)
    assert torch.equal(found, cross_entropy(-y, labels))


def test_a_linear_output_has_850_parameters_and_takes_any_width() -> None:
    linear = {"output": "linear", "rubbish": None}
    assert count(on_meta("lenet5_1998", **linear)) == 60_850
    assert count(on_meta("lenet5_1998", **linear, hidden=20)) == 60_000 - 64 * 121 + 210


def test_larger_images_colours_and_classes() -> None:
    net = on_meta("lenet5_1998", (3, 48, 40), 12)
    shapes = outputs(net, (3, 48, 40))
    assert shapes["c5"] == (120, 5, 3)
    assert shapes["output"] == (12,)
    assert net.output.codes.shape == (12, 84)


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"table": [[0, 1, 2, 3, 4, 5], [0, 6], [], [1, 1]]}, [
            "model.table.1 must name maps of S2, 0 to 5, each once, got [0, 6]",
            "model.table.2 must name maps of S2, 0 to 5, each once, got []",
            "model.table.3 must name maps of S2, 0 to 5, each once, got [1, 1]",
        ]),
        ({"table": [[0, 1, 2], [5]]}, [
            "model.table: no row names the maps [3, 4] of S2 (they could not learn)",
        ]),
        ({"table": [["a"]]}, ["model.table.0 must be a list of whole numbers, got ['a']"]),
        ({"hidden": 100}, [
            "model.hidden must be 84 with model.output=rbf, got 100 (a code is a bitmap of 7x12)",
        ]),
        ({"output": "linear"}, [
            "model.rubbish=10 has no effect with model.output=linear (set model.rubbish=null)",
        ]),
        ({"rubbish": -1}, ["model.rubbish must be at least 0, got -1"]),
        ({"output": "svm"}, ["model.output must be one of rbf, linear, got 'svm'"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(change, lines) -> None:
    assert refused("lenet5_1998", **change) == lines


@pytest.mark.parametrize(("size", "layer"), [(4, "c1"), (13, "c3.maps0_5.conv"), (31, "c5")])
def test_an_image_too_small_names_the_layer(size, layer) -> None:
    with pytest.raises(NetError, match=rf"^a {size}x{size} image is too small for layer '{layer}'"):
        on_meta("lenet5_1998", (1, size, size))
