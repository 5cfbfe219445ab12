from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

LAYER = {
    "name", "type", "output", "params", "weights", "activations", "bytes", "macs",
    "receptive_field", "jump",
}  # fmt: skip
TOTALS = {"params", "weights", "activations", "bytes", "macs", "weight_layers"}
MEMORY = {
    "batch_size", "precision", "optimizer", "weights", "gradients", "optimizer_state",
    "activations", "peak",
}  # fmt: skip
EVERY = [
    "input", "conv1_1", "conv1_2", "pool1", "conv2_1", "conv2_2", "pool2", "conv3_1", "conv3_2",
    "conv3_3", "pool3", "conv4_1", "conv4_2", "conv4_3", "pool4", "conv5_1", "conv5_2", "conv5_3",
    "pool5", "fc6", "fc7", "fc8",
]  # fmt: skip


def test_vgg16_as_the_lectures_list_it(cnnctl) -> None:
    outcome = cnnctl("audit", "vgg16", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    (net,) = outcome.document["result"]["nets"]
    assert (net["name"], net["input"], net["convention"]) == ("vgg16", [3, 224, 224], "rows")
    assert all(set(layer) >= LAYER for layer in net["layers"])
    assert set(net["totals"]) >= TOTALS
    assert set(net["memory"]) >= MEMORY
    totals = net["totals"]
    assert (totals["params"], totals["weights"]) == (138_357_544, 138_344_128)
    assert (totals["activations"], totals["bytes"]) == (15_237_608, 60_950_432)
    assert (totals["macs"], totals["weight_layers"]) == (15_470_264_320, 16)
    assert totals["conventions"]["slides"]["values"] == 24_352_744
    for key in ("params", "weights", "activations", "bytes", "macs"):
        assert sum(layer[key] for layer in net["layers"]) == totals[key]
    rows = {layer["name"]: layer for layer in net["layers"] if layer["kind"] != "silent"}
    assert list(rows) == EVERY
    assert (rows["pool5"]["receptive_field"], rows["pool5"]["jump"]) == (212, 32)
    assert rows["fc6"]["weights"] == 102_760_448
    assert net["memory"]["batch_size"] == 32
    assert net["memory"]["optimizer_state"] == 2 * 553_430_176 + 4 * 32


def test_the_format_json_is_what_json_prints(cnnctl) -> None:
    assert cnnctl("audit", "lenet5", "format=json").out == cnnctl("audit", "lenet5", "--json").out


def test_without_a_name_the_default_net_is_shown(cnnctl) -> None:
    outcome = cnnctl("audit")
    assert outcome.code == 0
    assert outcome.out.startswith("net    lenet5 · ")


def test_the_step_is_made_as_asked(cnnctl) -> None:
    words = ("batch_size=8", "precision=bf16-mixed", "optimizer=sgd", "optimizer.momentum=0")
    memory = cnnctl("audit", "lenet5", *words, "--json").document["result"]["nets"][0]["memory"]
    assert (memory["batch_size"], memory["precision"]) == (8, "bf16-mixed")
    assert (memory["optimizer"], memory["optimizer_state"]) == ("sgd", 0)


def test_numbers_of_the_net_can_be_changed(cnnctl) -> None:
    outcome = cnnctl("audit", "resnet50", "model.depths=[3,4,8,3]", "--json")
    assert outcome.document["result"]["nets"][0]["totals"]["params"] == 27_791_400


def test_image_and_classes_come_from_the_paper_the_user_or_the_data(cnnctl) -> None:
    def shape(*words: str) -> tuple[list[int], list[int]]:
        (net,) = cnnctl("audit", "lenet5", *words, "--json").document["result"]["nets"]
        return net["input"], net["layers"][-1]["output"]

    assert shape() == ([1, 32, 32], [10])
    assert shape("input=3x40x40", "classes=7") == ([3, 40, 40], [7])
    assert shape("data=digits", "data.size=36") == ([1, 36, 36], [10])


def test_several_nets_stand_side_by_side(cnnctl) -> None:
    outcome = cnnctl("audit", "lenet5", "mlp")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["lenet5", "mlp"]
    assert "61,706" in lines[2]
    assert "310,510" in lines[3]


def test_a_budget_that_is_too_small_is_told_with_the_table_and_by_the_exit_code(cnnctl) -> None:
    outcome = cnnctl("audit", "vgg16", "budget=3GB,24GB")
    assert (outcome.code, outcome.err) == (3, "")
    assert "conv1_1" in outcome.out
    assert "does not fit" in outcome.out
    document = cnnctl("audit", "vgg16", "budget=3GB,24GB", "--json").document
    assert document["ok"] is True
    small, large = document["result"]["nets"][0]["budget"]
    assert (small["name"], small["fits"], large["fits"]) == ("3GB", False, True)
    assert small["batch_size"] < 32 < large["batch_size"]
    assert cnnctl("audit", "vgg16", "budget=24GB", "--json").code == 0


def test_the_reserve_is_left_to_others(cnnctl) -> None:
    def largest(*words: str) -> int:
        document = cnnctl("audit", "lenet5", "budget=1GB", *words, "--json").document
        return document["result"]["nets"][0]["budget"][0]["batch_size"]

    assert largest("reserve=500MB") < largest() < largest("optimizer=sgd")


def test_published_figures_stand_beside_the_computed_ones(cnnctl) -> None:
    outcome = cnnctl("audit", "lenet5_1998", "--against", "paper", "--json")
    rows = {row["what"]: row for row in outcome.document["result"]["against"]}
    assert (rows["c3 parameters"]["printed"], rows["c3 parameters"]["computed"]) == ("1,516", 1516)
    assert "section II.B" in cnnctl("audit", "lenet5_1998", "--against", "paper").out


def test_strict_names_every_remainder(cnnctl) -> None:
    outcome = cnnctl("audit", "vgg16", "input=3x200x200", "--strict")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines()[0].startswith("cnnctl: error: fractions are illegal, but ")
    assert "pool4: (25 − 2)/2 + 1 = 12.5" in outcome.err
    assert cnnctl("audit", "vgg16", "--strict", "detail=blocks").code == 0


def test_what_if_varies_batch_precision_and_rule(cnnctl) -> None:
    (net,) = cnnctl("audit", "lenet5", "--what-if", "--json").document["result"]["nets"]
    made = {(one["precision"], one["optimizer"], one["batch_size"]) for one in net["what_if"]}
    batches, rules = (8, 16, 32, 64, 128), ("sgd", "adam")
    assert made == {(p, o, b) for p in ("32-true", "bf16-mixed") for o in rules for b in batches}


def test_files_for_others(cnnctl) -> None:
    rows = list(csv.DictReader(io.StringIO(cnnctl("audit", "lenet5", "format=csv").out)))
    assert sum(int(row["params"]) for row in rows) == 61_706
    for form, begin in (("md", "#"), ("html", "<!doctype html>"), ("dot", "digraph")):
        assert cnnctl("audit", "lenet5", f"format={form}").out.lower().startswith(begin)
    assert "<svg" in cnnctl("audit", "lenet5", "format=svg").out


def test_a_picture_is_written_whole(cnnctl) -> None:
    outcome = cnnctl("audit", "lenet5", "mlp", "--plot", "nets.png")
    assert outcome.code == 0
    assert Path("nets.png").read_bytes().startswith(b"\x89PNG")
    assert outcome.out.splitlines()[-1] == "picture  nets.png"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["vgg61"], "no net, run or file 'vgg61' (did you mean 'vgg11'?)"),
        (["vgg16", "bugdet=3GB"], "unknown key 'bugdet' (did you mean 'budget'?)"),
        (["lenet5", "budget=3G"], "budget wants a size such as 24GB or 8GiB, got '3G'"),
        (["lenet5", "reserve=1GB"], "reserve=1GB has no effect without a budget (budget=24GB)"),
        (["lenet5", "--all"], "--all takes no net, got lenet5"),
        (["lenet5", "--failed"], "--failed is an option of: cnnctl audit claims"),
        (["lenet5", "--against", "peers"], "--against takes paper, got 'peers'"),
        (["lenet5", "model=mlp"], "two nets at once: lenet5 and model=mlp (leave out one of them)"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(cnnctl, words: list[str], error: str) -> None:
    assert cnnctl("audit", *words) == (2, "", f"cnnctl: error: {error}\n")


def test_all_problems_are_told_at_once(cnnctl) -> None:
    outcome = cnnctl("audit", "lenet5", "batch_size=0", "memory=rwos", "input=3x3", "classes=1")
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) >= 3


def test_an_image_too_small_names_the_layer(cnnctl) -> None:
    outcome = cnnctl("audit", "vgg16", "input=3x16x16")
    assert outcome.code == 2
    assert "layer 'pool5': (1 − 2)/2 + 1 = 0.5" in outcome.err
