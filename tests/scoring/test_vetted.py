from __future__ import annotations

import copy
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


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("made") / "lenet5.torchscript"
    with quiet():
        torchscript.write(*program(format="torchscript"), file)
    return file


def test_of_torchscript_that_cnnctl_writes_code_and_tensors_are_kept(scripted: Path) -> None:
    clean = vetted.script(scripted)
    with zipfile.ZipFile(clean) as kept, zipfile.ZipFile(scripted) as given:
        names = set(given.namelist())
        assert set(kept.namelist()) < names
        left_out = names - set(kept.namelist())
        assert {name.rpartition(".")[2] for name in left_out} <= {
            "debug_pkl", "lenet5/extra/cnnctl", "pkl", "lenet5/traced_inputs/0"
        }  # fmt: skip
        assert "lenet5/data.pkl" not in left_out
        assert all(kept.read(name) == given.read(name) for name in kept.namelist())
    clean.seek(0)
    with quiet():
        assert torch.jit.load(clean) is not None


def code(file: Path, text: str, name: str = "code/__torch__.py") -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"script/{name}", text)
    return file


@pytest.mark.parametrize(
    "text",
    [
        "torch.from_file(a)", "ops.mine.run(a)", "torch.save(a)", "torch.save (a)", "a.save(b)",
        "(torch.save)(a)", "torch . save(a)", "torch.\nsave(a)", "[torch.save][0](a)", "fork(a)",
        'getattr(torch, "save")(a)', "torch.warn(a)", "ops.aten.save(a)", "print(a)",
        "torch.save.forward(a)", "ops.prim.RaiseException(a)", "torch._cuda_thing(a)", "torch",
        "a # b", "a \\\n (b)", "__torch__.run(a)",
    ],
)  # fmt: skip
def test_torchscript_that_calls_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    file = code(tmp_path / "script.torchscript", f"def forward(self, a):\n  return {text}\n")
    with pytest.raises(Unsafe, match="its code"):
        vetted.script(file)


@pytest.mark.parametrize("name", ["__setstate__", "__getattr__", "run"])
def test_functions_that_torch_may_call_by_itself_are_refused(tmp_path: Path, name: str) -> None:
    file = code(tmp_path / "script.torchscript", f"class A(Module):\n  def {name}(self, a):\n")
    with pytest.raises(Unsafe, match=f"its code calls def {name}"):
        vetted.script(file)


def test_another_name_for_a_function_is_refused(tmp_path: Path) -> None:
    file = code(tmp_path / "script.torchscript", "  int = torch.save\n  _0 = int(a)\n")
    with pytest.raises(Unsafe, match=r"its code names torch\.save"):
        vetted.script(file)


@pytest.mark.parametrize("text", ["torch.add(a, torch.conv2d(b, c))", "(a).forward(b, )", "(a)"])
def test_operators_and_layers_pass(tmp_path: Path, text: str) -> None:
    file = code(tmp_path / "script.torchscript", f"def forward(self, a):\n  return {text}\n")
    assert vetted.script(file).getbuffer().nbytes > 0


@pytest.mark.parametrize(
    "name",
    [
        "code/__torch__.PY",
        "CODE/__torch__.py",
        "code/a.py",
        "data.PKL",
        "mobile.pkl",
        "attributes.pkl",
    ],
)
def test_other_names_are_refused_in_torchscript(tmp_path: Path, name: str) -> None:
    file = code(tmp_path / "script.torchscript", "pass", name)
    with pytest.raises(Unsafe, match="which is not of TorchScript"):
        vetted.script(file)


def test_names_that_differ_in_capitals_are_refused_in_torchscript(tmp_path: Path) -> None:
    file = code(tmp_path / "script.torchscript", "pass")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("script/code/__TORCH__.py", "")
    with pytest.raises(Unsafe, match="two files of one name"):
        vetted.script(file)


def bomb(file: Path, name: str, size: int) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"net/{name}", bytes(size))
    return file


@pytest.mark.parametrize("vet", [vetted.program, vetted.script])
def test_a_small_file_does_not_become_a_large_one(tmp_path: Path, vet: Any) -> None:
    with pytest.raises(Unsafe, match="compressed, which torch does not do"):
        vet(bomb(tmp_path / "net", "data/weights/weight_0", 2**20))
    with pytest.raises(Unsafe, match="larger than the file"):
        vet(bomb(tmp_path / "net", "code/__torch__.py", vetted.LARGEST + 1))


def test_parts_that_lie_on_each_other_are_refused(tmp_path: Path) -> None:
    """Stored once, and named many times."""
    file = tmp_path / "net"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("net/data/0", bytes(10_000))
        (first,) = archive.filelist
        for number in range(1, 9):
            again = copy.copy(first)
            again.filename = f"net/data/{number}"
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
    with pytest.raises(Unsafe, match="larger than the file"):
        vetted.script(file)
