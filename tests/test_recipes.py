"""Every recipe runs to the end, as `--smoke` makes it: the command line, in this process."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from cnnctl.config import paths

RECIPES = {file.stem: file for file in sorted((paths.conf_dir() / "recipe").glob("*.yaml"))}


SLOW = {"vgg", "resnet_slides", "wide_resnet_cifar"}  # others of their kind are quicker


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in RECIPES],
)
def test_a_recipe_runs_to_the_end_on_a_few_images(cnnctl, name) -> None:
    needs = ["data.root=nowhere"] if "data.root=" in RECIPES[name].read_text("utf-8") else []
    done = cnnctl("train", f"recipe={name}", *needs, "--smoke", "--json", "progress=none")
    assert done.code == 0, done.err
    found = done.document
    assert found["ok"]
    result = found["result"]
    assert result["epochs"] == 2
    for split in ("val", "test"):
        assert math.isfinite(result[split]["loss"])
        if result["task"] == "segment":
            assert 0 <= result[split]["miou"] <= result[split]["dice"] <= 1
            continue
        assert 0 <= result[split]["top1"] <= result[split]["top5"] <= 1
    kept = yaml.safe_load((Path(result["run"]) / "config.yaml").read_text(encoding="utf-8"))
    others = "shapes" if result["task"] == "segment" else "fake"
    assert kept["data"]["name"] == ("digits" if "digits" in name else others)
    assert kept["trainer"]["max_epochs"] == 2


def test_a_smoke_run_can_be_measured_again(cnnctl) -> None:
    trained = cnnctl("train", "recipe=cifar_fast", "--smoke", "--json").document["result"]
    again = cnnctl("evaluate", trained["run"], "--json").document["result"]
    assert again["metrics"]["loss"] == pytest.approx(trained["test"]["loss"], rel=1e-5)


def test_a_dry_run_of_a_smoke_run_plans_what_it_would_do(cnnctl) -> None:
    done = cnnctl("train", "recipe=modern", "--smoke", "--dry-run", "--json")
    plan = done.document["result"]
    assert (plan["epochs"], plan["steps"], plan["warmup_steps"]) == (2, 2, 1)
    assert plan["data"] == "fake"
    assert not Path("outputs").exists()


def test_what_was_said_on_the_command_line_is_checked_as_ever(cnnctl) -> None:
    done = cnnctl("train", "recipe=modern", "--smoke", "trainer.ema=2")
    assert done.code != 0
    assert "trainer.ema must be below 1, got 2" in done.err
