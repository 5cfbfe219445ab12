from __future__ import annotations

from typing import Any

import pytest

from cnnctl.audit.convolution import Layer, alternatives, costs, seen


def layer(**numbers: Any) -> Layer:
    usual = {"size": (8, 8), "channels": 1, "kernel": (3, 3), "filters": 1}
    return Layer(**{**usual, **numbers})


def names(**numbers: Any) -> list[str]:
    return list(alternatives(layer(**numbers)))


@pytest.mark.parametrize(
    ("numbers", "rest"),
    [
        ({}, []),
        ({"channels": 3}, ["depthwise separable"]),
        ({"channels": 3, "kernel": (1, 1)}, []),
        ({"channels": 4, "filters": 6}, ["depthwise separable", "2 groups"]),
        ({"channels": 4, "filters": 6, "kernel": (1, 1)}, ["2 groups"]),
        ({"channels": 15}, ["depthwise separable"]),
        ({"channels": 17}, ["depthwise separable", "bottleneck of 2"]),
        ({"channels": 9, "filters": 6, "groups": 3}, ["depthwise separable", "3 groups"]),
        ({"kernel": (5, 5)}, ["2 layers of 3×3"]),
        ({"kernel": (7, 7), "padding": (3, 3)}, ["3 layers of 3×3"]),
        ({"kernel": (15, 15), "size": (15, 15)}, ["7 layers of 3×3"]),
        ({"kernel": (17, 17), "size": (17, 17)}, []),
        ({"kernel": (4, 4)}, []),
        ({"kernel": (5, 5), "padding": (1, 1)}, []),
        ({"kernel": (5, 5), "padding": (2, 0)}, []),
        ({"kernel": (5, 3)}, []),
        ({"kernel": (5, 5), "stride": (2, 2)}, []),
        ({"kernel": (5, 5), "dilation": (2, 2), "size": (9, 9)}, []),
    ],
)
def test_alternatives_are_those_that_make_sense(numbers, rest) -> None:
    assert names(**numbers) == ["standard", *rest]


def test_pools_and_transposed_convolutions_have_no_alternatives() -> None:
    assert names(pool="max") == []
    assert names(transposed=True) == []
    assert costs(layer(pool="max")) == []


@pytest.mark.parametrize("padding", [0, 2, 3])
def test_layers_of_3x3_see_what_the_larger_kernel_sees(padding) -> None:
    large = layer(size=(9, 11), kernel=(7, 7), padding=(padding, padding), channels=2, filters=5)
    found = alternatives(large).get("3 layers of 3×3")
    assert (found is None) == (padding == 2)
    if found:
        assert seen(found)[-1] == ((7, 7), (1, 1))
        assert [part.output for part in found][-1] == large.output


def test_depthwise_separable_as_in_the_lecture() -> None:
    large = layer(channels=3, kernel=(5, 5), filters=256, padding=(2, 2), bias=False)
    standard, separable, threes = costs(large)
    assert standard == {
        "name": "standard", "params": 19_200, "macs": 1_228_800, "ratio": 1.0, "parts": [],
    }  # fmt: skip
    assert separable == {
        "name": "depthwise separable", "params": 75 + 768, "macs": 53_952,
        "ratio": 53_952 / 1_228_800, "parts": [4_800, 49_152],
    }  # fmt: skip
    assert threes["ratio"] > 30


def test_a_bottleneck_as_in_the_lecture() -> None:
    large = layer(size=(32, 32), channels=200, kernel=(5, 5), filters=92, padding=(2, 2))
    rows = {row["name"]: row for row in costs(large, 16)}
    assert rows["standard"]["macs"] == 471_040_000
    reduced = rows["bottleneck of 16"]
    assert reduced["parts"] == [3_276_800, 37_683_200]
    assert reduced["macs"] == 40_960_000
    assert reduced["params"] == 200 * 16 + 16 + 25 * 16 * 92 + 92
    assert "bottleneck of 25" in {row["name"] for row in costs(large)}


def test_the_ratio_is_to_the_convolution_without_groups() -> None:
    grouped = layer(channels=4, filters=4, groups=4)
    rows = {row["name"]: row for row in costs(grouped)}
    assert rows["standard"]["macs"] == 4 * grouped.macs
    assert rows["4 groups"] == {
        "name": "4 groups", "params": grouped.params, "macs": grouped.macs, "ratio": 0.25,
        "parts": [],
    }  # fmt: skip
