from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo import build, count, on_meta, outputs, refused, spec

from cnnctl.audit.forward import Cost, cost
from cnnctl.errors import NetError
from cnnctl.nets.neocognitron import CCells

PAPER = (1, 16, 16)
ROWS = [[24, 5, 2, 5, -1], [24, 5, 1, 5, 1], [24, 5, 0, 2, 0]]


def arithmetic() -> Cost:
    """24 planes, every cell with 5x5 inputs in each plane below, or 5x5 and 2x2 in its own."""
    s_layers = [(1, 16), (24, 8), (24, 2)]  # planes below, side
    c_layers = [(25, 10), (25, 6), (4, 1)]  # inputs, side
    params = sum(24 * (25 * below + 1) for below, _ in s_layers) + 24 * 5 + 5
    macs = sum(24 * 25 * below * side**2 for below, side in s_layers)
    return Cost(params, macs + sum(24 * seen * side**2 for seen, side in c_layers) + 24 * 5)


def test_the_seven_layers_have_the_papers_sizes() -> None:
    found = outputs(on_meta("neocognitron"), PAPER)
    assert {name: shape for name, shape in found.items() if "_" not in name} == {
        "us1": (24, 16, 16), "uc1": (24, 10, 10), "us2": (24, 8, 8), "uc2": (24, 6, 6),
        "us3": (24, 2, 2), "uc3": (24, 1, 1), "flatten": (24,), "output": (5,),
    }  # fmt: skip
    assert [name for name in found if "_" in name] == ["us1_act", "us2_act", "us3_act"]


def test_the_cost_is_that_of_plain_arithmetic() -> None:
    assert cost(spec("neocognitron"), num_classes=5, shape=PAPER) == arithmetic()
    assert arithmetic() == Cost(29_597, 1_214_616)


def test_only_s_cells_and_the_output_learn() -> None:
    net = on_meta("neocognitron")
    assert {name.split(".")[0] for name, _ in net.named_parameters()} == {
        "us1", "us2", "us3", "output",
    }  # fmt: skip
    assert [name for name in net.state_dict() if name.startswith("uc")] == [
        "uc1.weights", "uc2.weights", "uc3.weights",
    ]  # fmt: skip


def test_larger_images_and_colours_leave_more_cells() -> None:
    shape = (3, 32, 24)
    net = on_meta("neocognitron", shape, 10)
    found = outputs(net, shape)
    assert found["uc1"] == (24, 26, 18)
    assert found["uc3"] == (24, 17, 9)
    assert count(net) == 29_597 - 125 + 2 * 24 * 25 + (24 * 17 * 9 + 1) * 10


def test_the_weights_of_a_c_cell_fall_with_the_distance() -> None:
    weights = CCells(3, 0, falloff=0.5, saturation=1).weights
    edge, corner = 0.5, 0.5**2**0.5
    row = [corner, edge, corner]
    expected = torch.tensor([row, [edge, 1, edge], row])
    torch.testing.assert_close(weights, expected / expected.sum())
    torch.testing.assert_close(CCells(2, 0, 0.5, 1).weights, torch.full((2, 2), 0.25))
    torch.testing.assert_close(CCells(5, 0, 1, 1).weights, torch.full((5, 5), 0.04))


def test_a_c_cell_computes_the_papers_equation() -> None:
    cells = CCells(3, 0, falloff=0.7, saturation=0.5)
    value = torch.rand(2, 4, 3, 3)
    near = (cells.weights * value).sum((2, 3))
    inhibited = (1 + near) / (1 + near.mean(1, keepdim=True)) - 1
    expected = torch.where(inhibited > 0, inhibited / (0.5 + inhibited), 0)
    torch.testing.assert_close(cells(value), expected[..., None, None])


@pytest.mark.parametrize("place", [(0, 0), (2, 4), (4, 1)])
def test_one_s_cell_anywhere_in_the_window_is_enough(place) -> None:
    value = torch.zeros(1, 2, 5, 5)
    value[0, 0, *place] = 1
    own, other = CCells(5, 0, 0.9, 0.5)(value).flatten().tolist()
    assert own > 0
    assert other == 0


def test_no_c_cell_stands_over_the_outermost_ring() -> None:
    value = torch.zeros(1, 2, 16, 16)
    value[:, 0] = 1
    value[:, :, 1:-1, 1:-1] = 0
    cut, whole = CCells(5, -1, 0.9, 0.5)(value), CCells(5, 0, 0.9, 0.5)(value)
    assert cut.shape == (1, 2, 10, 10)
    assert not cut.any()
    assert whole.any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 5), st.integers(1, 5), st.integers(-1, 2))
def test_c_cells_stay_from_0_to_1_and_are_silent_where_all_planes_agree(
    seed, planes, kernel, padding
):
    cells = CCells(kernel, padding, 0.8, 0.5)
    value = 9 * torch.rand(1, planes, 7, 7, generator=torch.Generator().manual_seed(seed))
    found = cells(value)
    assert found.shape[2:] == (8 + 2 * padding - kernel,) * 2
    assert ((found >= 0) & (found < 1)).all()
    alike = value[:, :1].expand(-1, planes, -1, -1)
    torch.testing.assert_close(cells(alike), torch.zeros_like(found), rtol=0, atol=1e-5)


def test_half_of_the_saturation_is_reached_at_alpha() -> None:
    value = torch.tensor([2.0, 0]).reshape(1, 2, 1, 1)  # (1 + 2)/(1 + 1) − 1 = 0.5
    assert CCells(1, 0, 1, saturation=0.5)(value).flatten().tolist() == [0.5, 0]


def test_the_numbers_of_the_file_reach_the_layers() -> None:
    net = build("neocognitron", falloff=0.4, saturation=2.0, stages=[[7, 3, 1, 4, 0]])
    assert net.us1.weight.shape == (7, 1, 3, 3)
    assert torch.equal(net.uc1.weights, CCells(4, 0, 0.4, 2).weights)
    assert net.uc1.saturation == 2
    assert count(net) == 7 * 10 + (7 * 13 * 13 + 1) * 5


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ([1, 5, 1, 5, 1], "planes must be at least 2, got 1 (C cells compare planes)"),
        ([24, 0, 1, 5, 1], "s_kernel must be at least 1, got 0"),
        ([24, 5, -1, 5, 1], "s_padding must be at least 0, got -1"),
        ([24, 5, 1, 0, 1], "c_kernel must be at least 1, got 0"),
        ([24, 5], "want 5 numbers (planes, s_kernel, s_padding, c_kernel, c_padding), got [24, 5]"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named(row, line) -> None:
    assert refused("neocognitron", stages=[ROWS[0], row]) == [f"model.stages.1: {line}"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"falloff": 0}, "model.falloff must be above 0, got 0"),
        ({"falloff": 1.5}, "model.falloff must be at most 1, got 1.5"),
        ({"saturation": 0}, "model.saturation must be above 0, got 0"),
    ],
)
def test_a_number_out_of_range_is_refused(change, line) -> None:
    assert refused("neocognitron", **change) == [line]


@pytest.mark.parametrize(("size", "layer"), [(1, "uc1"), (6, "uc1"), (9, "uc2"), (11, "us3")])
def test_an_image_too_small_names_the_layer(size, layer) -> None:
    with pytest.raises(NetError, match=rf"^a {size}x{size} image is too small for layer '{layer}'"):
        on_meta("neocognitron", (1, size, size))
