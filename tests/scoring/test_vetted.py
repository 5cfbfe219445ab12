from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from exports import program

from cnnctl.export import torch_export, torchscript
from cnnctl.export.silence import quiet
from cnnctl.scoring import vetted
from cnnctl.scoring.vetted import Unsafe


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("made") / "lenet5.pt2"
    torch_export.write(*program(format="torch_export"), file)
    return file


def with_more(file: Path, copy: Path, part: str) -> Path:
    copy.write_bytes(file.read_bytes())
    with zipfile.ZipFile(copy, "a") as archive:
        archive.writestr(f"lenet5/{part}", "{}")
    return copy


def test_what_cnnctl_writes_passes_without_conditions_and_examples(exported: Path) -> None:
    with zipfile.ZipFile(vetted.program(exported)) as clean, zipfile.ZipFile(exported) as given:
        left_out = set(given.namelist()) - set(clean.namelist())
        assert left_out == {"lenet5/extra/cnnctl"}
        assert json.loads(given.read("lenet5/models/model.json"))["guards_code"] != []
        assert json.loads(clean.read("lenet5/models/model.json"))["guards_code"] == []
        name = "lenet5/data/weights/weight_0"
        assert clean.read(name) == given.read(name)
        name = "lenet5/data/sample_inputs/model.pt"
        assert clean.read(name) != given.read(name)
    assert torch.export.load(vetted.program(exported)) is not None


@pytest.mark.parametrize(
    "part",
    [
        "data/aotinductor/model/a.so", "data/constants/model.pt", "data/weights/weight_x",
        "models/other.json", "extra/other",
    ],
)  # fmt: skip
def test_other_files_are_refused(exported: Path, tmp_path: Path, part: str) -> None:
    file = with_more(exported, tmp_path / "more.pt2", part)
    with pytest.raises(Unsafe, match=part):
        vetted.program(file)


def test_one_name_twice_is_refused(exported: Path, tmp_path: Path) -> None:
    """Readers differ in which of the two they take, and torch's ignores capitals."""
    file = with_more(exported, tmp_path / "twice.pt2", "models/MODEL.json")
    with pytest.raises(Unsafe, match="two files of one name"):
        vetted.program(file)


@pytest.mark.parametrize(
    "text",
    [
        "s3", "Integer(3)", "Symbol('s54', positive=True, integer=True)", "Max(s0, 2*s1)",
        "FloorDiv(Mul(Integer(32), Symbol('s14', positive=True)), Integer(-2))",
    ],
)  # fmt: skip
def test_sizes_are_numbers_and_symbols(text: str) -> None:
    assert vetted._is_size(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "exec('1')",
        "s1.__class__",
        "lambda: 0",
        "open(s1)",
        "Symbol[s1]",
        "s1; s2",
    ],
)
def test_nothing_else_is_a_size(text: str) -> None:
    assert not vetted._is_size(text)


@pytest.mark.parametrize(
    "target",
    ["torch.ops.aten.conv2d.default", "torch.sym_max", "_operator.floordiv", "_operator.add"],
)
def test_operators_on_tensors_and_sizes_pass(target: str) -> None:
    document = {"nodes": [{"target": target, "name": "a_1"}]}
    assert vetted._checked(document) == document


@pytest.mark.parametrize(
    "entry",
    [
        {"target": "torch.os.system"},
        {"target": "torch.hub.load"},
        {"target": "torch.ops.mine.run.default"},
        {"target": "torch.ops.aten.__class__.x.y"},
        {"target": "torch.ops.aten.from_file.default"},
        {"target": "_operator.call"},
        {"target": "_operator.methodcaller"},
        {"target": "_operator.attrgetter"},
        {"target": "#mine:op"},
        {"arg": {"as_operator": "torch.load"}},
        {"arg": {"as_custom_obj": {"name": "a", "class_fqn": "b"}}},
        {"use_pickle": True},
        {"path_name": "opaque_obj_0"},
        {"path_name": "../weight_0"},
        {"name": "a=exec('1')"},
        {"forward_arg_names": ["images", "x=exec('1')"]},
        {"context": '{"__enum__": true}'},
    ],
)
def test_what_torch_would_look_up_or_run_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(Unsafe, match="it holds"):
        vetted._checked({"graph": [{"deep": [entry]}]})


def test_torchscript_that_cnnctl_writes_passes(tmp_path: Path) -> None:
    file = tmp_path / "lenet5.torchscript"
    with quiet():
        torchscript.write(*program(format="torchscript"), file)
    vetted.script(file)


@pytest.mark.parametrize("call", ["torch.from_file(a)", "ops.mine.run(a)", "torch.save(a)"])
def test_torchscript_that_touches_files_is_refused(tmp_path: Path, call: str) -> None:
    file = tmp_path / "script.torchscript"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("script/code/__torch__.py", f"def forward(self, a):\n  return {call}\n")
    with pytest.raises(Unsafe, match="its code calls"):
        vetted.script(file)
