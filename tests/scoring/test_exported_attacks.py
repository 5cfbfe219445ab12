"""Files that somebody else has made: what is in them is read as data, and never run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from exports import pixels
from PIL import Image


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def saved(value: Any) -> bytes:
    with io.BytesIO() as file:
        torch.save(value, file)
        return file.getvalue()


def rewritten(file: Path, copy: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """The archive with some of its files replaced."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return copy


def pickled_weights(evil: Evil, part: str) -> Callable[[str, bytes], bytes]:
    """torch.export may store a tensor as a pickle; then it says so beside."""

    def change(name: str, held: bytes) -> bytes:
        if name.endswith(f"data/{part}/model_{part}_config.json"):
            told = json.loads(held)
            for one in told["config"].values():
                one["use_pickle"] = True
            return json.dumps(told).encode()
        return saved(evil) if f"data/{part}/" in name else held

    return change


def constant(evil: Evil, path: str, *, pickled: bool) -> Callable[[str, bytes], bytes]:
    """One constant more, in place of the last weight, which then stands for its file."""

    def change(name: str, held: bytes) -> bytes:
        if name.endswith("model_constants_config.json"):
            entry = {"path_name": path, "is_param": False, "use_pickle": pickled}
            return json.dumps({"config": {"c": {**entry, "tensor_meta": None}}}).encode()
        return held

    return change


def graph(change: Callable[[dict[str, Any]], None]) -> Callable[[str, bytes], bytes]:
    def changed(name: str, held: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return held
        told = json.loads(held)
        change(told)
        return json.dumps(told).encode()

    return changed


def condition(folder: Path) -> Callable[[dict[str, Any]], None]:
    def change(told: dict[str, Any]) -> None:
        told["guards_code"] = [f"__import__('os').mkdir({str(folder)!r}) is None"]

    return change


def size(folder: Path) -> Callable[[dict[str, Any]], None]:
    def change(told: dict[str, Any]) -> None:
        values = told["graph_module"]["graph"]["sym_int_values"]
        first = next(one for one in values.values() if "as_expr" in one)
        first["as_expr"]["expr_str"] = f"__import__('os').mkdir({str(folder)!r})"

    return change


def call(folder: Path) -> Callable[[dict[str, Any]], None]:
    def change(told: dict[str, Any]) -> None:
        argument = {"name": "", "arg": {"as_string": str(folder)}, "kind": 1}
        told["graph_module"]["graph"]["nodes"][0] |= {
            "target": "torch.os.mkdir",
            "inputs": [argument],
        }

    return change


def replaced(ending: str, held: bytes) -> Callable[[str, bytes], bytes]:
    return lambda name, old: held if name.endswith(ending) else old


def saving(path: Path) -> Callable[[str, bytes], bytes]:
    """The outermost function first writes a file."""

    def change(name: str, held: bytes) -> bytes:
        if "/export/program" not in name or not name.endswith(".py"):
            return held
        head, sep, body = held.decode().partition("-> Tensor:\n")
        return f'{head}{sep}    torch.save(images, "{path}")\n{body}'.encode()

    return change


def shouted(file: Path, copy: Path) -> Path:
    """The archive with capitals in the names of its code, which torch's reader does not mind."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            new.writestr(re.sub(r"\.py$", ".PY", name), old.read(name))
    return copy


def attack(kind: str, files: dict[str, Path], folder: Path, evil: Evil) -> Path:
    """A file that runs `evil` if it is unpickled."""
    program, script = files["torch_export"], files["torchscript"]
    archives = {
        "pt2_weights": (program, pickled_weights(evil, "weights")),
        "pt2_constants": (program, constant(evil, "tensor_0", pickled=True)),
        "pt2_opaque": (program, constant(evil, "opaque_obj_0", pickled=False)),
        "pt2_size": (program, graph(size(evil.folder))),
        "pt2_call": (program, graph(call(evil.folder))),
        "pt2_condition": (program, graph(condition(evil.folder))),
        "pt2_inputs": (program, replaced("sample_inputs/model.pt", saved(evil))),
        "script_data": (script, replaced("/data.pkl", pickle.dumps(evil))),
        "script_constants": (script, replaced("constants.pkl", pickle.dumps(evil))),
        "script_inputs": (script, replaced("traced_inputs.pkl", pickle.dumps(evil))),
        "script_save": (script, saving(evil.folder)),
    }
    if kind == "script_shouted":
        calls = rewritten(script, folder / "calls.torchscript", saving(evil.folder))
        return shouted(calls, folder / "evil.torchscript")
    if kind in archives:
        file, change = archives[kind]
        return rewritten(file, folder / f"evil{file.suffix}", change)
    made = folder / f"evil.{kind}"
    made.write_bytes(saved({"state_dict": {"a": evil}, "cnnctl": "{}"}))
    return made


@pytest.fixture
def evil(tmp_path: Path) -> Evil:
    made = Evil(tmp_path / "pwned")
    pickle.loads(pickle.dumps(made))  # noqa: S301 - it does what it is for
    assert made.folder.is_dir()
    made.folder.rmdir()
    return made


ATTACKS = (
    "pt2_weights", "pt2_constants", "pt2_opaque", "pt2_size", "pt2_call", "script_data",
    "script_constants", "script_save", "script_shouted", "ckpt", "pth", "pt", "safetensors",
    "onnx", "pt2", "torchscript",
)  # fmt: skip


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
@pytest.mark.parametrize("kind", ATTACKS)
def test_no_code_in_a_file_is_run(
    cnnctl, files: dict[str, Path], tmp_path: Path, evil: Evil, kind: str, verb: str
) -> None:
    file = attack(kind, files, tmp_path, evil)
    Image.new("L", (32, 32)).save("image.png")
    outcome = cnnctl(verb, str(file), *(["image.png"] if verb == "predict" else []))
    assert not evil.folder.exists()
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("cnnctl: error: ")
    assert outcome.out == ""


@pytest.mark.parametrize("kind", ["pt2_inputs", "pt2_condition", "script_inputs"])
def test_what_is_never_read_does_no_harm(
    cnnctl, files: dict[str, Path], tmp_path: Path, evil: Evil, kind: str
) -> None:
    assert cnnctl("evaluate", str(attack(kind, files, tmp_path, evil))).code == 0
    assert not evil.folder.exists()


@pytest.mark.parametrize("kind", ["pt2_weights", "pt2_inputs", "pt2_size", "pt2_condition"])
def test_torch_would_run_it_were_it_not_told_otherwise(
    files: dict[str, Path], tmp_path: Path, evil: Evil, kind: str
) -> None:
    file = attack(kind, files, tmp_path, evil)
    with contextlib.suppress(Exception):
        torch.export.load(str(file)).module()(pixels(1, 1, 32, 32))
    assert evil.folder.exists()


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
@pytest.mark.parametrize("kind", ["script_save", "script_shouted"])
def test_torch_would_write_the_file(
    files: dict[str, Path], tmp_path: Path, evil: Evil, kind: str
) -> None:
    file = attack(kind, files, tmp_path, evil)
    torch.jit.load(str(file))(torch.zeros(1, 1, 32, 32))
    assert evil.folder.is_file()
