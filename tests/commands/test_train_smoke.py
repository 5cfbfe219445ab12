"""`cnnctl train --smoke`: everything once, on a few images, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

SAYS = "cnnctl: a smoke run on few images; its figures say nothing\n"
TINY = ("model=mlp", "model.hidden=[8]", "data.size=8", "hardware=cpu", "progress=none")


def kinds() -> list[str]:
    """The folders of outputs."""
    return sorted(folder.name for folder in Path("outputs").glob("*"))


def test_a_smoke_run_goes_to_a_folder_of_its_own(cnnctl) -> None:
    outcome = cnnctl("train", *TINY, "--smoke", "--json")
    assert outcome.code == 0
    assert outcome.err.startswith(SAYS)
    result = outcome.document["result"]
    assert (result["epochs"], result["steps"]) == (2, 6)
    assert kinds() == ["smoke"]
    assert Path(result["run"]).parent == Path("outputs/smoke")
    assert (Path(result["run"]) / "result.json").is_file()


def test_other_data_are_noise(cnnctl) -> None:
    """No file of CIFAR-10 is here, nor is any wanted."""
    words = ("train", "data=cifar10", "model=mlp", "model.hidden=[8]", "hardware=cpu")
    outcome = cnnctl(*words, "progress=none", "--smoke", "--json")
    assert outcome.code == 0
    assert outcome.document["result"]["epochs"] == 2


def test_a_smoke_run_is_planned_without_leaving_anything(cnnctl) -> None:
    outcome = cnnctl("train", *TINY, "--smoke", "--dry-run", "--json")
    result = outcome.document["result"]
    assert (result["epochs"], result["sizes"]["train"]) == (2, 180)
    assert kinds() == []


def test_the_points_of_a_multirun_and_saved_configurations_may_be_tried(cnnctl) -> None:
    outcome = cnnctl("train", "-m", *TINY, "seed=0,1", "--smoke", "--json")
    first, second = outcome.document["result"]["runs"]
    assert first["weights_sha256"] != second["weights_sha256"]
    assert "smoke" in kinds()
    config = f"{first['run']}/config.yaml"
    again = cnnctl("train", "--config", config, "--smoke", "--json").document["result"]
    assert again["weights_sha256"] == first["weights_sha256"]
    assert Path(again["run"]).parent == Path("outputs/smoke")


def test_a_run_that_goes_on_is_no_smoke_run(cnnctl) -> None:
    run = cnnctl("train", *TINY, "trainer.max_steps=1", "--json").document["result"]["run"]
    outcome = cnnctl("train", "--resume", run, "--smoke")
    text = "--resume goes on with one run; it does not go with --smoke"
    assert (outcome.code, outcome.err) == (2, f"cnnctl: error: {text}\n")


@pytest.mark.parametrize("more", [("trainer.max_epochs=0",), ("optimizer.lrr=1",)])
def test_a_mistake_is_refused_as_it_is_elsewhere(cnnctl, more) -> None:
    outcome = cnnctl("train", *TINY, *more, "--smoke")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert kinds() == []
