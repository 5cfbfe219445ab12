"""Files that cnnctl exports: with resizing and softmax inside, in floats and in integers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from exports import calibrated, cpu, manifest, net, pixels
from graphs import audit, audited

from cnnctl.audit import onnx_graph, onnx_ours
from cnnctl.data.prepare import Prepare
from cnnctl.data.source import Source, Stored
from cnnctl.export import onnx as writer
from cnnctl.export import quantize, shown
from cnnctl.export.program import Program
from cnnctl.export.silence import quiet


def exported(folder: Path, name: str, **changes: Any) -> dict[str, Path]:
    """The net in float32 and in integers."""
    about = manifest(name, **changes)
    shape = (about.channels, about.size, about.size)
    plain, integers = folder / f"{name}.onnx", folder / f"{name}_int8.onnx"
    made = calibrated(net(name), shape)
    for one in made.parameters():
        one.data.add_(1e-3)  # biases of zeros would be left out
    with quiet():
        writer.write(Program(made, about), about, plain)
    words = [
        f"data.channels={shape[0]}",
        *(f"data.{k}={[0.5] * shape[0]}" for k in ("mean", "std")),
    ]
    train, _ = cpu(f"model={name}", "data=fake", f"data.size={about.size}", *words)
    images = Stored(pixels(8, *shape), torch.zeros(8, dtype=torch.int64).numpy())
    some = shown.choose(Source(tuple("ab"), {"train": images}), "train", 8, about.size)
    quantize.integers(plain, integers, about, some, Prepare(train, len(about.classes)))
    return {"float32": plain, "int8": integers}


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return exported(tmp_path_factory.mktemp("lenet"), "lenet5")


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_a_file_costs_what_the_net_costs(lenet: dict[str, Path], kind: str) -> None:
    wanted, found = audited(net("lenet5"), (1, 32, 32)), audit(lenet[kind])
    assert onnx_graph.load(lenet[kind]).input == (1, 32, 32)
    assert (found.macs, found.params) == (wanted.macs, wanted.params) == (416_520, 61_706)
    weighty = [row for row in found.rows if row.macs]
    assert [row.name.split(".")[1] for row in weighty] == ["c1", "c3", "c5", "f6", "output"]
    kept = [(row.macs, row.params, row.output, row.field) for row in wanted.rows if row.macs]
    assert [(row.macs, row.params, row.output, row.field) for row in weighty] == kept
    assert not any("preprocess" in name or "Linear" in name for name in found.names)


def test_batch_norms_are_folded_and_all_else_is_the_same(tmp_path: Path) -> None:
    wanted = audited(net("resnet20"), (3, 32, 32))
    norms = sum(row.params for row in wanted.rows if row.type == "BatchNorm2d") // 2
    for file in exported(tmp_path, "resnet20").values():
        found = audit(file)
        assert found.macs == wanted.macs
        assert found.params == wanted.params - norms


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_the_command_needs_no_size(cnnctl, lenet: dict[str, Path], kind: str) -> None:
    outcome = cnnctl("audit", str(lenet[kind]), "--json")
    (found,) = outcome.document["result"]["nets"]
    assert (outcome.code, found["input"]) == (0, [1, 32, 32])
    assert (found["totals"]["params"], found["totals"]["macs"]) == (61_706, 416_520)
    assert cnnctl("audit", str(lenet[kind]), "input=1x32x32").code == 0


def test_another_size_has_no_effect(cnnctl, lenet: dict[str, Path]) -> None:
    outcome = cnnctl("audit", str(lenet["float32"]), "input=1x48x48")
    assert outcome.code == 2
    assert outcome.err.endswith("its net always sees 1x32x32 (leave it out)\n")


def described(file: Path, copy: Path, text: str | None) -> Path:
    model = onnx.load(file)
    del model.metadata_props[:]
    if text is not None:
        model.metadata_props.add(key="cnnctl", value=text)
    onnx.save(model, copy)
    return copy


@pytest.mark.parametrize(
    "text", [None, "{", "[]", '{"channels": "1"}', '{"channels": 1, "size": 2}']
)
def test_what_does_not_say_enough_is_read_as_any_other(
    cnnctl, lenet: dict[str, Path], tmp_path: Path, text: str | None
) -> None:
    """The products that resize are layers then, and the size must be given."""
    file = described(lenet["float32"], tmp_path / "other.onnx", text)
    assert onnx_ours.told(onnx.load(file)) is None
    assert "does not say how large its images are" in cnnctl("audit", str(file)).err
    found = audit(file, (1, 32, 32))
    assert found.macs == 416_520 + 2 * 32**3
    assert [row.name for row in found.rows if row.macs][:2] == [
        "preprocess.MatMul", "preprocess.MatMul_2",
    ]  # fmt: skip


def test_a_file_that_does_not_resize_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "lenet5.onnx"
    about = manifest("lenet5", include=())
    with quiet():
        writer.write(Program(net("lenet5"), about), about, file)
    model = onnx.load(file)
    told = onnx_ours.told(model)
    assert told == json.loads(about.text())
    assert onnx_ours.without_resizing(model.graph, told) is None
    assert audit(file).macs == 416_520
