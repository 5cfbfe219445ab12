from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import audits
import pytest
from audits import layer, residual
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.report.tree import SUMMED, Node, grow, label, lines

ZOO = [
    "vgg16", "resnet18", "resnet50", "googlenet", "densenet121", "mobilenet_v2", "efficientnet_b0",
    "shufflenet_v2_x1_0", "inception_v3", "lenet5",
]  # fmt: skip


def drawn(
    layers: Sequence[dict[str, Any]], *, silent: bool = False, deep: bool = True
) -> list[str]:
    return [text for text, _ in lines(grow(layers, silent=silent), deep=deep)]


def visible(nodes: Sequence[Node], times: int = 1) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each layer that has a row, and of how many layers that row is one."""
    for node in nodes:
        if node.layer is not None:
            yield times * node.times, node.layer
        yield from visible(node.parts, times * node.times)


def sums(layers: Sequence[dict[str, Any]], key: str) -> int | None:
    values = [one[key] for one in layers]
    return None if None in values else sum(values)


def test_layers_of_a_chain_stay_side_by_side() -> None:
    names = ["input", "conv1", "conv2", "pool1"]
    nodes = grow([layer(name) for name in names], silent=False)
    assert [node.name for node in nodes] == names
    assert [node.parts for node in nodes] == [[], [], [], []]
    assert drawn([layer(name) for name in names]) == names


def test_dots_make_blocks_and_the_parts_of_blocks_are_drawn_below_them() -> None:
    layers = [layer("stem"), *residual("block1", 1), layer("a.b.c"), layer("a.d"), layer("fc")]
    assert drawn(layers) == [
        "stem",
        "block1",
        "├ branch",
        "│ ├ conv1",
        "│ └ conv2",
        "└ add",
        "a",
        "├ b",
        "│ └ c",
        "└ d",
        "fc",
    ]
    assert drawn(layers, deep=False) == ["stem", "block1", "a", "fc"]


def test_with_silent_layers_each_has_a_row() -> None:
    shown = drawn(residual("block1", 1), silent=True)
    assert shown == ["block1", "├ branch", "│ ├ conv1", "│ ├ conv1_act", "│ └ conv2", "└ add"]


def test_a_hidden_layer_adds_its_memory_to_the_row_before_it() -> None:
    conv = layer("conv", activations=32, bytes=128, kept_bytes=256, macs=10, params=7)
    act = layer("act", "silent", activations=5, bytes=20, kept_bytes=40)
    drop = layer("drop", "silent", activations=1, bytes=4, kept_bytes=8)
    (node,) = grow([conv, act, drop], silent=False)
    assert node.layer is not None
    assert [node.layer[key] for key in ("activations", "bytes", "kept_bytes")] == [38, 152, 304]
    assert (node.layer["macs"], node.layer["params"], node.layer["output"]) == (10, 7, [2, 4, 4])


def test_a_hidden_layer_behind_a_block_adds_to_the_last_row_of_it() -> None:
    last = layer("relu", "silent", kept_bytes=1000)
    (block,) = grow([*residual("block1", 1), last], silent=False)
    assert block.parts[-1].name == "add"
    assert block.parts[-1].total("kept_bytes") == 256 + 1000


def test_what_is_not_available_stays_so() -> None:
    (node,) = grow(
        [layer("conv", kept_bytes=None), layer("act", "silent", activations=None)], silent=False
    )
    assert node.layer is not None
    assert (node.layer["kept_bytes"], node.layer["activations"]) == (None, None)
    assert node.layer["bytes"] == 256
    (block,) = grow([layer("a.x"), layer("a.y", kept_bytes=None)], silent=False)
    assert (block.total("kept_bytes"), block.total("bytes")) == (None, 256)


def test_an_activation_with_weights_has_a_row_and_so_has_one_before_all_others() -> None:
    assert drawn([layer("conv"), layer("prelu", "silent", params=2)]) == ["conv", "prelu"]
    assert drawn([layer("relu", "silent"), layer("conv")]) == ["relu", "conv"]


def test_the_document_is_left_as_it_was() -> None:
    layers = [*residual("block1", 1), *residual("block2", 5)]
    before = copy.deepcopy(layers)
    grow(layers, silent=False)
    assert layers == before


def test_equal_blocks_are_one_with_a_count() -> None:
    layers = [layer("stem"), *residual("b1", 1), *residual("b2", 5), *residual("b3", 9)]
    nodes = grow(layers, silent=False)
    assert [(node.name, node.times) for node in nodes] == [("stem", 1), ("b1", 3)]
    assert nodes[1].last is not None
    assert nodes[1].last.name == "b3"
    assert label(nodes[1]) == "b1 … b3 ×3"
    assert drawn(layers)[1] == "b1 … b3 ×3"
    assert (nodes[1].leaf["receptive_field"], nodes[1].end.leaf["receptive_field"]) == (5, 13)


@pytest.mark.parametrize(
    "other",
    [
        residual("b2", 5, channels=4),
        [layer("b2.branch.conv1")],
        [one | {"kept_bytes": 1} for one in residual("b2", 5)],
        [one | {"stride": [2, 2]} if one["kind"] == "conv" else one for one in residual("b2", 5)],
        [one | {"name": one["name"].replace("conv1", "conv")} for one in residual("b2", 5)],
    ],
)
def test_blocks_that_differ_in_anything_but_their_place_are_two(
    other: list[dict[str, Any]],
) -> None:
    nodes = grow([*residual("b1", 1), *other], silent=False)
    assert [(node.name, node.times, node.last) for node in nodes] == [
        ("b1", 1, None), ("b2", 1, None),
    ]  # fmt: skip


def test_equal_blocks_with_something_between_them_are_two() -> None:
    layers = [*residual("b1", 1), layer("pool", "pool"), *residual("b2", 5)]
    assert drawn(layers, deep=False) == ["b1", "pool", "b2"]


def test_single_layers_are_never_folded() -> None:
    assert drawn([layer("conv"), layer("conv"), layer("a.x"), layer("a.x")]) == [
        "conv", "conv", "a", "├ x", "└ x",
    ]  # fmt: skip


def test_blocks_in_blocks_are_folded_too_and_the_last_of_them_is_what_the_block_gives() -> None:
    layers = [
        *(one | {"name": f"stage.{one['name']}"} for b in (1, 5) for one in residual(f"b{b}", b)),
    ]
    (stage,) = grow(layers, silent=False)
    assert [(part.name, part.times) for part in stage.parts] == [("b1", 2)]
    assert stage.leaf["receptive_field"] == 9
    assert stage.summary()["receptive_field"] == 9
    assert stage.total("macs") == sums(layers, "macs") == 4 * 576


def test_a_block_as_a_row_has_its_sums_and_no_kernel() -> None:
    (block,) = grow(residual("b1", 1), silent=False)
    row = block.summary()
    assert {key: row[key] for key in SUMMED} == {
        "params": 76, "weights": 72, "macs": 1152,
        "activations": 128, "bytes": 512, "kept_bytes": 1024,
    }  # fmt: skip
    assert (row["kernel"], row["output"], row["receptive_field"]) == (None, [2, 4, 4], 5)
    (one,) = grow([layer("conv")], silent=False)
    assert one.summary() == layer("conv")


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("name", ZOO)
def test_visible_rows_add_up_to_the_totals(name: str, silent: bool) -> None:  # noqa: FBT001 - a parameter
    net = audits.of(name)
    nodes = grow(net["layers"], silent=silent)
    rows = list(visible(nodes))
    for key in SUMMED:
        wanted = sums(net["layers"], key)
        assert sum(times * one[key] for times, one in rows) == wanted
        assert sum(node.times * (node.total(key) or 0) for node in nodes) == wanted
        if key in net["totals"]:
            assert wanted == net["totals"][key]
    assert sum(times for times, _ in rows) == len([
        one for one in net["layers"] if silent or one["kind"] != "silent" or one["params"]
    ])  # fmt: skip


NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join)
LAYERS = st.lists(
    st.builds(
        layer, NAMES, st.sampled_from(["conv", "silent", "join"]),
        macs=st.integers(0, 2), kept_bytes=st.none() | st.integers(0, 2),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(LAYERS, st.booleans())
def test_nothing_is_lost_by_nesting_hiding_and_folding(layers, silent) -> None:
    nodes = grow(layers, silent=silent)
    for key in ("macs", "params", "activations"):
        assert sum(times * one[key] for times, one in visible(nodes)) == sums(layers, key)
        assert sum(node.times * (node.total(key) or 0) for node in nodes) == sums(layers, key)
    kept = [node.total("kept_bytes") for node in nodes]
    assert (None in kept) == (sums(layers, "kept_bytes") is None)
    assert len(list(lines(nodes, deep=True))) >= len(nodes)


def test_resnets_stages_are_folded_as_their_tables_say() -> None:
    labels = drawn(audits.of("resnet50")["layers"], deep=False)
    assert labels == [
        "input", "conv1", "conv1_norm", "pool1", "conv2_1", "conv2_2 … conv2_3 ×2", "conv3_1",
        "conv3_2 … conv3_4 ×3", "conv4_1", "conv4_2 … conv4_6 ×5", "conv5_1",
        "conv5_2 … conv5_3 ×2", "avgpool", "fc",
    ]  # fmt: skip
