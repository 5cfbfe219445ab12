from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import graphs
import pytest
import torch
from stubs import device
from torch import nn

from cnnctl.commands import Call, cases
from cnnctl.commands.asked import asked
from cnnctl.commands.cases import Subject, Target
from cnnctl.config import compose
from cnnctl.config.verbs import Bench
from cnnctl.errors import CheckpointError, UsageError

CALL = Call("bench", (), (), {})
USUAL: dict[str, Any] = {
    "checkpoint": "best", "input": None, "batch": (1, 2), "engines": None, "device": "cpu",
    "precision": "32-true", "threads": None, "seconds": 0.01,
}  # fmt: skip
CPU = device(1)


def settled(name: str, *of_net: str, **changes: Any) -> Target:
    with compose.opened():
        return cases.settle(name, Bench(**USUAL | changes), asked(CALL, Bench), of_net)


def subject(name: str, *of_net: str, precision: str = "32-true", **changes: Any) -> Subject:
    target = settled(name, *of_net, precision=precision, **changes)
    bench = Bench(**USUAL | changes | {"precision": precision})
    return cases.subject(target, bench, device(1, precision=precision))


def refused(error: type[Exception], name: str, *of_net: str, **changes: Any) -> str:
    with pytest.raises(error) as caught:
        settled(name, *of_net, **changes)
    return str(caught.value)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of one epoch."""
    from cnnctl.cli import main

    folder = tmp_path_factory.mktemp("trained")
    words = ("trainer.max_epochs=1", "trainer.channels_last=false", f"outputs={folder}")
    assert main(["train", *words, "progress=none", "--json"]) == 0
    (found,) = (folder / "train").iterdir()
    return found


def test_a_net_of_the_zoo_has_the_images_of_its_paper() -> None:
    found = subject("resnet20")
    assert found.about == {
        "name": "resnet20", "params": 269_722, "macs": 40_551_040, "input": [3, 32, 32],
        "takes": "float32", "channels_last": True,
    }  # fmt: skip
    assert list(found.case.makers) == ["eager", "compiled", "onnxruntime"]
    assert (found.case.shape, found.case.type, found.case.macs) == (
        (3, 32, 32), torch.float32, 40_551_040,
    )  # fmt: skip
    assert (found.case.absent, found.batch) == ({}, None)


def test_a_net_is_built_alike_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, other = (cases._built(settled("mlp"))[0].state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_net_of_torchvision_is_one_of_the_zoo() -> None:
    found = subject("torchvision/squeezenet1_1", input="3x64x64")
    assert found.about["input"] == [3, 64, 64]
    assert found.about["params"] == 1_235_496


def test_a_net_can_be_changed() -> None:
    assert subject("mlp", "model.hidden=[5]").about["params"] == 1024 * 5 + 5 + 5 * 10 + 10
    text = refused(UsageError, "latest", "model.hidden=[5]")
    assert text == "'model.hidden=[5]' has no effect on latest, which is no net of the zoo"


def test_memory_follows_the_format_of_the_weights() -> None:
    whole = subject("lenet5").case.weight_bytes
    assert whole == 4 * 61_706
    assert subject("lenet5", precision="bf16-true").case.weight_bytes == whole // 2
    assert subject("lenet5", precision="bf16-mixed").case.weight_bytes == whole
    net = nn.BatchNorm2d(4)  # with a counter, which is an integer
    assert cases.costs(net, (4, 2, 2))["bytes"] == 4 * 4 * 4 + 8
    assert cases.costs(net, (4, 2, 2), half=True)["bytes"] == 4 * 4 * 2 + 8


def test_engines_that_are_asked_for_come_in_that_order() -> None:
    found = subject("mlp", engines=("onnxruntime", "eager")).case
    assert (list(found.makers), found.absent) == (["onnxruntime", "eager"], {})


def test_onnxruntime_does_not_follow_another_precision() -> None:
    found = subject("mlp", precision="bf16-true").case
    assert list(found.makers) == ["eager", "compiled"]
    assert found.absent == {"onnxruntime": "it is measured in 32-true, not in bf16-true"}


def test_the_same_net_runs_in_onnxruntime() -> None:
    made = subject("lenet5").case.makers
    images = torch.randn(3, 1, 32, 32)
    eager, other = (made[name]()(images)() for name in ("eager", "onnxruntime"))
    assert torch.allclose(eager, other, atol=1e-6)
    assert made["onnxruntime"]()(images[:1])().shape == (1, 10)


def test_without_the_exporter_onnxruntime_is_not_there(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UsageError, match=r"onnx is not installed \(pip install 'cnnctl\[onnx\]'\)"):
        subject("mlp").case.makers["onnxruntime"]()


def test_a_run_has_its_own_weights_images_and_layout(run) -> None:
    found = subject(str(run))
    assert found.about == {
        "name": run.name, "params": 61_706, "macs": 416_520, "input": [1, 32, 32],
        "takes": "float32", "channels_last": False,
    }  # fmt: skip
    saved = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    net = cases._built(settled(str(run)))[0].state_dict()
    assert all(torch.equal(net[name], saved[f"net.{name}"]) for name in net)
    text = refused(UsageError, str(run), input="1x28x28")
    assert text.startswith("input=1x28x28 has no effect on ")


def test_a_checkpoint_is_a_net_as_well(run) -> None:
    file = run / "checkpoints" / "last.ckpt"
    assert subject(str(file)).about["name"] == str(file)
    with pytest.raises(CheckpointError):
        settled(str(run), checkpoint="none.ckpt")


def test_weights_of_somebody_else_are_not_asked_for_their_time() -> None:
    torch.save(nn.Linear(2, 2).state_dict(), "weights.pth")
    assert refused(UsageError, "weights.pth").endswith(
        "(bench the net: weights do not change its time)"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [("resnet81", "no net, run or file 'resnet81' (did you mean 'resnet18'?)"),
     ("a.py:Net", "no net, run or file 'a.py:Net' (cnnctl list models, or a run's folder)")],
)  # fmt: skip
def test_a_name_of_nothing_is_told(name, text) -> None:
    assert refused(UsageError, name) == text


def test_files_are_told_from_nets(run) -> None:
    file = graphs.write(Path("net.onnx"), [graphs.node("Relu", "x", "y")])
    assert settled("net.onnx").file == file
    assert settled("mlp").file is None
    assert settled(str(run)).file is None
    assert (settled("mlp").told, settled("net.onnx").told) == ("mlp", "net.onnx")


def test_engines_of_another_kind_are_told() -> None:
    bench = Bench(**USUAL | {"engines": ("compiled",)})
    with pytest.raises(UsageError) as caught:
        cases.wanted(bench, {"eager": 1}, "net.pt2", "it is a program")
    assert str(caught.value) == (
        "engines=compiled does not run net.pt2: it is a program (engines=eager)"
    )
    assert cases.absent(Bench(**USUAL), {"eager": 1}, "why") == {
        "compiled": "why", "onnxruntime": "why"
    }  # fmt: skip
    assert cases.absent(bench, {"eager": 1}, "why") == {}


@pytest.mark.parametrize(
    ("fixed", "batch", "strict", "found"),
    [(None, (1, 8), True, (1, 8)), (1, (1,), True, (1,)), (4, (1, 8), False, (4,))],
)
def test_a_file_is_given_as_many_images_as_it_takes(fixed, batch, strict, found) -> None:
    one = Subject({"name": "net.onnx"}, subject("mlp").case, fixed)
    assert cases.batches(one, Bench(**USUAL | {"batch": batch}), strict=strict) == found


def test_a_batch_that_a_file_does_not_take_is_refused() -> None:
    one = Subject({"name": "net.onnx"}, subject("mlp").case, 4)
    with pytest.raises(UsageError, match=r"takes batches of 4, got batch=1,2 \(batch=4\)"):
        cases.batches(one, Bench(**USUAL), strict=True)
