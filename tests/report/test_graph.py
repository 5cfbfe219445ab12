from __future__ import annotations

import re
from collections import Counter

import audits
import pytest

from cnnctl.report import graph
from cnnctl.report.tree import Node, grow

STRING = r'"(?:[^"\\\n]|\\.)*"'
STATEMENTS = {
    "open": rf"digraph {STRING} {{|\s+subgraph cluster_\d+ {{",
    "close": r"\s*}",
    "style": r"\s+(graph|node|edge) \[[^\]]*\];|\s+node \[[^\]]*|\s+color=[^\]]*\];",
    "label": rf"\s+label={STRING};",
    "node": rf'\s+n\d+ \[label={STRING}(, fillcolor="#[0-9a-f]{{6}}")?\];',
    "edge": r"\s+n\d+ -> n\d+;",
}
NETS = ("lenet5", "lenet5_1998", "resnet20", "resnet50", "googlenet", "densenet_bc100_12",
        "shufflenet_v2_x1_0", "efficientnet_b0")  # fmt: skip


def statements(text: str) -> list[tuple[str, str]]:
    """The lines with what they are; a line that is nothing fails."""
    found = []
    for line in text.splitlines():
        (kind,) = [kind for kind, form in STATEMENTS.items() if re.fullmatch(form, line)]
        found.append((kind, line.strip()))
    return found


def edges(text: str) -> list[tuple[str, str]]:
    """Each edge, by the first line of the labels of its ends."""
    names = dict(re.findall(r'(n\d+) \[label="((?:[^"\\]|\\[^n])*)', text))
    return [(names[a], names[b]) for a, b in re.findall(r"(n\d+) -> (n\d+);", text)]


@pytest.mark.parametrize("name", NETS)
def test_the_text_is_graphviz(name) -> None:
    found = statements(graph.dot(audits.of(name)))
    kinds = Counter(kind for kind, _ in found)
    assert kinds["open"] == kinds["close"] >= 1
    depth = 0
    for kind, _ in found:
        depth += {"open": 1, "close": -1}.get(kind, 0)
        assert depth >= 0
    names = [line.split()[0] for kind, line in found if kind == "node"]
    assert len(names) == len(set(names))
    ends = {end for kind, line in found if kind == "edge" for end in re.findall(r"n\d+", line)}
    assert ends == set(names)


@pytest.mark.parametrize("name", NETS)
def test_every_layer_but_the_image_follows_another_and_all_but_the_last_are_followed(name) -> None:
    text = graph.dot(audits.of(name))
    found = re.findall(r"(n\d+) -> (n\d+);", text)
    names = re.findall(r"^\s+(n\d+) \[", text, re.MULTILINE)
    assert set(names) - {end for _, end in found} == {names[0]}
    assert set(names) - {start for start, _ in found} == {names[-1]}
    assert len(found) == len(set(found))


def test_a_chain_by_hand() -> None:
    net = audits.net(audits.layer("conv1"), audits.layer("fc", "dense", output=[7], params=1234))
    assert graph.dot(net).splitlines()[6:] == [
        r'  n1 [label="conv1\nconv 3×3 p1\n2×4×4\n38 params", fillcolor="#cfe0f5"];',
        r'  n2 [label="fc\ndense\n7\n1,234 params", fillcolor="#cdebd9"];',
        "  n0 -> n1;",
        "  n1 -> n2;",
        "}",
    ]


def test_a_block_is_a_cluster_that_says_how_often_it_stands() -> None:
    blocks = [*audits.residual("a", 1), *audits.residual("b", 5)]
    text = graph.dot(audits.net(*blocks))
    assert r'label="a … b ×2\n2 weight layers each\n2×4×4\n152 params";' in text
    assert text.count("subgraph") == 2  # the block and its branch


def test_a_residual_block_has_a_shortcut() -> None:
    text = graph.dot(audits.net(audits.layer("conv"), *audits.residual("a", 1)))
    assert edges(text) == [
        ("input", "conv"), ("conv", "conv1"), ("conv1", "conv2"), ("conv2", "add"),
        ("conv", "add"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "join", "inputs"),
    [
        ("resnet50", "add", {2}), ("resnet20", "add", {2}), ("googlenet", "cat", {4}),
        ("lenet5_1998", "cat", {3}), ("densenet_bc100_12", "cat", {2}),
        ("efficientnet_b0", "mul", {2}), ("shufflenet_v2_x1_0", "cat", {2}),
    ],
)  # fmt: skip
def test_branches_meet_where_they_are_joined(name, join, inputs) -> None:
    text = graph.dot(audits.of(name))
    ends = Counter(re.findall(r"-> (n\d+);", text))
    joins = re.findall(rf'(n\d+) \[label="{join}\\n', text)
    assert joins
    assert {ends[end] for end in joins} == inputs


def parts(*layers) -> list[Node]:
    (block,) = grow([layer | {"name": f"b.{layer['name']}"} for layer in layers], silent=True)
    return block.parts


def found(before, *layers) -> list[list[str]] | None:
    groups = graph.branches(parts(*layers), before)
    return groups and [[node.name for node in group] for group in groups]


BEFORE = audits.layer("before", receptive_field=5, jump=2)
LEFT = audits.layer("left.conv", receptive_field=9, jump=2)
RIGHT = audits.layer("right.conv", receptive_field=5, kernel=[1, 1])
ADD = audits.layer("add", "join", receptive_field=9)


def test_branches_that_look_at_the_same_layer_are_parallel() -> None:
    assert found(BEFORE, LEFT, RIGHT, ADD) == [["left"], ["right"]]


def test_a_branch_that_sees_more_than_its_window_follows_another() -> None:
    later = RIGHT | {"receptive_field": 9}
    assert found(BEFORE, LEFT, later, ADD) == [["left", "right"], []]


def test_layers_in_a_row_are_one_branch_beside_a_block() -> None:
    conv = audits.layer("conv", receptive_field=9)
    norm = audits.layer("norm", "norm", receptive_field=9)
    assert found(BEFORE, conv, norm, RIGHT, ADD) == [["conv", "norm"], ["right"]]


def test_a_dilated_window_sees_further_apart() -> None:
    wide = LEFT | {"dilation": [2, 2], "receptive_field": 13}
    assert found(BEFORE, wide, RIGHT, ADD) == [["left"], ["right"]]
    assert found(BEFORE, LEFT | {"dilation": [2, 2]}, RIGHT, ADD) == [["left", "right"], []]


def test_windows_that_are_not_square_are_seen_by_axis() -> None:
    tall = LEFT | {"kernel": [3, 1], "receptive_field_by_axis": [9, 5]}
    assert found(BEFORE, tall, RIGHT, ADD) == [["left"], ["right"]]
    assert found(BEFORE, tall | {"kernel": [1, 3]}, RIGHT, ADD) == [["left", "right"], []]


@pytest.mark.parametrize(
    ("kind", "channels", "groups"),
    [
        ("cat", (2, 2, 4), [["left"], ["right"]]), ("cat", (2, 1, 4), None),
        ("add", (2, 2, 2), [["left"], ["right"]]), ("add", (2, 3, 2), None),
        ("mul", (2, 1, 2), [["left"], ["right"]]),
    ],
)  # fmt: skip
def test_channels_have_to_add_up(kind, channels, groups) -> None:
    sizes = [{"output": [count, 4, 4]} for count in channels]
    layers = [layer | size for layer, size in zip((LEFT, RIGHT, ADD), sizes, strict=True)]
    layers[-1]["type"] = kind
    before = BEFORE | {"output": [9, 2, 2]}  # a shortcut would not fit
    assert found(before, *layers) == groups


def test_a_part_of_what_came_before_can_be_a_shortcut_of_a_cat() -> None:
    cat = ADD | {"type": "cat", "output": [3, 4, 4]}
    assert found(BEFORE, LEFT, cat) == [["left"], []]
    assert found(BEFORE, LEFT, cat | {"output": [5, 4, 4]}) is None
    assert found(BEFORE, LEFT, cat | {"output": [2, 4, 4]}) is None  # nothing of it is left


def test_without_a_join_or_with_unknown_fields_the_order_of_calls_is_all_there_is() -> None:
    assert found(BEFORE, LEFT, RIGHT) is None
    unknown = [layer | {"receptive_field": None} for layer in (LEFT, RIGHT)]
    assert found(BEFORE | {"output": [9, 4, 4]}, *unknown, ADD) is None


def test_hostile_names_are_quoted() -> None:
    net = audits.net(audits.layer('a"];\\x', "join"), name='n"1\\')
    text = graph.dot(net)
    assert text.splitlines()[0] == r'digraph "n\"1\\" {'
    assert r'[label="a\"];\\x\nadd\n2×4×4"' in text
    assert {kind for kind, _ in statements(text)} == {"open", "close", "style", "node", "edge"}
