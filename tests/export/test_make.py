from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from exports import config, cpu, net
from torch import Tensor
from zoo import spec

from cnnctl import data, manifest, weights
from cnnctl.config.verbs import Export
from cnnctl.errors import ExportError
from cnnctl.export import make
from cnnctl.export.make import Job
from cnnctl.scoring.scorer import Eager

USUAL: dict[str, Any] = {
    "checkpoint": "best", "format": "onnx", "include": None, "dynamic_batch": True,
    "precision": "fp32", "quantize": None, "images": 40, "tolerance": None,
    "raw_tolerance": None, "drop": 0.02, "output": None,
}  # fmt: skip


def job(name: str = "lenet5", *words: str, **changes: Any) -> Job:
    train, _ = cpu(f"model={name}", *words)
    source = data.load(train.data)
    return Job(
        export=Export(**USUAL | changes), train=train, config=config(f"model={name}", *words),
        spec=spec(name), net=net(name, classes=10, shape=(1, 32, 32)), classes=source.classes,
        source=source, run="outputs/train/run", checkpoint="best.ckpt",
    )  # fmt: skip


def made(one: Job) -> dict[str, Any]:
    return make.make(one, Path("out"), lambda *_: None)


@pytest.mark.parametrize("kind", ["onnx", "torch_export", "torchscript", "safetensors"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_format_in_every_precision(kind: str, precision: str) -> None:
    found = made(job(format=kind, precision=precision))
    file = Path(found["file"])
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(
        ["README.md", "manifest.json", file.name]
    )
    assert found["parity"]["error"] <= (1e-5 if precision == "fp32" else 1e-2)
    assert (found["bytes"], found["sha256"]) == (file.stat().st_size, manifest.sha256(file))
    assert file.stat().st_mode & 0o777 == (file.parent / "README.md").stat().st_mode & 0o777
    about = manifest.read(file)
    assert about is not None
    assert (about.format, about.precision) == (kind, precision)
    assert about.weights_sha256 == weights.sha256(net().state_dict())
    whole = ("preprocess", "softmax") if kind in ("onnx", "torch_export") else ()
    assert about.include == whole
    assert (found["parity"]["raw"] is None) == (not whole)


def test_safetensors_in_float32_is_the_net_to_the_bit() -> None:
    parity = made(job(format="safetensors"))["parity"]
    rows = {row["batch_size"]: row["max_abs_error"] for row in parity["batches"]}
    assert rows[32] == 0


def test_what_stands_beside_the_file() -> None:
    found = made(job())
    beside = json.loads(Path("out/manifest.json").read_text())
    about = manifest.read(Path(found["file"]))
    assert about is not None
    assert beside.items() >= json.loads(about.text()).items()
    assert beside["file"] == "lenet5.onnx"
    assert beside["sha256"] == found["sha256"]
    assert beside["parity"] == found["parity"]
    assert beside["params"] == found["params"] == 61706
    assert "# lenet5 on digits" in Path("out/README.md").read_text()


def test_versions_of_what_wrote_it_are_kept() -> None:
    made(job())
    versions = json.loads(Path("out/manifest.json").read_text())["versions"]
    assert set(versions) >= {"cnnctl", "torch", "onnx", "onnxscript", "onnxruntime"}


def test_parts_stand_in_one_order() -> None:
    found = made(job(format="torchscript", include=("softmax", "preprocess")))
    assert found["include"] == ["preprocess", "softmax"]
    assert found["parity"]["raw"]["scaled"]


def test_one_image_at_a_time() -> None:
    parity = made(job(dynamic_batch=False, images=5))["parity"]
    assert [row["batch_size"] for row in parity["batches"]] == [1]
    assert parity["n"] == 5


def test_without_a_test_split_it_is_val() -> None:
    one = job(format="safetensors")
    splits = {name: one.source.splits[name] for name in ("train", "val")}
    found = made(replace(one, source=replace(one.source, splits=splits)))
    assert found["parity"]["split"] == "val"


@pytest.mark.parametrize(
    ("name", "own"), [("lenet5", False), ("lenet5_1998", True), ("perceptron", True)]
)
def test_a_loss_of_its_own_is_known(name: str, own: bool) -> None:  # noqa: FBT001 - what is expected
    plain = ["optimizer=sgd", "optimizer.momentum=0", "optimizer.weight_decay=0"]
    found = made(job(name, *plain, format="safetensors", images=3))
    about = manifest.read(Path(found["file"]))
    assert about is not None
    assert about.own_loss is own


def taught(one: Job) -> Job:
    """The same with a net that knows digits: its last layer is fitted to them."""
    train = one.source.splits["train"]
    where = make.processor(one.train)
    images = torch.cat([train[place][None] for place in range(600)])
    labels = torch.from_numpy(train.labels[:600])
    seen: list[Tensor] = []
    last = one.net.get_submodule("output")
    hook = last.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    Eager(one.net, one.train, one.classes, where)(images)
    hook.remove()
    found = torch.linalg.lstsq(
        torch.cat([seen[0], torch.ones(600, 1)], 1).double(),
        torch.nn.functional.one_hot(labels, 10).double(),
        driver="gelsd",
    ).solution.float()
    last.weight.data, last.bias.data = 10 * found[:-1].T.contiguous(), 10 * found[-1]
    return one


def test_int8_tells_what_it_costs() -> None:
    found = made(taught(job(quantize="int8", drop=0.1)))
    told = found["quantize"]
    parity = found["parity"]
    assert parity["top1_eager"] > 0.7
    assert (told["kind"], told["calibrated_on"]) == ("int8", 128)
    assert told["top1_lost"] == parity["top1_eager"] - parity["top1_export"]
    low, high = told["interval"]
    assert -1 <= low <= told["top1_lost"] <= high <= 1
    assert 0 < told["p"] <= 1
    assert found["bytes"] < told["bytes_before"]
    assert (parity["tolerance"], parity["raw"]["tolerance"]) == (None, None)
    assert len(list(Path("out").iterdir())) == 3


def test_int8_that_loses_too_much_leaves_nothing() -> None:
    """One weight of every row of f6 is large, and has no effect: what it is times is always 0.

    In integers nothing is left of the others, whose unit is the large one.
    """
    one = job(quantize="int8")
    before, layer = one.net.get_submodule("c5"), one.net.get_submodule("f6")
    with torch.no_grad():
        before.weight[0], before.bias[0] = 0, 0
        layer.weight[:, 0] = 1e4
    taught(one)
    with pytest.raises(ExportError, match=r"int8 loses \d\d\.\d\d points of top-1, 2\.00 may go"):
        made(one)
    assert not Path("out").exists()


def test_a_file_that_is_not_the_net_leaves_nothing(monkeypatch) -> None:
    class Off(make.Program):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).roll(1, 1)

    monkeypatch.setattr(make, "Program", Off)
    with pytest.raises(ExportError, match="does not compute what the net computes"):
        made(job(format="torchscript"))
    assert not any(path.name != "home" for path in Path.cwd().iterdir())


def test_a_net_that_cannot_be_written_is_one_line() -> None:
    class Branching(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images if float(images.sum()) > 0 else -images

    one = job(format="torch_export")
    one.net.add_module("branch", Branching())
    with pytest.raises(ExportError) as caught:
        made(one)
    assert caught.value.message.startswith("lenet5 cannot be written as torch_export: ")
    assert "\n" not in caught.value.message
    assert caught.value.hint == "format=onnx or torchscript or safetensors; --debug shows more"
    assert not Path("out").exists()


def test_the_net_itself_stays_as_it_was() -> None:
    one = job(format="torchscript", precision="fp16")
    before = weights.sha256(one.net.state_dict())
    made(one)
    assert weights.sha256(one.net.state_dict()) == before
    assert next(one.net.parameters()).dtype == torch.float32


def test_each_tolerance_is_of_its_own_images() -> None:
    parity = made(job(tolerance=1e-3, raw_tolerance=0.5))["parity"]
    assert (parity["tolerance"], parity["raw"]["tolerance"]) == (1e-3, 0.5)


def test_a_raw_tolerance_is_held() -> None:
    with pytest.raises(ExportError, match="on images of other sizes it is off by") as caught:
        made(job(precision="fp16", raw_tolerance=1e-5))
    assert (caught.value.hint or "").startswith("nothing was kept; raw_tolerance=")


def test_a_file_that_cannot_be_run_is_one_line(monkeypatch) -> None:
    def lacking(*_: Any) -> dict[str, Any]:
        raise NotImplementedError("no avg_pool3d for 'Half'\nmore")

    monkeypatch.setattr(make.parity, "prove", lacking)
    with pytest.raises(ExportError) as caught:
        made(job(format="torchscript", precision="fp16"))
    assert str(caught.value) == (
        "lenet5 as torchscript cannot be run: no avg_pool3d for 'Half'"
        " (nothing was kept; precision=fp32)"
    )
    assert not Path("out").exists()
