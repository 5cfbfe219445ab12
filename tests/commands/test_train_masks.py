"""`cnnctl train` with masks: what goes together by itself, and what is refused in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SMALL = ("data.images=20", "data.size=16", "hardware=cpu", "progress=none")
TINY = (*SMALL, "model=unet_small", "model.widths=[4,8]", "trainer.max_steps=2")
NO_MASKS = "unet_small gives a class for each pixel, but data=digits has one for each image"
NO_CLASSES = "data=shapes has a class for each pixel, but lenet5 gives none"
PIXELS = "loss=dice is one of pixels, but lenet5 gives no class of each"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["model=unet_small", "data=digits"],
            f"{NO_MASKS} (data=shapes, or your own: data=folder_masks data.root=…)",
        ),
        (["data=shapes", "model=lenet5"], f"{NO_CLASSES} (model=unet_same, or data=digits)"),
        (["loss=dice"], f"{PIXELS} (loss=own, or a net for masks: model=unet_same)"),
        (
            ["model=unet_small", "augment=trivial"],
            "augment.policy=trivial knows no masks (set augment.policy=null)",
        ),
        (
            ["model=unet_small", "loss.weights=[1,2]"],
            "unknown key 'loss.weights' (a key of loss=cross_entropy, loss=dice, loss=focal)",
        ),
        (
            ["model=unet_small", "loss=focal", "loss.weights=[1,2]"],
            (
                "loss.weights must have one number for each of 4 classes, got 2 "
                "(background, disc, square, triangle)"
            ),
        ),
        (
            ["-m", "model=unet_small,lenet5"],
            f"{NO_MASKS} (data=shapes, or your own: data=folder_masks data.root=…)",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["train", "train --dry-run"])
def test_what_does_not_go_together_is_one_line_and_no_folder(cnnctl, words, text, verb) -> None:
    more = [] if "data=digits" in words or "loss=dice" in words else ["hardware=cpu"]
    code, out, err = cnnctl(*verb.split(), *words, *more)
    assert (code, out, err) == (2, "", f"cnnctl: error: {text}\n")
    assert not Path("outputs").exists()


@pytest.mark.parametrize("words", [("model=unet_same",), ("data=shapes",), ("model=unet",)])
def test_a_net_or_data_with_masks_brings_the_other(cnnctl, words) -> None:
    shown = cnnctl("show", *words, "--json").document["result"]["keys"]
    found = {row["key"]: row["value"] for row in shown}
    wanted = words[0].partition("=")[2].replace("shapes", "unet_small")
    assert (found["model.name"], found["data.name"], found["loss.name"]) == (
        wanted, "shapes", "own",
    )  # fmt: skip
    plan = cnnctl("train", *words, *SMALL, "--dry-run", "--json").document["result"]
    assert (plan["model"], plan["data"]) == (wanted, "shapes")


def test_a_recipe_says_all_by_itself(cnnctl) -> None:
    plan = cnnctl("train", "recipe=digits", "hardware=cpu", "--dry-run", "--json").document
    assert (plan["result"]["model"], plan["result"]["data"]) == ("lenet5", "digits")
    shown = cnnctl("show", "recipe=digits", "loss", "--json").document["result"]["keys"]
    assert shown == [{"key": "loss.name", "value": "own", "source": "conf/loss/own.yaml"}]


def test_a_multirun_takes_nets_for_masks(cnnctl) -> None:
    words = ("-m", "model=unet_small,unet_same", *SMALL, "--dry-run", "--json")
    found = cnnctl("train", *words).document["result"]["runs"]
    assert [(one["model"], one["data"]) for one in found] == [
        ("unet_small", "shapes"), ("unet_same", "shapes"),
    ]  # fmt: skip


def test_runs_of_a_multirun_are_listed_by_their_figure(cnnctl) -> None:
    found = cnnctl("train", "-m", "loss=own,dice", *TINY, "--json").document["result"]["runs"]
    assert [one["task"] for one in found] == ["segment", "segment"]
    assert found[0]["weights_sha256"] != found[1]["weights_sha256"]
    listed = cnnctl("list", "runs", "--json").document["result"]["runs"]
    for row, one in zip(listed, found, strict=True):
        assert (row["val_miou"], row["test_miou"]) == (one["val"]["miou"], one["test"]["miou"])
        assert row["val_top1"] is None


def test_the_figures_are_those_of_masks_on_stderr_and_stdout(cnnctl) -> None:
    words = [word for word in TINY if word != "progress=none"]
    code, out, err = cnnctl("train", *words)
    assert code == 0
    epochs = [line for line in err.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 2
    assert all("  miou " in line and "  val/miou " in line for line in epochs)
    assert "top1" not in out + err
    head = out.splitlines()[0]
    assert re.match(r"epoch [12] of 2  ", head)
    assert head.split()[4:] == ["mean", "IoU", "Dice", "pixel", "accuracy", "loss"]


def test_a_run_is_replayed_to_the_same_weights_and_goes_on(cnnctl) -> None:
    first = cnnctl("train", *TINY, "schedule=constant", "--json").document["result"]
    config = f"{first['run']}/config.yaml"
    again = cnnctl("train", "--config", config, "--json").document["result"]
    assert again["weights_sha256"] == first["weights_sha256"]
    assert again["test"] == first["test"]
    gone = cnnctl("train", "--resume", first["run"], "trainer.max_steps=4", "--json").document
    assert (gone["result"]["steps"], gone["result"]["resumed"]) == (4, [2])


def test_everything_is_tried_once_on_shapes_whatever_the_data(cnnctl, tmp_path) -> None:
    words = ("data=folder_masks", f"data.root={tmp_path}/nowhere", "data.classes=[a,b]")
    net = ("model=unet_small", "model.widths=[4,8]", "loss=focal", "loss.weights=[1,2]")
    outcome = cnnctl("train", *words, *net, "hardware=cpu", "progress=none", "--smoke", "--json")
    assert outcome.code == 0
    result = outcome.document["result"]
    assert (result["epochs"], result["task"]) == (2, "segment")
    assert Path(result["run"]).parent == Path("outputs/smoke")
