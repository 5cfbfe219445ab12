from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cnnctl.commands import audit
from cnnctl.config import paths

NET = [
    "name", "about", "input", "output", "convention", "layers", "training_layers", "totals",
    "memory",
]  # fmt: skip
LAYER = {
    "name", "type", "kind", "output", "params", "weights", "activations", "bytes", "macs",
    "receptive_field", "jump", "values", "kept_bytes", "sees_all", "sees_enough", "call",
}  # fmt: skip
TOTALS = {"params", "weights", "activations", "bytes", "macs", "flops", "weight_layers"}
MEMORY = {
    "batch_size", "precision", "optimizer", "weights", "gradients", "optimizer_state",
    "activations", "skips", "peak", "where", "at_peak", "reason",
}  # fmt: skip


def result(cnnctl, *words: str, code: int = 0) -> dict[str, Any]:
    outcome = cnnctl("audit", *words, "--json")
    assert (outcome.code, outcome.err) == (code, "")
    assert outcome.document["ok"] is True
    return outcome.document["result"]


def test_the_contract(cnnctl) -> None:
    (net,) = result(cnnctl, "vgg16")["nets"]
    assert list(net) == NET
    assert (net["name"], net["input"], net["convention"]) == ("vgg16", [3, 224, 224], "rows")
    assert all(set(layer) >= LAYER for layer in net["layers"])
    assert set(net["totals"]) >= TOTALS
    assert set(net["memory"]) >= MEMORY
    first = net["layers"][1]
    assert {key: first[key] for key in ("name", "type", "output", "params", "weights")} == {
        "name": "conv1_1", "type": "Conv2d", "output": [64, 224, 224], "params": 1792,
        "weights": 1728,
    }  # fmt: skip
    assert (first["activations"], first["bytes"]) == (3_211_264, 12_845_056)
    assert (first["macs"], first["receptive_field"], first["jump"]) == (86_704_128, 3, 1)


def test_the_figures_of_vgg16(cnnctl) -> None:
    (net,) = result(cnnctl, "vgg16")["nets"]
    totals, memory = net["totals"], net["memory"]
    assert (totals["params"], totals["weights"]) == (138_357_544, 138_344_128)
    assert (totals["activations"], totals["bytes"]) == (15_237_608, 60_950_432)
    assert (totals["macs"], totals["weight_layers"]) == (15_470_264_320, 16)
    assert totals["conventions"]["slides"]["values"] == 24_352_744
    assert round(totals["training_macs"]["backward"] / 1e6) == 30_854
    by_name = {layer["name"]: layer for layer in net["layers"]}
    assert (by_name["pool5"]["receptive_field"], by_name["pool5"]["jump"]) == (212, 32)
    assert (memory["batch_size"], memory["precision"], memory["optimizer"]) == (
        32,
        "32-true",
        "adam",
    )
    assert memory["optimizer_state"] > 2 * memory["weights"]
    assert sum(memory["at_peak"].values()) == memory["peak"]


@pytest.mark.parametrize("nets", [["lenet5"], ["lenet5", "pattern"]])
def test_the_format_json_and_the_flag_print_the_same_document(cnnctl, nets: list[str]) -> None:
    flag = cnnctl("audit", *nets, "--json")
    assert cnnctl("audit", *nets, "format=json") == flag
    assert [net["name"] for net in flag.document["result"]["nets"]] == nets


def test_without_a_net_it_is_the_default_one(cnnctl) -> None:
    assert [net["name"] for net in result(cnnctl)["nets"]] == ["lenet5"]
    assert [net["name"] for net in result(cnnctl, "model=pattern")["nets"]] == ["pattern"]


def test_what_a_net_is_made_of_can_be_changed(cnnctl) -> None:
    (net,) = result(cnnctl, "lenet5", "model.activation=relu", "classes=3", "input=3x36x36")["nets"]
    assert net["input"] == [3, 36, 36]
    assert net["layers"][-1]["output"] == [3]
    assert {layer["type"] for layer in net["layers"]} >= {"ReLU"}


def test_how_the_step_is_made_can_be_changed(cnnctl) -> None:
    words = ["batch_size=4", "precision=16-true", "optimizer=sgd", "accelerator=gpu",
             "channels_last=true", "accumulate=2", "memory=outputs"]  # fmt: skip
    (net,) = result(cnnctl, "lenet5", *words)["nets"]
    made = net["memory"]
    assert (made["batch_size"], made["precision"], made["optimizer"]) == (4, "16-true", "sgd")
    assert (made["accelerator"], made["channels_last"], made["accumulate"]) == ("gpu", True, 2)
    assert 2 * 61_706 < made["weights"] < 2 * 61_706 + 10 * 512  # ten tensors, in whole blocks
    assert (net["convention"], net["totals"]["activations"]) == ("outputs", 14_602)


def test_the_view_is_that_of_one_net_or_of_several(cnnctl) -> None:
    code, out, err = cnnctl("audit", "lenet5")
    assert (code, err) == (0, "")
    assert out.startswith("net    lenet5 · LeCun et al. 1998")
    assert "c1      5×5      6×28×28   4,704  18.82    602.1     156      150   117.6" in out
    assert "c1_act" not in out
    assert "c1_act" in cnnctl("audit", "lenet5", "detail=all").out
    code, out, err = cnnctl("audit", "lenet5", "pattern")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[2:4]] == ["lenet5", "pattern"]


@pytest.mark.parametrize(
    ("form", "start"),
    [("csv", "net,"), ("md", "## lenet5"), ("dot", "digraph"), ("svg", "<svg"), ("html", "<!")],
)
def test_a_format_is_printed_and_nothing_else(cnnctl, form: str, start: str) -> None:
    code, out, err = cnnctl("audit", "lenet5", f"format={form}")
    assert (code, err) == (0, "")
    assert out.lower().startswith(start)


def test_a_batch_that_does_not_fit_is_exit_code_3_and_the_table_is_printed(cnnctl) -> None:
    code, out, err = cnnctl("audit", "lenet5", "budget=1MB,1GB")
    assert (code, err) == (audit.EXIT_TOO_LARGE, "") == (3, "")
    assert out.startswith("net    lenet5")
    assert re.search(r"^1MB +none +– +0 MB +32 does not fit *$", out, re.MULTILINE)
    assert re.search(r"^1GB +\d\d,\d\d\d +1,000 MB +0 MB +32 fits *$", out, re.MULTILINE)
    (net,) = result(cnnctl, "lenet5", "budget=1MB,1GB", code=3)["nets"]
    assert [(fit["name"], fit["fits"]) for fit in net["budget"]] == [("1MB", False), ("1GB", True)]
    assert result(cnnctl, "lenet5", "budget=1GB")["nets"][0]["budget"][0]["budget"] == 10**9


def test_a_budget_is_one_for_all_nets(cnnctl) -> None:
    found = result(cnnctl, "lenet5", "pattern", "budget=10MB", code=3)["nets"]
    assert [net["budget"][0]["fits"] for net in found] == [True, False]


def test_what_is_reserved_is_not_for_tensors(cnnctl) -> None:
    (net,) = result(cnnctl, "lenet5", "budget=1GB", "reserve=999MB", code=3)["nets"]
    (fit,) = net["budget"]
    assert (fit["reserve"], fit["fits"], fit["batch_size"]) == (999_000_000, False, 0)


def test_other_steps_published_figures_and_a_picture_are_asked_for_by_flags(cnnctl) -> None:
    assert set(result(cnnctl, "lenet5")) == {"nets", "detail", "format"}
    found = result(cnnctl, "lenet5", "vgg16", "--what-if", "--against", "paper", "--plot", "a.svg")
    (first, *_) = found["nets"]
    assert {one["batch_size"] for one in first["what_if"]} == {8, 16, 32, 64, 128}
    assert [(row["net"], row["figure"], row["printed"]) for row in found["against"]] == [
        ("vgg16", "params", "138 million"),
    ]  # fmt: skip
    assert found["plot"] == "a.svg"
    assert Path("a.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_all_is_the_whole_zoo_in_the_order_of_its_list(cnnctl, monkeypatch) -> None:
    monkeypatch.setattr(audit.subjects, "names", lambda: ["lenet5", "perceptron", "pattern"])
    nets = result(cnnctl, "--all")["nets"]
    assert [net["name"] for net in nets] == ["lenet5", "perceptron", "pattern"]
    monkeypatch.undo()
    listed = [
        row["name"] for row in cnnctl("list", "models", "--json").document["result"]["models"]
    ]
    assert audit.subjects.names() == listed
    assert set(listed) == set(paths.config_files()["model"])


def test_nothing_is_left_behind(cnnctl) -> None:
    before = sorted(Path.cwd().iterdir())
    assert cnnctl("audit", "lenet5").code == 0
    assert sorted(Path.cwd().iterdir()) == before


def test_claims_are_a_target_of_their_own(cnnctl) -> None:
    outcome = cnnctl("audit", "claims", "lenet5", "--json")
    assert outcome.code == 0
    assert list(json.loads(outcome.out)["result"])[:2] == ["claims", "summary"]
