from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cnnctl.config import companions

completed = companions.completed


@pytest.mark.parametrize("model", ["unet", "unet_same", "unet_small", "unet,unet_same"])
def test_a_net_for_masks_gets_shapes(model) -> None:
    words = ["seed=1", f"model={model}"]
    assert completed(words) == ["data=shapes", *words]


@pytest.mark.parametrize("data", ["shapes", "folder_masks", "voc", "shapes,voc"])
def test_images_with_masks_get_a_small_unet(data) -> None:
    words = [f"data={data}", "data.size=64"]
    assert completed(words) == ["model=unet_small", *words]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["model=resnet20"],
        ["data=cifar10"],
        ["data=oxford_pets"],
        ["model=nothing_like_it"],
        ["data=nothing_like_it"],
        ["model=unet", "data=folder_masks"],
        ["data=digits", "model=unet"],
        ["model=lenet5", "data=shapes"],
        ["recipe=resnet_cifar", "data=shapes"],
        ["recipe=resnet_cifar", "model=unet"],
        ["model=lenet5,unet"],
        ["data=digits,shapes"],
        ["data.size=64"],
    ],
)
def test_what_is_chosen_stays_and_so_does_all_else(words) -> None:
    assert completed(words) == words


def test_a_net_of_the_users_own_that_builds_on_ours(tmp_path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/mine.yaml").write_text("defaults: [unet_small, _self_]\nname: mine\n")
    assert completed(["model=mine"], [tmp_path]) == ["data=shapes", "model=mine"]
    assert completed(["model=mine"]) == ["model=mine"]


@pytest.mark.parametrize("words", [("model=unet_small",), ("data=shapes",)])
def test_one_of_the_two_is_enough_on_the_command_line(cnnctl, words) -> None:
    outcome = cnnctl("train", *words, "data.images=20", "hardware=cpu", "--dry-run", "--json")
    result = outcome.document["result"]
    assert (outcome.code, result["model"], result["data"]) == (0, "unet_small", "shapes")
    assert not Path("outputs").exists()


def test_it_needs_no_torch() -> None:
    program = "import sys, cnnctl.config.companions; print('torch' in sys.modules)"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
