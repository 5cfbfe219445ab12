from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from cnnctl.commands import VERBS, conv

HEAVY = {"torch", "torchvision", "pytorch_lightning", "wandb", "hydra", "omegaconf", "numpy"}
KEYS = [
    "input", "output", "unrounded", "exact", "fits", "working", "params", "weights", "macs",
    "activations", "bytes", "receptive_field", "jump", "alternatives",
]  # fmt: skip
LECTURE = ("32x32x3", "kernel=5", "filters=10", "stride=1", "padding=2")


@pytest.fixture
def answer(cnnctl):
    """The JSON result of a command line that works."""

    def ask(*words: str) -> dict[str, Any]:
        code, out, err = outcome = cnnctl("conv", *words, "--json")
        assert (code, err) == (0, ""), out
        assert outcome.document["command"] == "conv"
        return outcome.document["result"]

    return ask


def told(result: dict[str, Any], step: str) -> list[str]:
    return [row["line"] for row in result["working"] if row["step"] == step]


def test_the_layer_of_the_lectures(answer) -> None:
    result = answer(*LECTURE)
    assert list(result) == KEYS
    assert (result["input"], result["output"]) == ([32, 32, 3], [32, 32, 10])
    assert (result["exact"], result["unrounded"], result["fits"]) == (True, [32, 32], [])
    assert (result["params"], result["weights"], result["macs"]) == (760, 750, 768_000)
    assert (result["activations"], result["bytes"]) == (10_240, 40_960)
    assert (result["receptive_field"], result["jump"]) == ([5, 5], [1, 1])
    assert told(result, "output size")[1] == "(32 + 2·2 − 5)/1 + 1 = 32"
    assert told(result, "parameters")[-1] == "10 filters · 76 = 760"


def test_the_terminal_shows_the_working_of_the_document(cnnctl, answer) -> None:
    code, out, err = cnnctl("conv", *LECTURE)
    assert (code, err) == (0, "")
    lines = [row["line"] for row in answer(*LECTURE)["working"]]
    assert [line[17:] for line in out.splitlines()[: len(lines)]] == lines


def test_a_fraction_is_illegal_but_an_answer(answer) -> None:
    result = answer("7x7", "kernel=3", "stride=3")
    assert (result["exact"], result["output"]) == (False, [2, 2, 1])
    assert result["unrounded"] == pytest.approx([7 / 3, 7 / 3])
    assert result["fits"] == [{"axis": "both", "padding": [1], "stride": [2, 4], "input": [6, 9]}]
    assert told(result, "output size") == [
        "(N − K)/S + 1",
        "fractions are illegal: (7 − 3)/3 + 1 = 2.33",
        "torch rounds down to 2×2",
        "never seen: the last row and the last column",
        "what fits: padding 1 · stride 2 or 4 · input 6 or 9",
    ]
    for fitting in (["padding=1", "stride=3"], ["stride=2"], ["stride=4"]):
        assert answer("7x7", "kernel=3", *fitting)["exact"] is True


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        ("7", [7, 7, 1]), ("7x8", [7, 8, 1]), ("7x8x2", [7, 8, 2]), ("7×8×2", [7, 8, 2]),
        ("07x8x002", [7, 8, 2]),
    ],
)  # fmt: skip
def test_an_input_is_height_width_and_channels(answer, word: str, shape: list[int]) -> None:
    assert answer(word, "kernel=3")["input"] == shape


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["kernel=3"], [6, 7, 1]),
        (["kernel=3x2"], [6, 8, 1]),
        (["kernel=3×2", "stride=2x1"], [3, 8, 1]),
        (["kernel=3", "padding=1x0"], [8, 7, 1]),
        (["kernel=3", "dilation=2x3"], [4, 3, 1]),
        (["kernel=3", "padding=same", "dilation=2"], [8, 9, 1]),
        (["kernel=1x7", "padding=same"], [8, 9, 1]),
        (["kernel=3", "padding=valid", "stride=1"], [6, 7, 1]),
        (["kernel=3x5", "padding=full"], [10, 13, 1]),
        (["kernel=2", "pool=max"], [4, 4, 6]),
        (["kernel=2x3", "pool=avg"], [4, 3, 6]),
        (["kernel=3", "pool=max", "stride=1", "padding=same"], [8, 9, 6]),
        (["kernel=3", "pool=max", "stride=1", "dilation=2"], [4, 5, 6]),
        (["kernel=3", "filters=4", "groups=2"], [6, 7, 4]),
        (["kernel=3", "transposed=true"], [10, 11, 1]),
        (
            ["kernel=3", "transposed=true", "stride=2", "padding=1", "output_padding=1"],
            [16, 18, 1],
        ),
        (["kernel=3", "transposed=false", "bias=false"], [6, 7, 1]),
    ],
)
def test_what_the_keys_mean(answer, words: list[str], output: list[int]) -> None:
    assert answer("8x9x6", *words)["output"] == output


def test_a_filter_has_a_bias_unless_told(answer) -> None:
    assert answer("8x8x3", "kernel=3")["params"] == 28
    assert answer("8x8x3", "kernel=3", "bias=false")["params"] == 27
    assert answer("8x8x3", "kernel=3", "pool=avg")["params"] == 0


def test_neighbours_of_a_transposed_convolution_are_a_part_of_a_pixel_apart(answer) -> None:
    result = answer("7x7x64", "kernel=4", "stride=2", "padding=1", "transposed=true")
    assert (result["jump"], result["receptive_field"]) == ([0.5, 0.5], [2, 2])
    assert result["alternatives"] == []


def test_alternatives_have_their_costs(answer) -> None:
    rows = answer("8x8x3", "kernel=5", "filters=256", "padding=2")["alternatives"]
    found = {row["name"]: row for row in rows}
    assert [list(row) for row in rows] == [["name", "params", "macs", "ratio", "parts"]] * 3
    assert found["standard"]["macs"] == 1_228_800
    assert found["depthwise separable"]["parts"] == [4_800, 49_152]


def test_reduce_is_the_width_of_the_bottleneck(answer) -> None:
    layer = ("32x32x200", "kernel=5", "filters=92", "padding=same")
    for words, width, macs in (((), 25, 64_000_000), (("reduce=16",), 16, 40_960_000)):
        rows = answer(*layer, *words)["alternatives"]
        assert {row["name"]: row["macs"] for row in rows}[f"bottleneck of {width}"] == macs


def test_a_stack_grows_layer_by_layer(answer) -> None:
    result = answer("32x32x3", "kernel=3", "filters=8", "padding=1", "--stack", "3")
    assert list(result) == [*KEYS, "stack"]
    stack = result["stack"]
    assert [row["receptive_field"] for row in stack["rows"]] == [[3, 3], [5, 5], [7, 7]]
    assert [row["params"] for row in stack["rows"]] == [224, 584, 584]
    assert (stack["params"], stack["receptive_field"], stack["jump"]) == (1392, [7, 7], [1, 1])
    assert stack["macs"] == sum(row["macs"] for row in stack["rows"]) == 32 * 32 * (216 + 2 * 576)
    assert stack["working"] == "3 · 3·3 C² = 27 C² against 49 C² of one 7×7: ratio 0.551"


def test_a_stack_of_pools_has_no_weights_to_compare(answer) -> None:
    stack = answer("224", "kernel=2", "pool=max", "--stack=5")["stack"]
    assert [row["output"][0] for row in stack["rows"]] == [112, 56, 28, 14, 7]
    assert (stack["jump"], stack["working"]) == ([32, 32], None)


def test_a_stack_has_up_to_a_hundred_layers(answer) -> None:
    for layers in (1, 100):
        stack = answer("8", "kernel=3", "padding=1", f"--stack={layers}")["stack"]
        assert stack["receptive_field"] == [1 + 2 * layers, 1 + 2 * layers]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["3x4", "kernel=5"],
            "the layer leaves nothing of 3×4: (3 − 5)/1 + 1 = −1 (use an input of at least 5x5)",
        ),
        (
            ["9x1", "kernel=3x4", "padding=1", "stride=2"],
            (
                "the layer leaves nothing of 9×1: (1 + 2·1 − 4)/2 + 1 = 0.5"
                " (use an input of at least 1x2)"
            ),
        ),
        (
            ["9", "kernel=5", "--stack", "3"],
            "layer 3 leaves nothing of 1×1: (1 − 5)/1 + 1 = −3 (use a larger input, or --stack 2)",
        ),
        (
            ["2", "kernel=1", "padding=3", "transposed=true"],
            (
                "the layer leaves nothing of 2×2: (2 − 1)·1 − 2·3 + 1·(1 − 1) + 0 + 1 = −4"
                " (use less padding)"
            ),
        ),
    ],
)
def test_nothing_left_is_an_error_with_its_arithmetic(cnnctl, words, line) -> None:
    code, out, err = cnnctl("conv", *words)
    assert (code, out, err) == (2, "", f"cnnctl: error: {line}\n")
    assert cnnctl("conv", *words, "--json").document["error"]["kind"] == "small_image"


def test_the_help_names_every_key(cnnctl) -> None:
    about = cnnctl("conv", "--help").out
    assert all(f"{key}" in about for key in conv.KEYS)
    assert max(map(len, VERBS["conv"].about.splitlines())) <= 90
    for line in VERBS["conv"].about.splitlines():
        if line.startswith("  cnnctl "):
            assert cnnctl(*line.split()[1:]).code == 0


def test_an_answer_needs_no_torch_and_no_hydra() -> None:
    code = "import sys; from cnnctl.cli import main; main(); print(*sys.modules, file=sys.stderr)"
    for end in ([], ["--json"]):
        words = ["conv", *LECTURE, "--stack", "2", *end]
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
        )
        loaded = {name.partition(".")[0] for name in done.stderr.split()}
        assert "cnnctl" in loaded
        assert loaded & HEAVY == set()
