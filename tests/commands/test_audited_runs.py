"""cnnctl audit RUN: the net of a run, and the steps as the run made them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from cnnctl.cli import main
from cnnctl.commands import subjects
from cnnctl.config import compose
from cnnctl.config.audit import Audit
from cnnctl.errors import ConfigError, RunError, UsageError


def settled(target: str | None, *overrides: str) -> tuple[Audit, Any]:
    with compose.opened():
        return subjects.settle(target, overrides)


def refusal(kind: type[Exception], target: str | None, *overrides: str) -> str:
    with pytest.raises(kind) as caught:
        settled(target, *overrides)
    return str(caught.value)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that differs from the audit's own configuration in all that it can."""
    outputs = tmp_path_factory.mktemp("outputs")
    words = ["trainer.max_steps=2", "trainer.accumulate=2", "model=mlp", "model.activation=tanh",
             "optimizer=sgd", "optimizer.lr=0.05", "optimizer.momentum=0.5", "data.size=20",
             "data.batch_size=24", "hardware=cpu", "hardware.precision=bf16-mixed"]  # fmt: skip
    assert main(["train", *words, "progress=none", f"outputs={outputs}"]) == 0
    (folder,) = outputs.glob("train/*")
    return folder


@pytest.fixture
def run(trained: Path) -> Path:
    """A copy of the run, to be changed, where runs are looked for."""
    folder = Path("outputs/train") / trained.name
    return Path(shutil.copytree(trained, folder))


def test_what_is_given_beside_a_foreign_net_must_have_an_effect(run: Path) -> None:
    for target in (str(run), run.name, "latest", "net.onnx", "net.py:Net"):
        for given in ("model.activation=relu", "model=vgg16", "data=digits", "data.size=3"):
            text = f"'{given}' has no effect on {target}, which is no net of the zoo"
            assert refusal(UsageError, target, given) == text


def test_a_run_is_audited_as_it_was_trained(run: Path) -> None:
    plan = json.loads((run / "plan.json").read_text())
    for target in (str(run), run.name, "latest"):
        typed, what = settled(target)
        assert (what["name"], what["activation"]) == ("mlp", "tanh")
        assert (typed.input, typed.classes) == ("1x20x20", 10)
        assert (typed.batch_size, typed.precision, typed.accumulate) == (24, "bf16-mixed", 2)
        assert typed.accelerator == "cpu"
        assert (typed.optimizer.name, typed.optimizer.lr) == ("sgd", 0.05)
        assert typed.optimizer.momentum == 0.5
    found = subjects.subject(typed, what)
    assert sum(value.numel() for value in found.net.parameters()) == plan["params"]


@pytest.mark.parametrize(
    ("given", "changes"),
    [
        ("batch_size=3", {"batch_size": 3}),
        ("precision=32-true", {"precision": "32-true"}),
        ("accumulate=1", {"accumulate": 1}),
        ("input=1x8x8", {"input": "1x8x8"}),
        ("classes=7", {"classes": 7}),
        ("accelerator=gpu", {"accelerator": "gpu"}),
        ("memory=saved", {"memory": "saved"}),
    ],
)
def test_what_is_given_beside_a_run_goes_before_its_own(
    run: Path, given: str, changes: dict[str, Any]
) -> None:
    own, _ = settled(str(run))
    typed, _ = settled(str(run), given)
    assert vars(typed) == vars(own) | changes


def test_keys_of_a_runs_optimizer_can_be_changed_one_by_one(run: Path) -> None:
    typed, _ = settled(str(run), "optimizer.momentum=0")
    assert (typed.optimizer.name, typed.optimizer.lr) == ("sgd", 0.05)
    assert typed.optimizer.momentum == 0
    other, _ = settled(str(run), "optimizer=adamw", "optimizer.lr=0.1")
    assert (other.optimizer.name, other.optimizer.lr) == ("adamw", 0.1)
    text = "unknown key 'optimizer.betas' (a key of optimizer=adam, optimizer=adamw)"
    assert refusal(ConfigError, str(run), "optimizer.betas=[0.9,0.9]") == text


def test_the_peak_of_a_run_is_the_one_of_its_plan(cnnctl, run: Path) -> None:
    plan = json.loads((run / "plan.json").read_text())
    (net,) = cnnctl("audit", str(run), "--json").document["result"]["nets"]
    for key in ("batch_size", "precision", "optimizer", "accumulate"):
        assert net["memory"][key] == plan["memory"][key]
    # training keeps some logits until they are counted, which an audit knows nothing of
    assert plan["memory"]["at_peak"].pop("figures") > 0
    assert set(net["memory"]["at_peak"]) == set(plan["memory"]["at_peak"])
    assert 0.998 < net["memory"]["peak"] / plan["memory"]["peak"] < 1
    assert net["totals"]["macs"] == plan["macs"]


def test_a_run_on_another_kind_of_device_is_audited_for_a_cpu(run: Path) -> None:
    plan = json.loads((run / "plan.json").read_text())
    for kind, meant in (("gpu", "gpu"), ("mps", "cpu")):
        changed = plan | {"device": plan["device"] | {"accelerator": kind}}
        (run / "plan.json").write_text(json.dumps(changed))
        assert settled(str(run))[0].accelerator == meant


def test_a_damaged_run_is_refused(run: Path) -> None:
    (run / "plan.json").unlink()
    text = f"cannot read {run / 'plan.json'} (see runs with: cnnctl list runs)"
    assert refusal(RunError, str(run)) == text


def test_an_edited_run_is_refused_with_its_key(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["optimizer"]["lr"] = -1
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert refusal(ConfigError, str(run)) == "optimizer.lr must be above 0, got -1"
