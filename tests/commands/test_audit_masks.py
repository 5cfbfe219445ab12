"""cnnctl audit of nets for masks: the paper's net, or the one that is trained, and sizes."""

from __future__ import annotations

from typing import Any

import pytest

from cnnctl.commands import subjects
from cnnctl.config import compose
from cnnctl.errors import NetError

SMALL = "model.widths=[4,8,16]"


def audited(cnnctl, *words: str) -> dict[str, Any]:
    outcome = cnnctl("audit", *words, "--json")
    assert outcome.code == 0
    (net,) = outcome.document["result"]["nets"]
    return net


def test_the_paper_s_net_has_the_paper_s_sizes(cnnctl) -> None:
    net = audited(cnnctl, "unet", "batch_size=1")
    assert (net["input"], net["output"]) == ([1, 572, 572], [2, 388, 388])
    assert net["totals"]["params"] == 31_030_658
    assert net["layers"][-1]["receptive_field"] == 204
    share = net["memory"]["skips"] / net["memory"]["activations"]
    assert 0.10 < share < 0.11


def test_with_data_or_framed_the_net_is_the_one_that_is_trained(cnnctl) -> None:
    framed = audited(cnnctl, "unet", SMALL, "framed=true", "input=3x64x64", "classes=4")
    trained = audited(cnnctl, "unet", SMALL, "data=shapes", "data.size=64", "data.images=20")
    assert framed["output"] == trained["output"] == [4, 64, 64]
    assert framed["totals"] == trained["totals"]
    alone = audited(cnnctl, "unet", SMALL, "framed=false", "data=shapes", "data.size=64",
                    "data.images=20")  # fmt: skip
    assert alone["output"] == [4, 24, 24]
    assert alone["totals"]["macs"] < framed["totals"]["macs"]


def test_an_image_of_which_nothing_is_left_is_one_line(cnnctl) -> None:
    outcome = cnnctl("audit", "unet", "input=1x64x64")
    assert outcome.code != 0
    assert outcome.out == ""
    assert "unet: a 64x64 image is too small for layer 'down4_2': (2 − 3)/1 + 1 = 0" in outcome.err
    assert "its own: input=1x572x572, or with mirrored borders: framed=true" in outcome.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["vgg16", "framed=true"], "framed=true has no effect on vgg16, no net for masks"),
        (["unet", "sizes=[]"], "sizes names no size"),
        (["unet", "sizes=[0]"], "sizes must be at least 1, got [0]"),
    ],
)
def test_what_has_no_effect_or_is_no_size_is_refused(cnnctl, words, told) -> None:
    outcome = cnnctl("audit", *words)
    assert outcome.code == 2
    assert told in outcome.err


@pytest.mark.parametrize("given", ["sizes=[20,60,100]", "sizes=20,60,100"])
def test_costs_at_several_sizes(cnnctl, given) -> None:
    first, second, third = audited(cnnctl, "unet", SMALL, given)["sizes"]
    assert first["macs"] is None
    assert "a 20x20 image is too small for layer" in first["refused"]
    assert [second["output"], third["output"]] == [[2, 20, 20], [2, 60, 60]]
    assert second["share"] == second["receptive_field"] / 60
    assert 0 < second["peak"] < third["peak"]
    assert second["params"] == third["params"]


def test_sizes_of_a_classifier_change_its_dense_layers(cnnctl) -> None:
    first, second = audited(cnnctl, "lenet5", "sizes=[32,64]")["sizes"]
    assert first["params"] < second["params"]
    shown = cnnctl("audit", "lenet5", "sizes=[8,32]").out
    assert "no image of 8x8: lenet5: a 8x8 image is too small" in shown
    assert "of the side" in shown


def subject(*words: str) -> Any:
    with compose.opened():
        return subjects.subject(*subjects.settle("unet", [SMALL, *words]))


def test_a_run_is_audited_as_it_was_trained(cnnctl, tmp_path) -> None:
    words = ["model=unet", SMALL, "data.size=32", "data.images=20", "data.batch_size=4",
             "trainer.max_steps=2", "hardware=cpu", "progress=none"]  # fmt: skip
    made = cnnctl("train", *words, f"outputs={tmp_path}", "--json")
    run = made.document["result"]["run"]
    net = audited(cnnctl, run)
    assert (net["input"], net["output"]) == ([3, 32, 32], [4, 32, 32])
    assert net["layers"][-1]["receptive_field"] == 44  # behind borders wider than the image
    alone = audited(cnnctl, run, "framed=false", "input=3x60x60")
    assert alone["output"] == [4, 20, 20]


def test_a_side_takes_the_place_of_the_image() -> None:
    assert subject("input='1x60x60'").input == (1, 60, 60)
    with compose.opened():
        settled = subjects.settle("unet", [SMALL])
    assert subjects.subject(*settled, 100).input == (1, 100, 100)
    with pytest.raises(NetError, match="a 30x30 image is too small for layer"):
        subjects.subject(*settled, 30)
