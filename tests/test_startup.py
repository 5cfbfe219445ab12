from __future__ import annotations

import subprocess
import sys

import pytest

from cnnctl import runs
from cnnctl.config import compose

HEAVY = {"torch", "torchvision", "pytorch_lightning", "torchmetrics", "wandb", "hydra", "omegaconf"}
PRINT_MODULES = """
import sys
from cnnctl.cli import main
code = main(sys.argv[1:])
found = {name.partition(".")[0] for name in sys.modules} | {"torch._dynamo"} & set(sys.modules)
print(code, *sorted(found), file=sys.stderr)
"""
LATER = {  # what an audit on a terminal has no use for
    "torch._dynamo", "sympy", "torchvision", "pytorch_lightning", "wandb", "torchmetrics",
    "matplotlib", "jinja2", "onnx", "timm",
}  # fmt: skip


def imported(*words: str) -> tuple[int, set[str]]:
    """Exit code, and the packages that a command line has imported."""
    done = subprocess.run(
        [sys.executable, "-c", PRINT_MODULES, *words], capture_output=True, text=True, check=True
    )
    code, *names = done.stderr.splitlines()[-1].split()
    return int(code), set(names)


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["trian"], ["train", "--bogus"], ["list", "-x"]]
)
def test_the_front_imports_nothing_that_takes_time(words: list[str]) -> None:
    slow = {*HEAVY, "rich", "yaml", "dataclasses", "typing", "numpy"}
    assert imported(*words)[1] & slow == set()


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--help"], ["audit", "--help"], ["train", "lenet5"], ["list", "models"],
        ["list", "models", "--json"], ["conv", "7x7", "kernel=3"], ["list", "runs"],
        ["evaluate", "latest", "a"], ["completion", "bash"],
    ],
)  # fmt: skip
def test_help_lists_and_completion_scripts_need_neither_torch_nor_hydra(words: list[str]) -> None:
    assert imported(*words)[1] & (HEAVY - {"hydra", "omegaconf"}) == set()
    if words[0] != "evaluate":
        assert imported(*words)[1] & HEAVY == set()


@pytest.mark.parametrize(
    "line",
    [
        "cnnctl tr",
        "cnnctl train model=",
        "cnnctl evaluate la",
        "cnnctl predict latest format=",
        "cnnctl export quant",
        "cnnctl bench engines=eager,",
        "cnnctl audit ",
        "cnnctl conv 7x7 p",
    ],
)
def test_completing_imports_nothing_that_takes_time(
    monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert imported("__complete")[1] & {*HEAVY, "rich"} == set()


@pytest.mark.parametrize("verb", ["train", "audit vgg16"])
def test_completing_a_key_a_second_time_needs_no_hydra(
    monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setenv("COMP_LINE", f"cnnctl {verb} optimizer.")
    first, second = imported("__complete")[1], imported("__complete")[1]
    assert "hydra" in first
    assert first & {"torch", "wandb"} == set()
    assert second & HEAVY == set()


@pytest.mark.parametrize(
    "words",
    [
        ["train", "optimizer.lrr=1"], ["train", "model=lenet6"], ["train", "seed=x"],
        ["train", "data=folder"], ["train", "-m", "seed=0,x"], ["show", "seeed=1"],
        ["evaluate", "latest"], ["evaluate", "latest", "splitt=val"], ["audit", "vgg61"],
        ["predict", "latest"], ["predict", "a.png", "latest"], ["predict", "r", "a.png", "topp=2"],
        ["audit", "vgg16", "batch_sise=1"], ["audit", "vgg16", "budget=24"],
        ["audit", "vgg16", "model=lenet5"], ["audit", "--all", "vgg16"], ["audit", "latest"],
    ],
)  # fmt: skip
def test_a_mistake_is_told_without_torch(words: list[str]) -> None:
    code, packages = imported(*words)
    assert code == 2
    assert packages & {"torch", "torchvision", "pytorch_lightning", "wandb"} == set()


def test_a_mistake_about_a_run_is_told_without_torch() -> None:
    with compose.opened():
        config, _ = compose.compose("train", [])
    run = runs.create("outputs", "train", "lenet5", "digits")
    runs.write_config(run, config)
    code, packages = imported("evaluate", str(run), "data.batch_sise=1")
    assert code == 2
    assert packages & {"torch", "torchvision", "pytorch_lightning", "wandb"} == set()


@pytest.mark.parametrize(
    "words", [["vgg16"], ["vgg16", "lenet5", "--json"], ["vgg16", "format=md"]]
)
def test_an_audit_imports_of_torch_what_it_needs_and_no_more(words: list[str]) -> None:
    code, packages = imported("audit", *words)
    assert code == 0
    assert packages & LATER == set()
    assert "torch" in packages
